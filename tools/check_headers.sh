#!/usr/bin/env bash
# Compiles every header alone, with clang: the build itself is g++'s, and what only one of them takes is found here. Headers unchanged since they last passed are skipped (by content, per build folder).
# Usage: check_headers.sh BUILD_DIR
set -euo pipefail
build=$1
stamps=$build/header_stamps
mkdir -p "$stamps"
flags=$(python3 - "$build" <<'PY'
import json, shlex, sys
seen = []
for entry in json.load(open(sys.argv[1] + "/compile_commands.json")):
    for word in shlex.split(entry["command"]):
        if word.startswith(("-I", "-D", "-std", "-isystem")) and word not in seen:
            seen.append(word)
print(" ".join(shlex.quote(word) for word in seen))
PY
)
check_one() {
  local header=$1
  local stamp
  stamp=$stamps/$(echo "clang++-19 $flags $(cat "$header")" | sha256sum | cut -c1-32)
  [ -e "$stamp" ] && return 0
  eval "ccache clang++-19 $flags -fsyntax-only -Wall -Wextra -x c++ -include '$header' /dev/null" || {
    echo "$header does not compile alone"
    return 1
  }
  touch "$stamp"
}
export -f check_one
export flags stamps
git ls-files -co --exclude-standard 'src/*.h' 'include/*.h' | grep -v '^src/train/' |
  xargs -P "$(nproc)" -I{} bash -c 'check_one {}'
