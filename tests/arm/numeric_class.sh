#!/bin/sh
# Builds the kernels for 64-bit ARM and runs them under qemu: scalar, NEON, NEON with dot products and with products of
# small matrices must give the bits of the numeric class; a processor without either must do without it.
# Exit codes: 0 the same, 1 not, 77 skipped (no cross compiler or no qemu).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
command -v aarch64-linux-gnu-g++ >/dev/null || { echo "skipped: aarch64-linux-gnu-g++ is not installed"; exit 77; }
command -v qemu-aarch64 >/dev/null || { echo "skipped: qemu-aarch64 is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sources=$(find "$root/src/kernels" -name '*.cc' ! -name '*_a[mv]x*.cc' ! -name '*_test.cc' ! -name '*_bench.cc' \
  ! -name '*_fuzz.cc' ! -name '*_neondot.cc' ! -name '*_i8mm.cc')
# Header-only fmt: there is no ARM library of it to link. The switches are those of cmake/Rooms.cmake.
compile="aarch64-linux-gnu-g++ -std=c++23 -O2 -ffp-contract=off -Wall -Wextra -static
  -fno-tree-ter -fno-tree-reassoc -fno-schedule-insns
  -DFMT_HEADER_ONLY -I$root/src -idirafter /usr/include"
# shellcheck disable=SC2086
$compile -march=armv8.2-a+dotprod -c "$root/src/kernels/matmul/matmul_neondot.cc" -o "$work/neondot.o"
# shellcheck disable=SC2086
$compile -march=armv8.2-a+dotprod+i8mm -c "$root/src/kernels/matmul/matmul_i8mm.cc" -o "$work/i8mm.o"
# shellcheck disable=SC2086
$compile $sources "$work/neondot.o" "$work/i8mm.o" "$root/src/base/assert.cc" "$root/tests/arm/numeric_class_main.cc" \
  -o "$work/check"
check() {
  echo "qemu -cpu $1"
  qemu-aarch64 -cpu "$1" "$work/check" > "$work/out" || { cat "$work/out"; exit 1; }
  cat "$work/out"
  [ "$(cut -d' ' -f1 "$work/out" | tr '\n' ' ')" = "$2 " ] || { echo "expected: $2"; exit 1; }
}
check cortex-a53 "scalar neon"
check cortex-a76 "scalar neon neondot"
check max "scalar neon neondot i8mm"
