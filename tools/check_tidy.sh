#!/usr/bin/env bash
# clang-tidy on the .cc files that differ from the base: the last commit that origin/main or SEDGE_TIDY_BASE has,
# else the last commit. SEDGE_TIDY=all checks every file. Not of benchmarks, whose loops (`for (auto _ : state)`) it takes for dead stores. Usage: check_tidy.sh BUILD_DIR
set -euo pipefail
build=$1
base=${SEDGE_TIDY_BASE:-$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse -q --verify HEAD~1 || true)}
if [ "${SEDGE_TIDY:-}" = all ] || [ -z "$base" ]; then
  files=$(git ls-files 'src/*.cc')
else
  files=$( (git diff --name-only --diff-filter=d "$base" -- 'src/*.cc'; git ls-files -o --exclude-standard 'src/*.cc') | sort -u)
fi
# Each file on its own, without the headers that the build precompiles: one that forgot an include is found here.
alone=$build/tidy
mkdir -p "$alone"
known=$(python3 - "$build" "$alone" <<'PY'
import json, os, re, sys
entries = json.load(open(sys.argv[1] + "/compile_commands.json"))
for entry in entries:
    entry["command"] = re.sub(r"-include \S+/cmake_pch\.hxx|-Winvalid-pch|-fpch-preprocess|-fno-(?:tree-\w+|schedule-insns)", "", entry["command"])
    print(os.path.relpath(entry["file"]))
json.dump(entries, open(sys.argv[2] + "/compile_commands.json", "w"))
PY
)
files=$(comm -12 <(echo "$files" | sort -u) <(echo "$known" | sort -u))
files=$(grep -v '_bench\.cc$' <<<"$files" || true)
[ -n "$files" ] || { echo "no changed file to check"; exit 0; }
echo "$files" | xargs -P "$(nproc)" -n 1 clang-tidy-19 -p "$alone" --quiet 2>/dev/null
