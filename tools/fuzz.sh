#!/usr/bin/env bash
# Runs every libFuzzer target for some seconds from its committed corpus. New inputs stay in the build folder.
# Usage: fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
build=$1
seconds=$2
for target in "$build"/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  name=${target##*/fuzz_}
  mkdir -p "$build/found/$name"
  echo "fuzzing $name"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=0 -verbosity=0 \
    -artifact_prefix="$build/found/$name-" "$build/found/$name" "tests/corpus/$name" || {
    echo "fuzz_$name found a failure: the input is named above; keep it in tests/corpus/$name once it is mended" >&2
    exit 1
  }
done
