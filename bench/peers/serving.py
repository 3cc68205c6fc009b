#!/usr/bin/env python3
"""Many texts at once over HTTP, beside llama.cpp's own server: the same file, the same threads, the same client, in turn.

Both sides answer OpenAI's streaming completions, so one client measures both. A request's clock starts before its
connection is made; its first token is the first event that has text.

  streams   N clients, each asks again as soon as it has its answer, every prompt another one. Tokens a second of all
            together (answers alone), and the time to the first token.
  long      some clients write; then one sends a long prompt. The gap between two tokens of those who write, before it
            and while it is read.
  behind    one sends a long prompt and nobody else is there; while it is read another sends short ones, one after the
            other. The time to their first token.

Models are files with random weights (sedge model random). A server is a process of its own for each run; the two take
turns and the median of the runs stands. llama-server is the one on PATH; without it Sedge is measured alone.
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

READY_S_MAX = 120
REQUEST_S_MAX = 600


class Failed(Exception):
    pass


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def process(command, folder, options, ready):
    """A server that answers by the time the block runs, and is gone after it."""
    prefix = ["taskset", "-c", options.cpus] if options.cpus else []
    log = folder / "server.log"
    with log.open("w") as out:
        running = subprocess.Popen(prefix + [str(word) for word in command], stdout=out, stderr=out)
    try:
        until = time.monotonic() + READY_S_MAX
        while not ready():
            if running.poll() is not None or time.monotonic() > until:
                raise Failed(f"{command[0]} did not start: {log.read_text()[-800:]}")
            time.sleep(0.1)
        yield
    finally:
        running.terminate()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def answers(port, path, wanted):
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == 200 and wanted in response.read().decode()
    return False


@contextlib.contextmanager
def sedge(file, folder, options):
    home, port = folder / "home", free_port(socket.SOCK_STREAM)
    subprocess.run((options.build / "sedge", "fleet", "create", "--home", home, "--name", "bench"), check=True,
                   capture_output=True)
    command = (options.build / "sedge", "up", "--home", home, "--model", file, "--http", f"127.0.0.1:{port}", "--listen",
               f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}", "--no-beacon", "--threads", options.threads, "--kv", "f16",
               "--prefix-disk-mib", 0)
    with process(command, folder, options, lambda: answers(port, "/v1/models", file.stem)):
        yield port


@contextlib.contextmanager
def llama_server(file, folder, options):
    port, each = free_port(socket.SOCK_STREAM), options.long + options.write + 256
    slots = max(options.streams, options.writers + 1)
    command = ("llama-server", "-m", file, "-t", options.threads, "-tb", options.threads, "-np", slots, "-c", slots * each,
               "--host", "127.0.0.1", "--port", port, "--no-webui")
    with process(command, folder, options, lambda: answers(port, "/health", "ok")):
        yield port


class Answer:
    """One request's stream: when it began, when each piece of text came, how many tokens it had."""

    def __init__(self, port, model, prompt, tokens):
        self.pieces, self.tokens, self.prompt_tokens = [], 0, 0
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True,
                "stream_options": {"include_usage": True}, "logit_bias": {"2": -100}}
        self.began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_S_MAX)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise Failed(f"the server answered {response.status}: {response.read().decode()[:300]}")
        for line in response:
            now = time.perf_counter()
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event.get("choices") and event["choices"][0].get("text"):
                self.pieces.append(now)
            if event.get("usage"):
                self.tokens = event["usage"]["completion_tokens"]
                self.prompt_tokens = event["usage"]["prompt_tokens"]
        self.ended = time.perf_counter()
        if self.tokens != tokens or not self.pieces:
            raise Failed(f"an answer has {self.tokens} tokens, asked for {tokens}")


def together(jobs):
    """Runs all at once; their results, or the first failure."""
    results, failures = [None] * len(jobs), []

    def work(place, job):
        try:
            results[place] = job()
        except Exception as reason:  # of a thread: it is raised again below
            failures.append(reason)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(f"{type(failures[0]).__name__}: {failures[0]}") from failures[0]
    return results


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Texts:
    """Prompts of about so many tokens, all different from their first word on: nothing of one is known from another."""

    def __init__(self, port, model, seed):
        self.random = random.Random(seed)
        probe = Answer(port, model, self.words(100), 1)
        self.tokens_a_word = probe.prompt_tokens / 100

    def words(self, count):
        return " ".join("".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(count))

    def of(self, tokens):
        return self.words(max(1, round(tokens / self.tokens_a_word)))


def measure_streams(port, model, texts, count, options):
    prompts = [[texts.of(options.prompt) for _ in range(options.rounds)] for _ in range(count)]
    began = time.perf_counter()
    done = sum(together([lambda mine=mine: [Answer(port, model, prompt, options.generate) for prompt in mine]
                         for mine in prompts]), [])
    seconds = max(answer.ended for answer in done) - began
    first = [answer.pieces[0] - answer.began for answer in done]
    return {"tok_s": sum(answer.tokens for answer in done) / seconds, "first_p50_ms": 1000 * quantile(first, 0.5),
            "first_p99_ms": 1000 * quantile(first, 0.99)}


def measure_long(port, model, texts, options):
    started = threading.Barrier(options.writers + 1)

    def write(prompt):
        started.wait()
        return Answer(port, model, prompt, options.write)

    def interrupt(prompt):
        started.wait()
        time.sleep(options.quiet_s)
        return Answer(port, model, prompt, 1)

    prompts = [texts.of(options.prompt) for _ in range(options.writers)]
    *writers, reader = together([lambda p=p: write(p) for p in prompts] + [lambda: interrupt(texts.of(options.long))])
    settled = max(answer.pieces[0] for answer in writers)
    gaps = [(at, after - at) for answer in writers for at, after in zip(answer.pieces, answer.pieces[1:])]
    before = [gap for at, gap in gaps if settled < at and at + gap < reader.began]
    during = [gap for at, gap in gaps if at + gap > reader.began and at < reader.ended]
    if len(before) < 20 or not during:
        raise Failed("too few tokens came before the long prompt: raise --quiet-s or --write")
    if min(answer.ended for answer in writers) < reader.ended:
        print("  a writer was done before the long prompt was read: raise --write", file=sys.stderr)
    return {"gap_p99_ms": 1000 * quantile(before, 0.99), "gap_long_p99_ms": 1000 * quantile(during, 0.99),
            "gap_long_max_ms": 1000 * max(during), "long_s": reader.ended - reader.began,
            "long_tokens": reader.prompt_tokens}


def measure_behind(port, model, texts, options):
    prompts = [texts.of(options.prompt) for _ in range(options.rounds)]

    def ask():
        time.sleep(1)
        return [Answer(port, model, prompt, 1) for prompt in prompts]

    reader, asked = together([lambda: Answer(port, model, texts.of(options.long), 1), ask])
    first = [answer.pieces[0] - answer.began for answer in asked if answer.began < reader.ended]
    if not first:
        raise Failed("the long prompt was read before a short one came: raise --long")
    return {"first_p50_ms": 1000 * quantile(first, 0.5), "first_max_ms": 1000 * max(first),
            "long_s": reader.ended - reader.began}


def measure(server, file, options, seed):
    with tempfile.TemporaryDirectory(prefix="sedge-bench-") as name, server(file, pathlib.Path(name), options) as port:
        model = file.stem
        texts = Texts(port, model, seed)
        out = {"one": measure_streams(port, model, texts, 1, options),
               "many": measure_streams(port, model, texts, options.streams, options)}
        if options.long:
            out["long"] = measure_long(port, model, texts, options)
            out["behind"] = measure_behind(port, model, texts, options)
        return out


# What is printed: the part and the figure, in words, and whether more is better.
FIGURES = (("one", "tok_s", "one stream, tokens/s", True), ("one", "first_p50_ms", "one stream, first token p50, ms", False),
           ("many", "tok_s", "{streams} streams, tokens/s together", True),
           ("many", "first_p50_ms", "{streams} streams, first token p50, ms", False),
           ("many", "first_p99_ms", "{streams} streams, first token p99, ms", False),
           ("long", "gap_p99_ms", "{writers} writers, gap p99, ms", False),
           ("long", "gap_long_p99_ms", "the same while {long} tokens are read", False),
           ("long", "gap_long_max_ms", "the same, the longest", False), ("long", "long_s", "{long} tokens read, s", False),
           ("behind", "first_p50_ms", "short prompts behind one of {long} tokens, first token p50, ms", False),
           ("behind", "first_max_ms", "the same, the longest", False),
           ("behind", "long_s", "{long} tokens read beside them, s", False))


def brief(run):
    return ", ".join(f"{part} {key} {run[part][key]:.1f}" for part, key, _, _ in FIGURES if part in run)


def rows_of(shape, kind, ours, theirs, options):
    for part, key, words, more in FIGURES:
        middle = lambda runs: statistics.median(run[part][key] for run in runs) if runs and part in runs[0] else None
        mine, other = middle(ours), middle(theirs)
        if mine is not None:
            ratio = (mine / other if more else other / mine) if other else None
            yield {"shape": shape, "type": kind, "threads": options.threads, "what": words.format(**vars(options)),
                   "sedge": round(mine, 2), "peer": other and round(other, 2), "times_better": ratio and round(ratio, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="one object a row of the table")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shapes", default="SmolLM2-135M")
    parser.add_argument("--types", default="q4_0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4, help="answers that each stream asks for")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--write", type=int, default=2500, help="tokens that each of them writes")
    parser.add_argument("--quiet-s", type=float, default=4, help="how long they write before the long prompt comes")
    parser.add_argument("--long", type=int, default=4096, help="its tokens; 0: leave this part out")
    parser.add_argument("--cpus", help="cores for the servers (taskset), such as 2,4; the client keeps to the others")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.cpus:
        os.sched_setaffinity(0, os.sched_getaffinity(0) - set(map(int, options.cpus.split(","))))
    peer = shutil.which("llama-server")
    if not peer:
        print("without llama-server: it is not on PATH (Debian: llama.cpp-tools, of forky and sid)", file=sys.stderr)
    rows = []
    print("| model | tokens | Sedge | llama-server | times better |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="sedge-bench-") as name:
        for shape in options.shapes.split(","):
            for kind in options.types.split(","):
                file = pathlib.Path(name) / f"{shape}-{kind}.gguf"
                subprocess.run((options.build / "sedge", "model", "random", "--shape", shape, "--type", kind, "-o", file),
                               check=True, capture_output=True)
                ours, theirs = [], []
                for run in range(options.runs):
                    for name, server, runs in (("Sedge", sedge, ours), ("llama-server", llama_server, theirs)):
                        if server is sedge or peer:
                            runs.append(measure(server, file, options, run))
                            print(f"{file.stem}, run {run + 1}, {name}: {brief(runs[-1])}", file=sys.stderr, flush=True)
                file.unlink()
                for row in rows_of(shape, kind, ours, theirs, options):
                    rows.append(row)
                    text = lambda value: "-" if value is None else value
                    print(f"| {shape} {kind.upper()} | {row['what']} | {row['sedge']} | {text(row['peer'])} "
                          f"| {text(row['times_better'])} |", flush=True)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.SubprocessError, OSError) as reason:
        sys.exit(f"serving.py: {reason}")
