#!/usr/bin/env python3
"""Holds the tree to docs/ARCHITECTURE.md: who includes whom, who touches the system, how long a function may be, and
that a test can fail.

The table of rooms is read from CMakeLists.txt (sedge_room rows), so that there is one. Prints a line a breach and
exits 1. `check_layout.py --lengths` prints the longest functions instead.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

# Third-party headers a room may include, by prefix; what stands in no row may be included by nobody.
THIRD_PARTY = {
    "fmt/": None,  # None: everybody
    "boost/json": None,
    "sodium": {"trust"},
    "sqlite3.h": {"store"},
    "ngtcp2/": {"quic"},
    "gnutls/": {"quic"},
    "zstd": {"mesh"},
    "boost/asio": {"platform", "api", "apps"},
    "boost/system": {"platform", "api", "apps"},
    "boost/beast": {"api"},
    "prometheus/": {"api"},
    "CLI/": {"apps", "train"},
    "toml++": {"apps", "sim", "train"},
    "torch/": {"train"},
    "ATen/": {"train"},
    "c10/": {"train"},
    "gtest/": "tests",
    "gmock/": "tests",
    "rapidcheck": "tests",
    "benchmark/": "tests",
}

# System powers, and the rooms that may have them. Tests may start threads and make files.
POWERS = {
    r"#include <(thread|mutex|shared_mutex|condition_variable|atomic|future|semaphore|latch|barrier|stop_token)>":
        ({"engine", "platform", "api", "train", "apps"}, "threads and locks"),
    r"#include <(sys/socket|netinet/\w+|netdb|sys/epoll|sys/un|poll)\.h>": ({"platform", "api", "apps"}, "sockets"),
    r"\b(steady_clock|system_clock|high_resolution_clock|clock_gettime|gettimeofday)\b|\bstd::time\(":
        ({"platform", "api", "train", "apps", "engine"}, "the clock"),
    r"\brandom_device\b|\bgetrandom\(|\bsrand\(|\brand\(\)": ({"platform"}, "unseeded randomness"),
}

# Functions longer than this are refused; those between are a place to look. The bound only ever goes down.
FUNCTION_LINES_MAX = 100


def rooms():
    table = {}
    for name, includes in re.findall(r'sedge_room\((\w+)\s+"([^"]*)"', (ROOT / "CMakeLists.txt").read_text()):
        table[name] = {name, *filter(None, includes.split(";"))}
    table["apps"] = set(table) | {"apps"}
    return table


def is_test(path):
    return re.search(r"_(test|fuzz|bench)\.cc$", path.name) is not None or "tests" in path.parts


def third_party_allowed(header, room, test):
    for prefix, who in THIRD_PARTY.items():
        if header.startswith(prefix):
            return who is None or (who == "tests" and test) or (who != "tests" and room in who)
    return not re.match(r"(boost|openssl|curl|grpc|google|Eigen|spdlog|nlohmann)", header)


def check_file(path, table, breaches):
    room = path.relative_to(SRC).parts[0]
    test = is_test(path)
    where = path.relative_to(ROOT)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        own = re.match(r'#include "(\w+)/', line)
        if own and own.group(1) in table and own.group(1) not in table[room] and not test:
            breaches.append(f"{where}:{number}: {room} may not include {own.group(1)} (docs/ARCHITECTURE.md, The rooms)")
        outside = re.match(r"#include <([^>]+)>", line)
        if outside and not third_party_allowed(outside.group(1), room, test):
            breaches.append(f"{where}:{number}: {room} may not include <{outside.group(1)}>")
        if test:
            if re.match(r"\s*rc::check\(", line):
                breaches.append(f"{where}:{number}: a property whose answer nobody looks at: EXPECT_TRUE(rc::check(...))")
            continue
        code = line.split("//")[0]
        for pattern, (who, what) in POWERS.items():
            if room not in who and re.search(pattern, code):
                breaches.append(f"{where}:{number}: {room} may not have {what}: {code.strip()}")


def functions(path):
    """Start line and length of each outermost brace block that follows a parameter list, by indentation: the tree
    is formatted, so a function's closing brace stands in the column its first line starts in."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        head = re.match(r"^( {0,4})[A-Za-z_~].*[)\w>&]( const)?( noexcept)?( override)? \{$", line)
        if not head or re.match(r"^\s*(namespace|class|struct|enum|union|extern|else|for|while|if|switch|do|template|concept|requires)\b", line):
            continue
        closing = head.group(1) + "}"
        for end in range(number + 1, len(lines)):
            if lines[end] == closing or lines[end].startswith(closing + " "):
                yield number + 1, end - number + 1
                break
            if lines[end] and not lines[end].startswith(head.group(1)):
                break


def main():
    table = rooms()
    sources = sorted(path for path in SRC.rglob("*") if path.suffix in (".h", ".cc"))
    lengths = [(length, path.relative_to(ROOT), line) for path in sources if not is_test(path)
               for line, length in functions(path)]
    if "--lengths" in sys.argv:
        for length, path, line in sorted(lengths, reverse=True)[:20]:
            print(f"{length:4} {path}:{line}")
        return 0
    breaches = []
    for path in sources:
        check_file(path, table, breaches)
    for length, path, line in lengths:
        if length > FUNCTION_LINES_MAX:
            breaches.append(f"{path}:{line}: a function of {length} lines, at most {FUNCTION_LINES_MAX}: split it")
    print("\n".join(breaches) if breaches else f"{len(sources)} files, {len(lengths)} functions: the layout holds")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
