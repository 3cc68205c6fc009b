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
known=$(python3 - "$build" <<'PY'
import json, os, sys
for entry in json.load(open(sys.argv[1] + "/compile_commands.json")):
    print(os.path.relpath(entry["file"]))
PY
)
files=$(comm -12 <(echo "$files" | sort -u) <(echo "$known" | sort -u))
files=$(grep -v '_bench\.cc$' <<<"$files" || true)
[ -n "$files" ] || { echo "no changed file to check"; exit 0; }
echo "$files" | xargs -P "$(nproc)" -n 1 clang-tidy-19 -p "$build" --quiet 2>/dev/null
