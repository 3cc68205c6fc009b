#!/usr/bin/env python3
"""Seeded faults: does the simulator notice? Builds each row of tests/mutants/mutants.toml in a copy of the tree and runs
the simulator's tests and scenarios on it. A mutant that none of them fails on has survived.

Usage: mutants.py [--only TEXT] [--from N] [--at-least 0.95]     work and builds are under build/mutants
Exit status 1 when fewer are caught than --at-least, or a row does not fit its file or does not build.
"""
import argparse
import pathlib
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutants"
TREE = WORK / "tree"
BUILD = WORK / "build"
# What must notice, the quickest first: name, command.
HUNTERS = [
    ("consensus", [str(BUILD / "consensus_test"), "--gtest_brief=1", "--gtest_fail_fast"]),
    ("state", [str(BUILD / "mesh_test"), "--gtest_filter=Collect.*", "--gtest_brief=1", "--gtest_fail_fast"]),
    ("tests", [str(BUILD / "sim_test"), "--gtest_brief=1", "--gtest_fail_fast"]),
    ("radio", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/radio.toml"), "--json"]),
    ("stalls", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/stalls.toml"), "--json"]),
    ("asleep", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/asleep.toml"), "--json"]),
    ("late", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/late.toml"), "--json"]),
    ("ephemeral", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/ephemeral.toml"), "--json"]),
    ("together", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/together.toml"), "--json"]),
    ("clocks", [str(BUILD / "sedge"), "sim", str(ROOT / "tests/scenarios/clocks.toml"), "--json"]),
    ("overlay", [str(BUILD / "mesh_test"), "--gtest_filter=Overlay*:Membership.who_dies*", "--gtest_brief=1", "--gtest_fail_fast"]),
    *((name, [str(BUILD / "sedge"), "sim", str(ROOT / f"tests/scenarios/{name}.toml"), "--json"])
      for name in ("overlay_ring", "overlay_nearest", "overlay_star", "overlay_hierarchy")),
    ("random", [str(BUILD / "sedge"), "sim", "--random", "1", "--minutes", "0.5"]),
]
SECONDS_MAX = 300  # of a hunter: a mutant that hangs is caught


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def build():
    done = run(["cmake", "--build", str(BUILD), "--target", "consensus_test", "mesh_test", "sim_test",
                "sedge"])
    return done.returncode == 0, done.stdout


def copy_tree():
    """Files whose text is the same keep their time, so that little is built again."""
    names = run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True).stdout.split("\n")
    for name in filter(None, names):
        source, target = ROOT / name, TREE / name
        if not source.is_file() or (target.is_file() and target.read_bytes() == source.read_bytes()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def prepare():
    TREE.mkdir(parents=True, exist_ok=True)
    copy_tree()
    run(["cmake", "-S", str(TREE), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DSEDGE_TRAIN=OFF"],
        check=True)
    good, output = build()
    if not good:
        sys.exit(f"mutants.py: the tree itself does not build:\n{output[-3000:]}")


def hunt():
    """Who noticed, or None."""
    for name, command in HUNTERS:
        try:
            if run(command, timeout=SECONDS_MAX, cwd=BUILD).returncode != 0:  # where a test finds its files, if __FILE__ is short
                return name
        except subprocess.TimeoutExpired:
            return f"{name}, which hung"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="N", help="the first row to build: an earlier run did those before")
    parser.add_argument("--at-least", type=float, default=0.95)
    parser.add_argument("--texts", action="store_true", help="only see whether each row's text stands in its file once")
    arguments = parser.parse_args()
    rows = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"]
    rows = [row for row in rows if arguments.only in row["name"]]
    stale = [(row, found) for row in rows if (found := (ROOT / row["file"]).read_text().count(row["find"])) != 1]
    for row, found in stale:
        print(f"mutants.py: '{row['name']}': its text stands {found} times in {row['file']}, not once", file=sys.stderr)
    if stale or arguments.texts:
        sys.exit(1 if stale else 0)
    print("building the tree as it is", flush=True)
    prepare()
    if not arguments.only and (noticed := hunt()):
        sys.exit(f"mutants.py: the tree itself fails: {noticed}")
    survivors, broken = [], []
    for number, row in enumerate(rows[arguments.first - 1:], arguments.first):
        began = time.monotonic()
        path = TREE / row["file"]
        text = path.read_text()
        path.write_text(text.replace(row["find"], row["replace"]))
        good, output = build()
        noticed = hunt() if good else None
        path.write_text(text)
        fate = f"does not build:\n{output[-2000:]}" if not good else f"caught by {noticed}" if noticed else "SURVIVED"
        print(f"{number:>3}/{len(rows)}  {time.monotonic() - began:>5.0f} s  {row['name']}: {fate}", flush=True)
        if not good:
            broken.append(row["name"])
        elif noticed is None:
            survivors.append(row["name"])
    tried = len(rows) - arguments.first + 1 - len(broken)
    caught = tried - len(survivors)
    print(f"{caught} of {tried} caught")
    for name in survivors:
        print(f"  survived: {name}")
    for name in broken:
        print(f"  does not build: {name}")
    return 1 if broken or caught < arguments.at_least * tried else 0


if __name__ == "__main__":
    sys.exit(main())
