#!/usr/bin/env python3
"""Replicated data beside libraries for the same purpose: Yjs, Automerge, Loro.

Many writers of one map, none of which has seen another's writes; a reader merges all of them one by one (bench/crdts.cc
says what is counted). Each measurement is a process of its own, all take turns, the median stands. The libraries come
from npm; without node and npm Sedge is measured alone.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

PEERS = {"yjs": "yjs", "automerge": "@automerge/automerge", "loro": "loro-crdt"}  # and their packages
RUN_S_MAX = 600
FIGURES = (("write_bytes", "bytes of a write"), ("newcomer_bytes_an_entry", "bytes an entry, to a newcomer"),
           ("newcomer_packed_bytes_an_entry", "the same, packed"), ("merges_per_s", "merges/s, one by one"),
           ("merges_at_once_per_s", "all at once"),
           ("checked_merges_per_s", "merges/s, signatures checked"))


def install(folder):
    """The folder with node_modules, or nothing and the reason."""
    given = os.environ.get("SEDGE_CRDT_PEERS")
    if given:
        return pathlib.Path(given), ""
    if not shutil.which("npm") or not shutil.which("node"):
        return None, "node and npm are not installed"
    print("installing Yjs, Automerge and Loro from npm...", file=sys.stderr)
    done = subprocess.run(("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PEERS.values()), cwd=folder,
                          capture_output=True, text=True)
    return (folder, "") if done.returncode == 0 else (None, f"npm could not install them: {done.stderr.strip()[:300]}")


def measure(command, folder):
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=RUN_S_MAX)
    if done.returncode != 0:
        raise SystemExit(f"crdts.py: {command[0]} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="one object a row of the table")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", default="1500x1,100x20", help="writers and how often each writes, a table each")
    options = parser.parse_args()
    ours = (options.build.resolve() / "sedge-bench-crdts",)
    theirs = pathlib.Path(__file__).resolve().parent / "crdts.mjs"
    rows = []
    with tempfile.TemporaryDirectory(prefix="sedge-bench-") as name:
        folder, reason = install(pathlib.Path(name))
        if folder is None:
            print(f"Sedge alone: {reason}", file=sys.stderr)
        sides = {"Sedge": ours, **({peer: ("node", theirs, peer) for peer in PEERS} if folder else {})}
        for writers, rounds in (map(int, work.split("x")) for work in options.work.split(",")):
            runs = {side: [] for side in sides}
            for _ in range(options.runs):
                for side, command in sides.items():
                    runs[side].append(measure((*command, writers, rounds), folder))
                    print(f"{side}, {writers} write {rounds} times: {json.dumps(runs[side][-1])}", file=sys.stderr, flush=True)
            print(f"\n{writers} writers of one map, who write {rounds} times each\n\n| | "
                  + " | ".join(words for _, words in FIGURES) + " |\n" + "|---" * (len(FIGURES) + 1) + "|")
            for side, done in runs.items():
                row = {key: statistics.median(run[key] for run in done) for key, _ in FIGURES if key in done[0]}
                version = done[0].get("version", "")
                rows.append({"peer": side, "version": version, "writers": writers, "rounds": rounds, **row})
                text = [f"{row[key]:,.0f}" if row.get(key, 0) >= 1000 else f"{row[key]:.1f}" if key in row else "-"
                        for key, _ in FIGURES]
                print(f"| {side} {version} | " + " | ".join(text) + " |", flush=True)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
