#!/usr/bin/env python3
"""Who is there, and who has just died: fleets of Sedge beside fleets of Serf (which is memberlist with its defaults).

So many nodes on loopback, a process each, as people start them: `sedge up` and `serf agent` with an encryption key, all
at once with the first as their seed. Then one after the other is frozen (SIGSTOP: it answers nothing and refuses
nothing, as a robot whose battery is pulled) until all others have said that it is dead, and woken (SIGCONT) until all
have it back. What a node says in its log counts, at the moment in which it comes. Bytes are all that the loopback
interface carries while nothing happens, headers and acknowledgements included, so nothing else should use it.
Serf is Debian's package serf; without it Sedge is measured alone.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

FORM_S_MAX = 120
SETTLE_S = 10
REST_S = 25  # before what an idle fleet costs is measured: a young one reads its clocks more often
NOTICE_S_MAX = 180
FIGURES = (("formed_s", "all see all, s", "{:.1f}"), ("formed_busy", "the machine's cores meanwhile", "{:.0%}"),
           ("down_p50_s", "a crash known, p50, s", "{:.2f}"),
           ("down_p99_s", "p99", "{:.2f}"), ("down_max_s", "max", "{:.2f}"), ("back_p50_s", "awake and back, p50, s", "{:.2f}"),
           ("back_max_s", "max", "{:.2f}"), ("false_deaths", "false deaths", "{:.0f}"),
           ("bytes_per_s", "idle, bytes/s a node", "{:,.0f}"), ("cpu", "idle, of a core a node", "{:.2%}"))


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"members.py: {' '.join(str(word) for word in words[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


class Sedge:
    up, down = re.compile(r" up (\S+) \("), re.compile(r" down (\S+) \(")

    def __init__(self, build):
        self.name, self.sedge = "Sedge", build / "sedge"

    def prepare(self, folder, names):
        """A fleet, made as a person would."""
        home = lambda name: folder / name
        first = names[0]
        command(self.sedge, "fleet", "create", "--home", home(first), "--name", first)
        with subprocess.Popen(self.start(folder, names, first, free_port()), stderr=subprocess.DEVNULL) as issuer:
            until = time.monotonic() + FORM_S_MAX
            while not (home(first) / "control.sock").exists() and time.monotonic() < until:
                time.sleep(0.05)
            for name in names[1:]:
                invitation = command(self.sedge, "fleet", "invite", "--home", home(first), "--name", name)
                command(self.sedge, "fleet", "join", "--home", home(name), invitation)
            issuer.terminate()

    def start(self, folder, names, name, seed):
        where = ("--listen", f"127.0.0.1:{seed}") if name == names[0] else ("--listen", "127.0.0.1:0", "--seed", f"127.0.0.1:{seed}")
        return (self.sedge, "up", "--home", folder / name, "--http", "off", "--no-beacon", *where)


class Serf:
    up, down = re.compile(r"EventMemberJoin: (\S+) "), re.compile(r"EventMemberFailed: (\S+) ")

    def __init__(self, profile):
        self.name, self.profile = f"Serf, profile {profile}", profile

    def prepare(self, folder, names):
        self.key = command("serf", "keygen")

    def start(self, folder, names, name, seed):
        port = seed if name == names[0] else free_port(socket.SOCK_STREAM)
        join = () if name == names[0] else (f"-retry-join=127.0.0.1:{seed}", "-retry-interval=1s")
        return ("serf", "agent", f"-node={name}", f"-bind=127.0.0.1:{port}", f"-profile={self.profile}",
                f"-rpc-addr=127.0.0.1:{free_port(socket.SOCK_STREAM)}", f"-encrypt={self.key}", *join)


class Fleet:
    """Processes, and what each says of the others: its last word, and when."""

    def __init__(self, side, folder, names):
        self.side, self.names = side, names
        self.alive = {name: set() for name in names}  # whom each believes alive
        self.said = {}                                # (node, event, subject): the last time
        self.downs = []
        self.selector = selectors.DefaultSelector()
        self.rest = {name: b"" for name in names}
        seed = free_port()
        self.begun = time.monotonic()
        self.processes = {}
        for name in names:
            process = subprocess.Popen([str(word) for word in side.start(folder, names, name, seed)], stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
            os.set_blocking(process.stdout.fileno(), False)
            self.selector.register(process.stdout, selectors.EVENT_READ, name)
            self.processes[name] = process

    def listen(self, seconds):
        for key, _ in self.selector.select(max(0, seconds)):
            now, name = time.monotonic(), key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                raise SystemExit(f"members.py: {name} of {self.side.name} ended")
            *lines, self.rest[name] = (self.rest[name] + data).split(b"\n")
            for line in lines:
                self.hear(name, line.decode(errors="replace"), now)

    def hear(self, name, line, now):
        if up := self.side.up.search(line):
            if up[1] != name:
                self.alive[name].add(up[1])
                self.said[name, "up", up[1]] = now
        elif down := self.side.down.search(line):
            self.alive[name].discard(down[1])
            self.said[name, "down", down[1]] = now
            self.downs.append((name, down[1]))

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"members.py: {self.side.name}: {what}: not within {seconds} s")
            self.listen(0.2)

    def rest_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.listen(end - time.monotonic())

    def cpu_s(self):
        total = 0
        for process in self.processes.values():
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def end(self):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.processes.values():
            process.wait()
            process.stdout.close()


def loopback_bytes():
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[8])
    raise SystemExit("members.py: there is no interface 'lo'")


def freeze(fleet, victim):
    """Seconds until each of the others said that it is dead, and, once it is woken, back."""
    others = [name for name in fleet.names if name != victim]
    frozen = time.monotonic()
    fleet.processes[victim].send_signal(signal.SIGSTOP)
    dead = lambda: all(fleet.said.get((name, "down", victim), 0) > frozen for name in others)
    fleet.until(dead, NOTICE_S_MAX, f"'{victim}' frozen, and not known to all")
    downs = [fleet.said[name, "down", victim] - frozen for name in others]
    woken = time.monotonic()
    fleet.processes[victim].send_signal(signal.SIGCONT)
    back = lambda: all(fleet.said.get((name, "up", victim), 0) > woken for name in others)
    fleet.until(back, NOTICE_S_MAX, f"'{victim}' woken, and not back for all")
    return downs, [fleet.said[name, "up", victim] - woken for name in others]


def measure(side, count, rounds, idle_s):
    names = [f"node{i}" for i in range(count)]
    with tempfile.TemporaryDirectory(prefix="sedge-members-") as folder:
        side.prepare(pathlib.Path(folder), names)
        fleet = Fleet(side, pathlib.Path(folder), names)
        try:
            fleet.until(lambda: all(len(seen) == count - 1 for seen in fleet.alive.values()), FORM_S_MAX, "not all see all")
            formed = time.monotonic() - fleet.begun
            busy = fleet.cpu_s() / formed / os.cpu_count()
            fleet.rest_for(REST_S)
            bytes_before, cpu_before = loopback_bytes(), fleet.cpu_s()
            fleet.rest_for(idle_s)
            carried, used = loopback_bytes() - bytes_before, fleet.cpu_s() - cpu_before
            downs, backs, fleet.downs = [], [], []
            for i in range(rounds):
                down, back = freeze(fleet, names[1 + i * (count - 1) // rounds])
                downs += down
                backs += back
                fleet.rest_for(SETTLE_S)
            return {"formed_s": formed, "formed_busy": busy, "downs": sorted(downs), "backs": sorted(backs),
                    "false_deaths": len(fleet.downs) - len(downs), "bytes_per_s": carried / idle_s / count,
                    "cpu": used / idle_s / count}
        finally:
            fleet.end()


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def row_of(side, count, runs):
    """Times of all runs together, the median of the rest."""
    downs, backs = (sorted(sum((run[key] for run in runs), [])) for key in ("downs", "backs"))
    middle = lambda key: statistics.median(run[key] for run in runs)
    return {"peer": side.name, "nodes": count, "runs": len(runs), "formed_s": middle("formed_s"), "formed_busy": middle("formed_busy"),
            "down_p50_s": percentile(downs, 0.5), "down_p99_s": percentile(downs, 0.99), "down_max_s": downs[-1],
            "back_p50_s": percentile(backs, 0.5), "back_max_s": backs[-1],
            "false_deaths": sum(run["false_deaths"] for run in runs), "bytes_per_s": middle("bytes_per_s"),
            "cpu": middle("cpu")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="one object a row of the table")
    parser.add_argument("--nodes", default="20", help="of each fleet, as 20,50")
    parser.add_argument("--rounds", type=int, default=5, help="nodes that are frozen, one after the other")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", default="", help="systems whose name has this in it")
    parser.add_argument("--idle", type=float, default=20, help="seconds that are measured while nothing happens")
    options = parser.parse_args()
    fleets = [int(nodes) for nodes in options.nodes.split(",")]
    if not all(options.rounds < nodes for nodes in fleets) or options.rounds < 1:
        parser.error("--rounds: at least one, and fewer than nodes")
    sides = [Sedge(options.build.resolve())]
    if shutil.which("serf"):
        sides += [Serf("lan"), Serf("local")]
    else:
        print("Sedge alone: serf is not installed (Debian: serf)", file=sys.stderr)
    sides = [side for side in sides if options.only.lower() in side.name.lower()]
    rows = []
    print("| nodes | | " + " | ".join(words for _, words, _ in FIGURES) + " |\n|---|---" + "|---" * len(FIGURES) + "|", flush=True)
    for nodes in fleets:
        runs = {side.name: [] for side in sides}
        for _ in range(options.runs):
            for side in sides:
                runs[side.name].append(measure(side, nodes, options.rounds, options.idle))
        for side in sides:
            row = row_of(side, nodes, runs[side.name])
            rows.append(row)
            print(f"| {nodes} | {side.name} | " + " | ".join(form.format(row[key]) for key, _, form in FIGURES) + " |", flush=True)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
