#!/bin/sh
# Every type of blocks that the other scripts leave out gives stock llama.cpp's logits on the same file, 200 tokens: a random
# model whose rows are whole blocks of 256, and two of the types of a trained one too, where that is. (Q8_0 and IQ4_NL:
# llama_cpp.sh; code books: architectures.sh.) Exit codes: 0 so, 1 not, 77 skipped (no node, or npm's registry out of reach).
#
# No bar can be that of F16, which is 0.04 % of a position's range apart: products round activations to eight bits, which
# costs more than that and may turn the order of the best two tokens. Blocks of 32 do so alike on both sides, a scale for
# 32 of them, and differ in how sums are rounded; there every position is near (2 %) and the best token equal at 95 %.
# Blocks of 256 have one scale for 256 activations in llama.cpp and one for 32 here: near at 75 % of positions, the best
# token equal at 90 %. Wide as that looks, weights that are a little wrong are near at none: the F32 model itself beside
# llama.cpp on its own Q6_K, the finest of these, is 5.3 % apart at worst and near at 0 of 200. A trained model has logits
# that stand further apart: near at 99 %, the best token equal at 97 %, as for code books; all thirteen reach that, and two are looked
# at, as each takes as long as three or four of the others.
#
# Usage: quantized.sh SEDGE [DATA]   DATA: the folder with wren-15m-hf
#        SEDGE_NLC: a folder that has node-llama-cpp installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sedge=$(realpath "$1")
. "$here/node_llama_cpp.sh"
wren=${2:-${SEDGE_TEST_DATA:-$here/../../../shared/data}/llm}/wren-15m-hf

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
packages=$(node_llama_cpp "$work") || exit $?
packages=$(plain_llama_cpp "$work" "$packages")
of_32="q4_0 q4_1 q5_0 q5_1 mxfp4"
of_256="q2_k q3_k q4_k q5_k q6_k iq4_xs tq1_0 tq2_0"
drawn_ids >"$work/ids.json"

status=0
# compare LABEL SHARE TOP: of $work/m.gguf and $work/ids.json
compare() {
  "$sedge" eval "$work/m.gguf" --ids "$work/ids.json" --logits "$work/ours" --threads 1 --json >/dev/null
  (cd "$packages" && timeout 120 node "$here/logits.mjs" "$work/m.gguf" "$work/ids.json" "$work/ours" "$@") || status=1
}
# random TYPE SHARE TOP
random() {
  "$sedge" model random --shape tiny-wide --type "$1" --seed 3 -o "$work/m.gguf" >/dev/null
  compare "tiny-wide $1" "$2" "$3"
}
for type in $of_32; do random "$type" 1 0.95; done
for type in $of_256; do random "$type" 0.75 0.9; done

[ -d "$wren" ] || { echo "no trained model compared: $wren is absent (set SEDGE_TEST_DATA)"; exit $status; }
node -e 'const ids = require("fs").readFileSync(process.argv[1]);
  console.log(JSON.stringify(Array.from({length: 200}, (_, i) => i === 0 ? 1 : ids.readUInt16LE(2 * i))));' \
  "$wren/valid_ids.u16" >"$work/ids.json"
for type in q4_k q6_k; do
  "$sedge" model import "$wren" -o "$work/m.gguf" --type "$type" >/dev/null 2>&1
  compare "wren-15m $type" 0.99 0.97
done
exit $status
