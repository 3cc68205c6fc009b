#!/usr/bin/env python3
"""Sedge beside the messaging systems that its users know, on this machine and in this run.

A figure from elsewhere says nothing here: other processors, other kernels, other meanings of "latency". So every
system does the same work under the same measurement (bench/measure.h) between two processes on loopback, in turn,
several times around, and the median stands; a noisy minute then falls on all of them. Those that have TLS use it as
Sedge does: version 1.3, both sides with certificates, made here and thrown away.

Queues of brokers are unbounded here, so that the window is what bounds a flood, for all alike.
Rejected: each system's own benchmark tool (they count different things), and one run each (the first pays for all).
"""
import argparse
import contextlib
import dataclasses
import getpass
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BROKER_TLS = "mutual TLS 1.3 to the broker, which reads everything"
PATIENCE_S = 10
PROGRAM_S_MAX = 900


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    program: str  # under the build folder
    packages: dict  # what it needs: a command, or the program that the build makes -> the Debian package
    security: str
    broker: str = ""
    arguments: tuple = ()


MOSQUITTO = {"openssl": "openssl", "mosquitto": "mosquitto", "peers/bench-mosquitto": "libmosquitto-dev"}
NATS = {"openssl": "openssl", "nats-server": "nats-server", "peers/bench-nats": "libnats-dev"}
DDS = {"idlc": "cyclonedds-tools", "peers/bench-dds": "cyclonedds-dev"}
PEERS = (
    Peer("Sedge", "sedge-bench", {}, "mutual TLS 1.3 between the nodes, batches signed by their origin"),
    Peer("mosquitto, QoS 0", "peers/bench-mosquitto", MOSQUITTO, BROKER_TLS, "mosquitto", ("--qos", "0")),
    Peer("mosquitto, QoS 1", "peers/bench-mosquitto", MOSQUITTO, BROKER_TLS, "mosquitto", ("--qos", "1")),
    Peer("NATS", "peers/bench-nats", NATS, BROKER_TLS, "nats-server"),
    Peer("Cyclone DDS, reliable", "peers/bench-dds", DDS, "none"),
)

MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
tls_version tlsv1.3
allow_anonymous true
set_tcp_nodelay true
persistence false
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
user {user}
log_type error
log_type warning
"""

NATS_CONF = """\
listen: "127.0.0.1:{port}"
max_pending: 256MB
tls {{
  ca_file: "{folder}/ca.pem"
  cert_file: "{folder}/server.pem"
  key_file: "{folder}/server.key"
  verify: true
}}
"""

BROKERS = {"mosquitto": (MOSQUITTO_CONF, ("mosquitto", "-c")), "nats-server": (NATS_CONF, ("nats-server", "-c"))}
VERSION_OF = {"mosquitto": ("mosquitto", "-h"), "nats-server": ("nats-server", "--version")}

# Clients speak 1.3 or nothing; the NATS client has no option of its own for that.
OPENSSL_CONF = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
"""

DDS_CONF = """\
<CycloneDDS><Domain Id="{domain}">
<General><Interfaces><NetworkInterface address="127.0.0.1" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers></Discovery>
<Internal><Watermarks><WhcHigh>16 MB</WhcHigh></Watermarks></Internal>
</Domain></CycloneDDS>
"""


class Failed(Exception):
    pass


def make_certificates(folder):
    """A root, and one certificate each for the broker and its clients."""
    def openssl(*arguments):
        subprocess.run(("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", *arguments),
                       cwd=folder, check=True, capture_output=True)
    openssl("-subj", "/CN=bench root", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        openssl("-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1",
                "-addext", "basicConstraints=CA:FALSE", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    (folder / "openssl.cnf").write_text(OPENSSL_CONF)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_domain():
    """A DDS domain whose first ports nobody has: 7400 + 250 a domain, 10 and 11 for the first participant."""
    for domain in range(90, 0, -1):
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(7400 + 250 * domain + 10, 7400 + 250 * domain + 18):
                probes.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            return domain
    raise Failed("no DDS domain is free")


@contextlib.contextmanager
def broker(kind, folder):
    """Runs it, gives its port, ends it."""
    if not kind:
        yield 0
        return
    configuration, command = BROKERS[kind]
    port = free_port()
    file = folder / f"{kind}.conf"
    file.write_text(configuration.format(port=port, folder=folder, user=getpass.getuser()))
    with open(folder / "broker.log", "w") as log:
        process = subprocess.Popen((*command, str(file)), stdout=log, stderr=log)
    try:
        await_port(port, process, folder)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_port(port, process, folder):
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise Failed("the broker did not start: " + (folder / "broker.log").read_text()[-500:])


def measure(peer, options, folder):
    """One run: the program's JSON."""
    environment = dict(os.environ)
    command = [options.build / peer.program, "--messages", options.messages, "--rounds", options.rounds,
               "--window", options.window, *peer.arguments]
    far_log = folder / "far.log"
    far_log.unlink(missing_ok=True)
    if peer.name == "Sedge":
        command.append("--json")
    else:
        command += ["--folder", folder, "--log", far_log]
    if peer.broker:
        environment["OPENSSL_CONF"] = str(folder / "openssl.cnf")
    if peer.program.endswith("dds"):
        environment["CYCLONEDDS_URI"] = DDS_CONF.format(domain=free_domain())
    with broker(peer.broker, folder) as port:
        if port:
            command += ["--port", port]
        done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True,
                              timeout=PROGRAM_S_MAX)
    if done.returncode != 0:
        far = far_log.read_text() if far_log.exists() else ""
        raise Failed(f"{done.stderr.strip()} {far[-500:].strip()}".strip())
    return json.loads(done.stdout)


def missing(peer, build):
    return [package for need, package in peer.packages.items()
            if not (shutil.which(need) or (build / need).exists())]


def version(peer, figures, build):
    command = VERSION_OF.get(peer.broker) or (build / "sedge", "--version")
    said = "" if "dds" in peer.program else subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    own = found.group() if found else ""
    client = figures.get("version", "")
    return f"{own}, client {client}" if own and client and own != client else own or client


def row_of(peer, runs, build):
    """The median of all runs; what was lost and came twice in any of them."""
    def median(name):
        return round(statistics.median(run[name] for run in runs), 1)
    thread, callbacks = median("thread_messages_per_s"), median("callback_messages_per_s")
    return {"peer": peer.name, "security": peer.security,
            "latency_p50_us": median("latency_p50_us"), "latency_p99_us": median("latency_p99_us"),
            "thread_latency_p50_us": median("thread_latency_p50_us"),
            "thread_latency_p99_us": median("thread_latency_p99_us"),
            "messages_per_s": max(thread, callbacks), "thread_messages_per_s": thread,
            "callback_messages_per_s": callbacks,
            "lost": sum(run["lost"] for run in runs), "duplicates": sum(run["duplicates"] for run in runs),
            "messages": sum(2 * run["messages"] for run in runs), "runs": len(runs),
            "version": version(peer, runs[0], build)}


def print_table(rows, left_out, options):
    ours = next((row for row in rows if row["peer"] == "Sedge"), None)

    def times(row, name):
        return f"{row[name] / ours[name]:.2g}" if ours and ours[name] else ""

    def rate(value):
        return f"{value:,.0f}" if value else "not all came"
    print(f"two processes on loopback, 64-byte messages; median of {options.runs} runs, window {options.window}\n")
    print("| | one way between callbacks, p50 / p99, µs | p50, × Sedge's | between threads, µs "
          "| from a thread, messages/s | from callbacks | the better, × Sedge's | lost, twice | security | version |")
    print("|---" * 10 + "|")
    for row in rows:
        print(f"| {row['peer']} | {row['latency_p50_us']:.0f} / {row['latency_p99_us']:.0f} "
              f"| {times(row, 'latency_p50_us')} "
              f"| {row['thread_latency_p50_us']:.0f} / {row['thread_latency_p99_us']:.0f} "
              f"| {rate(row['thread_messages_per_s'])} | {rate(row['callback_messages_per_s'])} "
              f"| {times(row, 'messages_per_s')} "
              f"| {row['lost']}, {row['duplicates']} of {row['messages']:,} | {row['security']} | {row['version']} |")
    for name, why in left_out.items():
        print(f"\n{name}: {why}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     epilog="Example: ./dev bench peers --runs 5 --json peers.json")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="one JSON object a line, for each row")
    parser.add_argument("--runs", type=int, default=3, help="each system's; the median counts (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2000, help="ping-pongs a run (%(default)s)")
    parser.add_argument("--messages", type=int, default=200_000, help="one way, each of two floods (%(default)s)")
    parser.add_argument("--window", type=int, default=16_384, help="messages under way at most (%(default)s)")
    parser.add_argument("--only", metavar="TEXT", default="", help="systems whose name has TEXT in it, and Sedge")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `finally`: no broker stays behind
    chosen = [peer for peer in PEERS if options.only.lower() in peer.name.lower() or peer.name == "Sedge"]
    left_out = {}
    for peer in list(chosen):
        if lacks := missing(peer, options.build):
            left_out[peer.name] = f"not measured: needs apt install {' '.join(lacks)}"
            chosen.remove(peer)
    runs = {peer.name: [] for peer in chosen}
    failed = False
    with tempfile.TemporaryDirectory(prefix="sedge-peers-") as scratch:
        folder = pathlib.Path(scratch)
        if any(peer.broker for peer in chosen):
            make_certificates(folder)
        for number in range(options.runs):
            for peer in [each for each in chosen if each.name not in left_out]:
                print(f"run {number + 1} of {options.runs}: {peer.name}", file=sys.stderr)
                try:
                    runs[peer.name].append(measure(peer, options, folder))
                except (Failed, OSError, subprocess.SubprocessError, ValueError) as why:
                    left_out[peer.name] = f"failed: {why}"
                    failed = True
    rows = [row_of(peer, runs[peer.name], options.build) for peer in chosen if peer.name not in left_out]
    print_table(rows, left_out, options)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
