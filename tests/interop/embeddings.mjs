// Vectors of stock llama.cpp (npm: node-llama-cpp) on a GGUF, held against ours: one line, exit code 1 when too far apart.
// Run from a folder with node_modules:  node embeddings.mjs MODEL.gguf TEXTS OURS LABEL COSINE
// TEXTS: one a line. OURS: what `sedge embed --json` printed of them.
import {createRequire} from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [modelPath, textsPath, oursPath, label, wanted] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), 'here.js'));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve('node-llama-cpp')).href);

const texts = fs.readFileSync(textsPath, 'utf8').trimEnd().split('\n');
const ours = JSON.parse(fs.readFileSync(oursPath, 'utf8')).embeddings;

const llama = await getLlama({gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createEmbeddingContext({contextSize: 128, batchSize: 128, threads: 1});

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
let worst = 1;
for (let i = 0; i < texts.length; ++i) {
  const theirs = (await context.getEmbeddingFor(texts[i])).vector;
  const cosine = dot(theirs, ours[i]) / Math.sqrt(dot(theirs, theirs) * dot(ours[i], ours[i]));
  worst = Math.min(worst, theirs.length === ours[i].length ? cosine : NaN);
}
const good = worst >= Number(wanted) && ours.length === texts.length;  // NaN is not
console.log(`${good ? 'same' : 'DIFFERENT'}  ${label}  worst cosine ${worst.toFixed(7)} of ${texts.length} texts`);
process.exit(good ? 0 : 1);
