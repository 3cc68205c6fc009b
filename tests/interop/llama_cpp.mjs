// Greedy tokens of a GGUF by stock llama.cpp (npm: node-llama-cpp), one JSON line a prompt.
// Run from a folder with node_modules:  node llama_cpp.mjs MODEL.gguf TOKENS PROMPT...
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [modelPath, count, ...prompts] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), 'here.js'));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve('node-llama-cpp')).href);

const llama = await getLlama({gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({contextSize: 256, threads: 1});
const sequence = context.getSequence();

for (const prompt of prompts) {
  await sequence.clearHistory();
  const ids = model.tokenize(prompt);
  if (model.tokens.bos != null && ids[0] !== model.tokens.bos) ids.unshift(model.tokens.bos);
  const tokens = [];
  for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
    if (model.isEogToken(token)) break;
    tokens.push(token);
    if (tokens.length === Number(count)) break;
  }
  console.log(JSON.stringify({prompt, tokens}));
}
process.exit(0);
