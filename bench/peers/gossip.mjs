// One node of libp2p's gossipsub: what bench/gossip.cc is of Sedge, in the same words.
// Run from a folder with node_modules:  node gossip.mjs
// It takes one request more, `dial ADDRESS`, answered once it is connected.
// Everything is as it comes but for one bound that loopback reaches: how many may call in a second from one address.
import {subscribe} from 'node:diagnostics_channel';
import {createRequire} from 'node:module';
import {randomFillSync} from 'node:crypto';
import {createInterface} from 'node:readline';
import {setTimeout as sleep} from 'node:timers/promises';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const packages = ['libp2p', '@libp2p/tcp', '@chainsafe/libp2p-noise', '@chainsafe/libp2p-yamux', '@libp2p/identify',
                  '@libp2p/gossipsub', '@multiformats/multiaddr'];
// Resolved from the folder it is run in: these packages may only be imported, which `require.resolve` refuses.
const load = (name) => import(pathToFileURL(path.join(process.cwd(), 'node_modules', name, 'dist/src/index.js')).href);
const [{createLibp2p}, {tcp}, {noise}, {yamux}, {identify}, {gossipsub}, {multiaddr}] =
  await Promise.all(packages.map(load));

const topic = 'bench/gossip';
const microseconds = () => Number(process.hrtime.bigint() / 1000n);

// What TCP was given to carry, of every socket of this process.
const sockets = [];
for (const kind of ['client', 'server']) subscribe(`net.${kind}.socket`, ({socket}) => sockets.push(socket));

// gossipsub's own counts, by their names.
const counts = {};
const metric = ({name}) => ({
  inc: (labels, by = 1) => counts[name] = (counts[name] ?? 0) + by,
  set() {}, observe() {}, reset() {}, addCollect() {}, startTimer: () => () => 0,
});

const node = await createLibp2p({
  addresses: {listen: ['/ip4/127.0.0.1/tcp/0']},
  transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()],
  connectionManager: {inboundConnectionThreshold: Infinity},
  services: {
    identify: identify(),
    pubsub: gossipsub({metricsRegister: {gauge: metric, histogram: metric, avgMinMax: metric},
                       metricsTopicStrToLabel: new Map()}),
  },
});
const {pubsub} = node.services;
let came = [];
pubsub.addEventListener('message', ({detail}) =>
  came.push(microseconds() - Number(Buffer.from(detail.data).readBigInt64LE())));
pubsub.subscribe(topic);

const requests = {
  dial: async (address) => (await node.dial(multiaddr(address)), {}),
  publish: async (bytes, count, period) => {
    let refused = 0;
    const payload = randomFillSync(Buffer.alloc(Number(bytes)));
    let next = performance.now();
    for (let i = 0; i < count; ++i, next += Number(period)) {
      await sleep(Math.max(0, next - performance.now()));
      payload.writeBigInt64LE(BigInt(microseconds()));
      await pubsub.publish(topic, Buffer.from(payload)).catch(() => ++refused);
    }
    return {refused};
  },
  count: () => ({
    peers: pubsub.getMeshPeers(topic).length,
    links: node.getConnections().length,
    bytes_out: sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0),
    duplicates: counts.gossipsub_pre_validation_duplicate_total ?? 0,
    cpu_s: Object.values(process.cpuUsage()).reduce((sum, us) => sum + us / 1e6, 0),
  }),
  heard: () => ({came_us: came.splice(0)}),
};

const say = (answer) => console.log(JSON.stringify(answer));
say({address: String(node.getMultiaddrs()[0])});
for await (const line of createInterface({input: process.stdin})) {
  const [request, ...words] = line.split(' ');
  say(await requests[request](...words));
}
process.exit(0);
