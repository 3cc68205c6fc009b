#!/usr/bin/env python3
"""A message to everybody, beside gossipsub of libp2p.

So many nodes on loopback, a process each: Sedge's with the links that they choose, and of gossipsub each with six
others drawn at random, over TCP with noise and yamux, with its defaults. One node publishes a signed message at a
steady pace. Both are told the same in the same words (bench/gossip.cc), and take turns; the median of the runs stands.
Bytes are what a process hands to its sockets: of TCP all that it carries, of UDP the payloads, so with QUIC's own
acknowledgements and what it sends again. What the same nodes spend when nobody publishes is measured before and taken
off. gossipsub is js-libp2p's and comes from npm, with the node that it wants, or is in the folder that $SEDGE_GOSSIP_PEERS
names; without either Sedge is measured alone.
"""
import argparse
import collections
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

Load = collections.namedtuple("Load", "bytes count period_ms")
LARGE = Load(60 << 10, 30, 1000)  # the largest message that Sedge takes
WARM = Load(256, 100, 250)  # published first and not counted, so that nobody's code and caches are cold
LOAD_MS = 30_000
NODE = f"node-linux-{ {'x86_64': 'x64', 'aarch64': 'arm64'}.get(platform.machine(), 'x64') }"
PACKAGES = ("libp2p", "@libp2p/gossipsub", "@libp2p/tcp", "@libp2p/identify", "@chainsafe/libp2p-noise",
            "@chainsafe/libp2p-yamux", "@multiformats/multiaddr", f"{NODE}@22")
SIDE_S_MAX = 900
FORM_S_MAX = 120
SETTLE_S = 10  # once all know each other: ten of gossipsub's heartbeats
AFTER_S = 5    # for what comes late
FIGURES = (("links", "links a node", "{:.1f}"), ("delivered", "delivered", "{:.4%}"), ("p50_ms", "p50, ms", "{:.1f}"),
           ("p99_ms", "p99", "{:.1f}"), ("max_ms", "max", "{:.1f}"),
           ("duplicates", "duplicates a node and message", "{:.2f}"),
           ("bytes", "bytes sent a node and message", "{:,.0f}"), ("idle_bytes_per_s", "idle, bytes/s a node", "{:,.0f}"),
           ("cpu_ms", "CPU a node and message, ms", "{:.2f}"), ("own_busy", "of the machine, these nodes", "{:.0%}"),
           ("machine_busy", "all together", "{:.0%}"))


class Node:
    """A process that is told lines and answers each with an object. It ends with its input."""

    def __init__(self, command, folder, log):
        self.process = subprocess.Popen([str(word) for word in command], cwd=folder, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, text=True)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"gossip.py: a node ended: {' '.join(self.process.args)}")
        return json.loads(line)


def ask(nodes, line):
    for node in nodes:
        node.tell(line)
    return [node.answer() for node in nodes]


class Sedge:
    name, version = "Sedge", ""

    def __init__(self, build):
        self.sedge, self.node = build / "sedge", build / "sedge-bench-gossip"

    def command(self, *words):
        done = subprocess.run([str(word) for word in (self.sedge, *words)], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"gossip.py: sedge {' '.join(words[:2])} failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def homes(self, folder, count):
        """A fleet of so many, made as a person would."""
        homes = [folder / f"node{i}" for i in range(count)]
        self.command("fleet", "create", "--home", homes[0], "--name", "node0")
        with open(folder / "up.log", "w") as log:
            up = subprocess.Popen((self.sedge, "up", "--home", homes[0], "--listen", "127.0.0.1:0", "--http", "off",
                                   "--no-beacon"), stdout=log, stderr=log)
            try:
                until = time.monotonic() + FORM_S_MAX
                while not (homes[0] / "control.sock").exists() and time.monotonic() < until:
                    time.sleep(0.05)
                for home in homes[1:]:
                    invitation = self.command("fleet", "invite", "--home", homes[0], "--name", home.name).strip()
                    self.command("fleet", "join", "--home", home, invitation)
            finally:
                up.terminate()
                up.wait()
        return homes

    def start(self, folder, count, log, nodes, _):
        first = []
        for home in self.homes(folder, count):
            nodes.append(Node((self.node, home, *first), folder, log))
            first = first or [nodes[0].answer()["address"]]
        for node in nodes[1:]:
            node.answer()

    def formed(self, counts):
        return all(count["peers"] == len(counts) - 1 for count in counts)


def three_circles(count, draw):
    """Who dials whom: three circles through all that share no link, so that all are connected, with six links each."""
    links = []
    while len(links) < 3 * count:
        circle = draw.sample(range(count), count)
        more = list(zip(circle, circle[1:] + circle[:1]))
        if not {frozenset(link) for link in more} & {frozenset(link) for link in links}:
            links += more
    return links


class Gossipsub:
    name = "gossipsub"

    def __init__(self, modules):
        self.modules = modules
        package = lambda name: json.loads((modules / "node_modules" / name / "package.json").read_text())["version"]
        self.version = f"{package('@libp2p/gossipsub')}, libp2p {package('libp2p')}, node {package(NODE)}"
        self.command = (modules / "node_modules" / NODE / "bin/node", pathlib.Path(__file__).resolve().with_suffix(".mjs"))

    def start(self, _, count, log, nodes, draw):
        nodes.extend(Node(self.command, self.modules, log) for _ in range(count))
        addresses = [node.answer()["address"] for node in nodes]
        for at, of in three_circles(count, draw):
            ask([nodes[at]], f"dial {addresses[of]}")

    def formed(self, counts):
        return all(count["peers"] >= 4 for count in counts)  # in its mesh: what it thinks the least, D_low


def install(folder):
    """The folder with node_modules, or nothing and the reason."""
    given = os.environ.get("SEDGE_GOSSIP_PEERS")
    if given:
        return pathlib.Path(given).resolve(), ""
    if not shutil.which("npm"):
        return None, "npm is not installed"
    print("installing js-libp2p from npm...", file=sys.stderr)
    done = subprocess.run(("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES), cwd=folder,
                          capture_output=True, text=True)
    return (folder, "") if done.returncode == 0 else (None, f"npm could not install it: {done.stderr.strip()[:300]}")


def machine_busy_s():
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def counted(nodes):
    """Sums over all nodes, and the time."""
    counts = ask(nodes, "count")
    sums = {key: sum(count[key] for count in counts) for key in ("links", "bytes_out", "duplicates", "cpu_s")}
    return {**sums, "time_s": time.monotonic(), "machine_s": machine_busy_s()}


def spent(before, after):
    return {key: after[key] - before[key] for key in before}


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def under_load(nodes, publisher, load, idle):
    before = counted(nodes)
    refused = ask([publisher], "publish {} {} {}".format(*load))[0]["refused"]
    time.sleep(AFTER_S)
    came = [answer["came_us"] for answer in ask(nodes, "heard")]
    used = spent(before, counted(nodes))
    others = [len(each) for node, each in zip(nodes, came) if node is not publisher]
    once = sum(min(n, load.count) for n in others)
    ages = sorted(us / 1000 for each in came for us in each)
    each = lambda key: (used[key] - idle[key] / idle["time_s"] * used["time_s"]) / len(nodes) / load.count
    cores = used["time_s"] * os.cpu_count()
    # `twice` are those that a node handed to its program more than once.
    return {"links": before["links"] / len(nodes), "delivered": once / len(others) / load.count,
            "twice": sum(others) - once, "refused": refused,
            "p50_ms": percentile(ages, 0.5), "p99_ms": percentile(ages, 0.99), "max_ms": percentile(ages, 1),
            "duplicates": each("duplicates"), "bytes": each("bytes_out"),
            "idle_bytes_per_s": idle["bytes_out"] / idle["time_s"] / len(nodes), "cpu_ms": 1000 * each("cpu_s"),
            "machine_busy": used["machine_s"] / cores, "own_busy": used["cpu_s"] / cores}


def measure(side, count, loads, idle_s, seed):
    """Figures of one fleet under each load."""
    nodes = []
    with tempfile.TemporaryDirectory(prefix="sedge-gossip-") as name, open(pathlib.Path(name) / "log", "w+") as log:
        too_long = threading.Timer(SIDE_S_MAX, lambda: [node.process.kill() for node in nodes])
        too_long.start()
        try:
            side.start(pathlib.Path(name), count, log, nodes, random.Random(seed))
            until = time.monotonic() + FORM_S_MAX
            while not side.formed(ask(nodes, "count")):
                if time.monotonic() > until:
                    raise SystemExit(f"gossip.py: {count} nodes of {side.name} did not find each other in {FORM_S_MAX} s")
                time.sleep(0.5)
            publisher = nodes[random.Random(seed).randrange(count)]  # the same on all sides
            time.sleep(SETTLE_S)
            ask([publisher], "publish {} {} {}".format(*WARM))
            time.sleep(AFTER_S)
            ask(nodes, "heard")
            before = counted(nodes)
            time.sleep(idle_s)
            idle = spent(before, counted(nodes))
            return [under_load(nodes, publisher, load, idle) for load in loads]
        except SystemExit:
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr)
            raise
        finally:
            too_long.cancel()
            for node in nodes:
                node.process.stdin.close()
            for node in nodes:
                try:
                    node.process.wait(20)
                except subprocess.TimeoutExpired:
                    node.process.kill()
                    node.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="one object a row of the table")
    parser.add_argument("--nodes", default="20", help="of each fleet, as 20,50; at least 10")
    parser.add_argument("--period", type=int, default=100, help="ms between messages of 256 bytes; large ones: a second")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--idle", type=float, default=30, help="seconds that are measured without messages")
    options = parser.parse_args()
    fleets = [int(nodes) for nodes in options.nodes.split(",")]
    if min(fleets) < 10:
        parser.error("--nodes: a fleet has at least 10 nodes, else there may be no three circles that share no link")
    loads = (Load(256, max(1, LOAD_MS // max(1, options.period)), options.period), LARGE)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sedge-bench-") as name:
        modules, reason = install(pathlib.Path(name))
        sides = [Sedge(options.build.resolve())] + ([Gossipsub(modules)] if modules else [])
        if modules is None:
            print(f"Sedge alone: {reason}", file=sys.stderr)
        for nodes in fleets:
            runs = {side.name: [] for side in sides}
            for run in range(options.runs):
                for side in sides:
                    runs[side.name].append(measure(side, nodes, loads, options.idle, run + 1))
                    print(f"{side.name}, {nodes} nodes: {json.dumps(runs[side.name][-1])}", file=sys.stderr, flush=True)
            for at, load in enumerate(loads):
                print(f"\n{nodes} nodes, {load.count} messages of {load.bytes} bytes, one every {load.period_ms} ms\n\n| | "
                      + " | ".join(words for _, words, _ in FIGURES) + " |\n" + "|---" * (len(FIGURES) + 1) + "|")
                for side in sides:
                    done = [run[at] for run in runs[side.name]]
                    row = {key: statistics.median(run[key] for run in done) for key in done[0]}
                    rows.append({"peer": side.name, "version": side.version, "nodes": nodes, **load._asdict(),
                                 "runs": options.runs, **row})
                    print(f"| {side.name} {side.version} | "
                          + " | ".join(form.format(row[key]) for key, _, form in FIGURES) + " |", flush=True)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
