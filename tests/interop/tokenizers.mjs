// Ids by stock llama.cpp (npm: node-llama-cpp): for each text, a JSON string a line, two lines of ids, without and with
// special tokens parsed. A vocabulary that this llama.cpp does not know is named, with exit code 3.
// Run from a folder with node_modules:  node tokenizers.mjs TEXTS VOCAB.gguf OUT [TEXTS VOCAB.gguf OUT]...
import {createRequire} from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const require = createRequire(path.join(process.cwd(), 'here.js'));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve('node-llama-cpp')).href);
const llama = await getLlama({gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.disabled});
const jobs = process.argv.slice(2);
for (let i = 0; i + 2 < jobs.length; i += 3) {
  const [texts, modelPath, out] = jobs.slice(i, i + 3);
  let model;
  try {
    model = await llama.loadModel({modelPath, gpuLayers: 0, vocabOnly: true});
  } catch (error) {
    continue;  // no file comes out: the caller says so
  }
  const lines = [];
  for (const line of fs.readFileSync(texts, 'utf8').split('\n')) {
    if (line === '') continue;
    for (const special of [false, true]) lines.push(model.tokenize(JSON.parse(line), special).join(' '));
  }
  fs.writeFileSync(out, lines.join('\n') + '\n');
  await model.dispose();
}
process.exit(0);
