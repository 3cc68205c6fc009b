#!/bin/sh
# Every encoder of the architecture table gives stock llama.cpp's vectors on the same file: a random one of each tiny
# shape, in F32, F16 and Q8_0, five texts. Wanted: a cosine of at least 0.9999, at Q8_0 0.999, for each text. Exit codes:
# 0 so, 1 not, 77 skipped (no node, or npm's registry out of reach).
#
# Usage: embeddings.sh SEDGE        SEDGE_NLC: a folder that has node-llama-cpp installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sedge=$(realpath "$1")
. "$here/node_llama_cpp.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
packages=$(node_llama_cpp "$work") || exit $?

cat >"$work/texts" <<TEXTS
where is the charger?
The dock is by the door, w300 paces away.
a
Cranes fly in a line; each one sees w200 w201 and w202, and none of them is lost (not even at night).
0123456789 !#\$%&
TEXTS

status=0
for type in f32 f16 q8_0; do
  wanted=0.9999
  [ "$type" != q8_0 ] || wanted=0.999
  for shape in tiny-bert tiny-nomic-bert; do
    "$sedge" model random --shape "$shape" --type "$type" --seed 3 -o "$work/m.gguf" >/dev/null
    "$sedge" embed "$work/m.gguf" --lines "$work/texts" --threads 1 --json >"$work/ours"
    (cd "$packages" && timeout 120 node "$here/embeddings.mjs" "$work/m.gguf" "$work/texts" "$work/ours" "$shape $type" "$wanted") ||
      status=1
  done
done
exit $status
