#!/bin/sh
# Builds the kernels for 64-bit ARM and runs them under qemu: scalar and NEON must give the bits of the numeric class.
# Exit codes: 0 the same, 1 not, 77 skipped (no cross compiler or no qemu).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
command -v aarch64-linux-gnu-g++ >/dev/null || { echo "skipped: aarch64-linux-gnu-g++ is not installed"; exit 77; }
command -v qemu-aarch64 >/dev/null || { echo "skipped: qemu-aarch64 is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sources=$(find "$root/src/kernels" -name '*.cc' ! -name '*_a[mv]x*.cc' ! -name '*_test.cc' ! -name '*_bench.cc' \
  ! -name '*_fuzz.cc')
# Header-only fmt: there is no ARM library of it to link.
# shellcheck disable=SC2086
aarch64-linux-gnu-g++ -std=c++23 -O2 -ffp-contract=off -Wall -Wextra -static -DFMT_HEADER_ONLY -I"$root/src" \
  -idirafter /usr/include $sources "$root/src/base/assert.cc" "$root/tests/arm/numeric_class_main.cc" -o "$work/check"
for cpu in cortex-a53 max; do
  echo "qemu -cpu $cpu"
  qemu-aarch64 -cpu "$cpu" "$work/check"
done
