// Tokens a second of stock llama.cpp (npm: node-llama-cpp): one measurement as a line of JSON.
// Run from a folder with node_modules:  node llama_cpp.mjs MODEL.gguf THREADS PROMPT GENERATE
// One pass unmeasured, then one measured; the first token counts to the prompt. Its cache is half precision, its batch
// 512 tokens, which is what it has by default.
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [modelPath, threads, prompt, generate] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const require = createRequire(path.join(process.cwd(), 'here.js'));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve('node-llama-cpp')).href);

const llama = await getLlama({gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({contextSize: prompt + generate + 8, batchSize: 512, threads});
const sequence = context.getSequence();
const vocabulary = [...model.iterateAllTokens()].length;
const ids = Array.from({length: prompt}, (_, i) => (1000 + i * 7919) % vocabulary);

let promptSeconds = 0, generateSeconds = 0;
for (let pass = 0; pass < 2; ++pass) {
  await sequence.clearHistory();
  const begin = performance.now();
  let middle = 0, count = 0;
  for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
    if (count++ === 0) middle = performance.now();
    if (count > generate) break;
  }
  promptSeconds = (middle - begin) / 1000;
  generateSeconds = (performance.now() - middle) / 1000;
}
console.log(JSON.stringify({prompt_tok_s: prompt / promptSeconds, generate_tok_s: generate / generateSeconds,
                            version: llama.llamaCppRelease.release}));
process.exit(0);
