#!/usr/bin/env python3
"""The engine beside llama.cpp, on this machine and in this run: the same file, the same threads, in turn.

Models are files with random weights in the shapes of known models (sedge model random): what is measured is arithmetic
and memory, which do not care what the weights say. Those under --data that run here join them. Each measurement is a
process of its own; the two take turns and the median stands, so that a noisy minute falls on both. On a machine that
others use too, --realtime gives both a realtime priority (chrt -f 10), the limits included.

What the fraction of the limit means: of the prompt, products a second over what the instruction set in use can multiply
in registers; of the generated tokens, bytes of weights read a second over what plain reads of as much memory reach.
Rows "batch of N" are N texts that write together, past short prompts: tokens a second of all, and how many times one's.
llama.cpp comes from npm (node-llama-cpp with its prebuilt binary) and, where llama-bench is on PATH, is also measured by
its own programs; the better of the two stands as the peer. Its own programs choose their instructions by themselves, so
with --isa they are left out unless --held says that they cannot choose: llama.cpp takes the best libggml-cpu-*.so in its
folder of backends, so a copy in which only haswell (avx2) or icelake (avx512vnni) is left is held to it. Without any of
them Sedge is measured alone.
"""
import argparse
import functools
import itertools
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

SHAPES = ("SmolLM2-135M", "Qwen2.5-0.5B", "TinyLlama-1.1B")
PROCESS_S_MAX = 900
# Which of its own binaries llama.cpp may load, so that both sides use the same instructions.
PEER_BINARIES = {"avx2": "haswell", "avxvnni": "alderlake", "avx512vnni": "icelake"}
HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    pass


def run(command, options, environment=None, cwd=None, whole=False):
    """One process: the JSON of its last line, or of all it wrote."""
    prefix = ["chrt", "-f", "10"] if options.realtime else []
    done = subprocess.run(prefix + [str(word) for word in command], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, **(environment or {})}, timeout=PROCESS_S_MAX)
    if done.returncode != 0:
        raise Failed(done.stderr.strip()[-500:] or f"{command[0]} ended with {done.returncode}")
    text = done.stdout.strip()
    return json.loads(text if whole else text.splitlines()[-1])


def install_peer(folder):
    """The folder with node_modules, or nothing and the reason."""
    given = os.environ.get("SEDGE_NLC")
    if given:
        return pathlib.Path(given), ""
    binary = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}.get(platform.machine())
    if not binary or not shutil.which("npm") or not shutil.which("node"):
        return None, "node and npm are not installed"
    print("installing node-llama-cpp from npm...", file=sys.stderr)
    done = subprocess.run(("npm", "install", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund",
                           "node-llama-cpp", f"@node-llama-cpp/{binary}"), cwd=folder, capture_output=True, text=True)
    return (folder, "") if done.returncode == 0 else (None, f"npm could not install it: {done.stderr.strip()[:300]}")


def restrict_peer(packages, isa, folder):
    """A copy of its packages that has only the binary of this instruction set; the same where it chooses freely."""
    keep = PEER_BINARIES.get(isa)
    if not keep or not packages:
        return packages
    copy = folder / f"peer-{isa}"
    if not copy.exists():
        shutil.copytree(packages / "node_modules", copy / "node_modules", symlinks=True)
        for file in copy.glob("node_modules/@node-llama-cpp/*/bins/*/libggml-cpu-*.so"):
            if keep not in file.name:
                file.unlink()
    return copy


def models(options, folder):
    """(shape, type, file) one after another; random ones are made when their turn comes and removed after it."""
    for shape in SHAPES:
        if options.only and options.only.lower() not in shape.lower():
            continue
        for kind in options.types.split(","):
            file = folder / f"{shape}-{kind}.gguf"
            subprocess.run((options.build / "sedge", "model", "random", "--shape", shape, "--type", kind, "-o", file),
                           check=True, capture_output=True)
            yield shape, kind, file
            file.unlink()
    if options.only or not options.data.is_dir():
        return
    for source in ("TinyStories-656K-hf", "wren-15m-hf"):
        if not (options.data / source).is_dir():
            continue
        for kind in options.types.split(","):
            file = folder / f"{source}-{kind}.gguf"
            subprocess.run((options.build / "sedge", "model", "import", options.data / source, "-o", file, "--type", kind),
                           check=True, capture_output=True)
            yield source, kind, file
            file.unlink()


def through_npm(packages, file, threads, options):
    out = run(("node", HERE / "llama_cpp.mjs", file, threads, options.prompt, options.generate), options, cwd=packages)
    return {**out, "version": f"node-llama-cpp {out['version']}"}


def by_its_bench(file, threads, options):
    """One measurement, after a pass that it does not count."""
    rows = run(("llama-bench", "-m", file, "-t", threads, "-p", options.prompt, "-n", options.generate, "-r", 1, "-o",
                "json"), options, whole=True)
    rate = {"prompt_tok_s" if row["n_prompt"] else "generate_tok_s": row["avg_ts"] for row in rows}
    return {**rate, "version": f"llama-bench {rows[0]['build_number']}"}


def measure(file, threads, isa, peers, options):
    """All sides in turn: medians of ours, and by the peer's version of theirs."""
    ours, theirs = [], {}
    environment = {"SEDGE_ISA": isa} if isa else {}
    for _ in range(options.runs):
        ours.append(run((options.build / "sedge-bench-engine", file, "--threads", threads, "--prompt", options.prompt,
                         "--generate", options.generate, "--kv", options.kv), options, environment))
        for peer in peers:
            out = peer(file, threads, options)
            theirs.setdefault(out["version"], []).append(out)
    limits = run((options.build / "sedge-bench-engine", "--limits", ours[0]["step_bytes"], "--threads", threads), options,
                 environment)
    middle = lambda runs: {key: statistics.median(one[f"{key}_tok_s"] for one in runs) for key in ("prompt", "generate")}
    return ours[0], middle(ours), {version: middle(runs) for version, runs in theirs.items()}, limits


def measure_batch(file, threads, isa, batch, native, options):
    """Tokens a second of so many texts that share steps, the same number's multiple of one text's, and the peer's."""
    environment = {"SEDGE_ISA": isa} if isa else {}
    rates, theirs = {1: [], batch: []}, []
    for _ in range(options.runs):  # in turn, so that a noisy minute falls on all
        if native:
            room = batch * (options.batch_prompt + options.generate)
            theirs.append(run(("llama-batched-bench", "-m", file, "-t", threads, "-tb", threads, "-c", room, "-npp",
                               options.batch_prompt, "-ntg", options.generate // 2, "-npl", batch, "--output-format",
                               "jsonl"), options)["speed_tg"])
        for count in rates:
            out = run((options.build / "sedge-bench-engine", file, "--threads", threads, "--prompt", options.batch_prompt,
                       "--generate", options.generate // 2, "--batch", count, "--kv", options.kv), options, environment)
            rates[count].append(out["generate_tok_s"])
    together, alone = (statistics.median(rates[count]) for count in (batch, 1))
    return out["isa"], together, together / alone, statistics.median(theirs) if theirs else None


def batch_rows(shape, kind, threads, isa, file, native, options):
    for batch in (int(count) for count in options.batches.split(",") if count):
        used, together, gain, theirs = measure_batch(file, threads, isa, batch, native, options)
        yield {"shape": shape, "type": kind, "threads": threads, "isa": used, "what": f"batch of {batch}",
               "sedge_tok_s": round(together, 2), "peer_tok_s": theirs and round(theirs, 2),
               "ratio": theirs and round(together / theirs, 3), "limit_fraction": None,
               "over_one": round(gain, 2), "peer": "llama-batched-bench" if theirs else ""}


def rows_of(shape, kind, threads, measured):
    first, rates, peers, limits = measured
    most = {"prompt": limits["products_s"] / first["token_products"], "generate": limits["read_bytes_s"] / first["step_bytes"]}
    for what, ours in rates.items():
        version, theirs = max(((name, both[what]) for name, both in peers.items()), key=lambda each: each[1],
                              default=("", None))
        quantized = what == "generate" or kind.startswith("q")
        yield {"shape": shape, "type": kind, "threads": threads, "isa": first["isa"], "what": what,
               "sedge_tok_s": round(ours, 2), "peer_tok_s": round(theirs, 2) if theirs else None,
               "ratio": round(ours / theirs, 3) if theirs else None,
               "limit_fraction": round(ours / most[what], 3) if quantized and most[what] else None,
               "limit_tok_s": round(most[what], 1), "peer": version,
               "peers": {name: round(both[what], 2) for name, both in peers.items()}}


def show(row):
    text = lambda value, form: form.format(value) if value is not None else "-"
    print(f"| {row['shape']} {row['type'].upper()} | {row['threads']} | {row['isa']} | {row['what']} | {row['sedge_tok_s']:.1f} "
          f"| {text(row['peer_tok_s'], '{:.1f}')} | {text(row['ratio'], '{:.2f}')} | {text(row['limit_fraction'], '{:.0%}')} "
          f"| {text(row.get('over_one'), '{:.2f}')} | {row['peer']} |",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="one object a row of the table")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="shapes whose name has this in it")
    parser.add_argument("--types", default="q8_0,q4_0,f16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--isa", default="", help="comma separated: avx2, avxvnni, avx512vnni, amx; without it the best")
    parser.add_argument("--held", action="store_true", help="llama-bench on PATH has the instructions of --isa alone")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--batches", default="2,4,8", help="how many texts write together, in rows of their own; empty: none")
    parser.add_argument("--batch-prompt", type=int, default=64, help="tokens that each of them has read")
    parser.add_argument("--kv", default="f16", help="how Sedge keeps keys and values: f16 (the default, as llama.cpp does), "
                        "or another of sedge-bench-engine's")
    parser.add_argument("--realtime", action="store_true", help="run both sides under chrt -f 10")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(os.environ.get("SEDGE_TEST_DATA", "")) / "llm")
    options = parser.parse_args()
    options.build = options.build.resolve()
    rows = []
    with tempfile.TemporaryDirectory(prefix="sedge-bench-") as name:
        folder = pathlib.Path(name)
        packages, reason = install_peer(folder)
        if reason:
            print(f"without node-llama-cpp: {reason}", file=sys.stderr)
        if not shutil.which("llama-bench"):
            print("without llama-bench: it is not on PATH (Debian: llama.cpp-tools, of forky and sid)", file=sys.stderr)
        print("| model | threads | ISA | tokens | Sedge, tokens/s | llama.cpp | ratio | of the limit | of one text | peer |\n"
              "|---|---|---|---|---|---|---|---|---|---|")
        for shape, kind, file in models(options, folder):
            for isa in options.isa.split(","):
                native = (options.held or not isa) and shutil.which("llama-bench")
                peers = [by_its_bench] if native else []
                if packages:
                    peers.append(functools.partial(through_npm, restrict_peer(packages, isa, folder)))
                for threads in map(int, options.threads.split(",")):
                    measured = rows_of(shape, kind, threads, measure(file, threads, isa, peers, options))
                    for row in itertools.chain(measured, batch_rows(shape, kind, threads, isa, file, native, options)):
                        rows.append(row)
                        show(row)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.SubprocessError, OSError) as reason:
        sys.exit(f"engine.py: {reason}")
