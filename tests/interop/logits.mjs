// Logits of stock llama.cpp (npm: node-llama-cpp) on a GGUF, held against ours: one line, exit code 1 when too far apart.
// Run from a folder with node_modules:  node logits.mjs MODEL.gguf IDS.json OURS LABEL [SHARE] [TOP] [ADAPTERS] [CONTEXT]
// SHARE of the positions must be near, all of them by default; at TOP of them, by default 99 %, the best token is equal.
// ADAPTERS: a JSON list of {"filePath", "scale"}.
// OURS: little-endian F32 [tokens, vocabulary], as `sedge eval --logits` writes it.
import {createRequire} from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const kRangeShare = 2e-2;
const [modelPath, idsPath, oursPath, label, share = 1, top = 0.99, adapters = '[]', contextSize = 256] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), 'here.js'));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve('node-llama-cpp')).href);

const ids = JSON.parse(fs.readFileSync(idsPath, 'utf8'));
const bytes = fs.readFileSync(oursPath);
const ours = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const vocabulary = ours.length / ids.length;

const llama = await getLlama({gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({contextSize: Number(contextSize), threads: 1, lora: {adapters: JSON.parse(adapters)}});
const results = await context.getSequence().controlledEvaluate(
  ids.map(id => [id, {generateNext: {logits: true, options: {temperature: 0}}}]));

let worst = 0, equal = 0, near = 0;
results.forEach((result, t) => {
  const theirs = result.next.logits, row = ours.subarray(t * vocabulary, (t + 1) * vocabulary);
  let low = Infinity, high = -Infinity, apart = 0, best = -1;
  for (const [id, logit] of theirs) {
    if (logit > high) { high = logit; best = id; }
    low = Math.min(low, logit);
    apart = Math.max(apart, Math.abs(logit - row[id]));
  }
  worst = Math.max(worst, apart / (high - low));
  near += apart <= kRangeShare * (high - low) ? 1 : 0;  // NaN is not near
  equal += row.indexOf(Math.max(...row)) === best ? 1 : 0;
});
const good = near >= share * ids.length && equal >= top * ids.length;
console.log(`${good ? 'same' : 'DIFFERENT'}  ${label}  ${(100 * worst).toFixed(3)} % of the range apart, ` +
  `near at ${near}, best token equal at ${equal} of ${ids.length} positions`);
process.exit(good ? 0 : 1);
