#!/usr/bin/env bash
# Runs the benchmarks of docs/benchmarks.md, building what each needs. Usage: bench.sh BUILD_DIR [NAME]
set -euo pipefail
build=${1:?usage: bench.sh BUILD_DIR [NAME]}
name=${2:-}

# NAME, the target that measures it, and what it is told.
targets=(messages:sedge-bench kernels:kernels_bench quic:quic_bench tokenizer:model_bench merges:crdt_bench packing:mesh_bench loans:platform_bench
  "frames:sedge-bench --frames")

known=
for row in "${targets[@]}"; do
  each=${row%%:*}
  read -ra run <<<"${row#*:}"
  target=${run[0]}
  known+=" $each"
  [ -z "$name" ] || [ "$name" = "$each" ] || continue
  printf '\n== %s (%s)\n' "$each" "$target" >&2
  cmake --build "$build" --target "$target" >&2
  "$build/$target" "${run[@]:1}"
  [ -z "$name" ] || exit 0
done
[ -z "$name" ] || { echo "bench.sh: no benchmark '$name'; there are:$known" >&2; exit 2; }
