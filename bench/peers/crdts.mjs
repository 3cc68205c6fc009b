// What a library for replicated data makes of many writers of one map: one measurement as a line of JSON.
// Run from a folder with node_modules:  node crdts.mjs NAME WRITERS ROUNDS
// The work is that of bench/crdts.cc. All is done twice, and the second time counts.
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [name, writers, rounds] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const require = createRequire(path.join(process.cwd(), 'here.js'));
const load = async (module) => import(pathToFileURL(require.resolve(module)).href);

// Of each library: its package; a writer, whose write() gives the bytes that the others need; a reader, to merge them
// one by one or all at once, count the entries and give a newcomer all of it.
const libraries = {
  yjs: {package: 'yjs', make: (Y) => ({
    writer: () => {
      const doc = new Y.Doc();
      let last = null;
      doc.on('update', (update) => last = update);
      return (key, value) => (doc.getMap('map').set(key, value), last);
    },
    reader: () => {
      const doc = new Y.Doc();
      return {merge: (bytes) => Y.applyUpdate(doc, bytes),
              mergeAll: (all) => Y.transact(doc, () => all.forEach((bytes) => Y.applyUpdate(doc, bytes))), size: () => doc.getMap('map').size,
              all: () => Y.encodeStateAsUpdateV2(doc)};
    }})},
  automerge: {package: '@automerge/automerge', make: (A) => ({
    writer: () => {
      let doc = A.init();
      return (key, value) => (doc = A.change(doc, (map) => { map[key] = value; }), A.getLastLocalChange(doc));
    },
    reader: () => {
      let doc = A.init();
      return {merge: (bytes) => [doc] = A.applyChanges(doc, [bytes]),
              mergeAll: (all) => [doc] = A.applyChanges(doc, all), size: () => Object.keys(doc).length,
              all: () => A.save(doc)};
    }})},
  loro: {package: 'loro-crdt', make: ({LoroDoc}) => ({
    writer: () => {
      const doc = new LoroDoc();
      return (key, value) => {
        const from = doc.version();
        doc.getMap('map').set(key, value);
        doc.commit();
        return doc.export({mode: 'update', from});
      };
    },
    reader: () => {
      const doc = new LoroDoc();
      return {merge: (bytes) => doc.import(bytes), mergeAll: (all) => doc.importBatch(all), size: () => doc.getMap('map').size,
              all: () => doc.export({mode: 'snapshot'})};
    }})},
};

function measure(library) {
  const entries = Math.max(writers, writers * rounds / 2);
  const all = Array.from({length: writers}, () => library.writer());
  const updates = [];
  for (let n = 0; n < writers * rounds; ++n) {
    const key = String(n % entries).padStart(5, '0');
    updates.push(all[n % writers](key, 'value-' + String(n).padStart(5, '0')));
  }
  const rate = (reader, work) => {
    const begin = performance.now();
    work(reader);
    const seconds = (performance.now() - begin) / 1000;
    if (reader.size() !== entries) throw new Error(`${reader.size()} entries, not ${entries}`);
    return updates.length / seconds;
  };
  const reader = library.reader();
  const merges = rate(reader, (one) => updates.forEach((update) => one.merge(update)));
  const bytes = updates.reduce((sum, update) => sum + update.length, 0);
  return {write_bytes: bytes / updates.length, merges_per_s: merges,
          merges_at_once_per_s: rate(library.reader(), (all) => all.mergeAll(updates)),
          newcomer_bytes_an_entry: reader.all().length / entries};
}

const chosen = libraries[name];
const library = chosen.make(await load(chosen.package));
measure(library);
const version = JSON.parse(fs.readFileSync(path.join('node_modules', chosen.package, 'package.json'))).version;
console.log(JSON.stringify({...measure(library), version}));
process.exit(0);
