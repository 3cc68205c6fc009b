#!/usr/bin/env bash
# 64-bit ARM under qemu: scalar and NEON kernels must give the bits of the numeric class.
set -euo pipefail
exec "$(dirname "$0")/../tests/arm/numeric_class.sh"
