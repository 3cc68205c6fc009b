#!/bin/sh
# A model with LoRA adapters gives stock llama.cpp's logits on the same files: random models of tiny shapes with random
# adapters, alone, in part and stacked, 200 tokens. Wanted as in architectures.sh, and that the adapters are seen at all:
# without them the logits must be further apart. Exit codes: 0 so, 1 not, 77 skipped (no node, or npm's registry out of
# reach).
#
# Usage: adapters.sh SEDGE        SEDGE_NLC: a folder that has node-llama-cpp installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sedge=$(realpath "$1")
. "$here/node_llama_cpp.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
packages=$(node_llama_cpp "$work") || exit $?
packages=$(plain_llama_cpp "$work" "$packages")

drawn_ids >"$work/ids.json"

# hold LABEL ADAPTERS [OPTION ...]: ours with the options, theirs with the adapters.
hold() {
  label=$1 adapters=$2
  shift 2
  "$sedge" eval "$work/m.gguf" --ids "$work/ids.json" --logits "$work/ours" --threads 1 --json "$@" >/dev/null
  (cd "$packages" && timeout 120 node "$here/logits.mjs" "$work/m.gguf" "$work/ids.json" "$work/ours" "$label" 1 0.99 "$adapters")
}

status=0
for shape in tiny tiny-qwen2 tiny-qwen3 tiny-smollm3 tiny-gemma2 tiny-gemma3 tiny-phi tiny-gpt2; do
  for type in f32 f16; do
    "$sedge" model random --shape "$shape" --type "$type" --seed 3 -o "$work/m.gguf" >/dev/null
    "$sedge" model random-lora "$work/m.gguf" --rank 8 --seed 4 -o "$work/one.gguf" >/dev/null
    "$sedge" model random-lora "$work/m.gguf" --rank 16 --type f16 --seed 5 -o "$work/two.gguf" >/dev/null
    one="{\"filePath\": \"$work/one.gguf\", \"scale\": 1}"
    both="{\"filePath\": \"$work/one.gguf\", \"scale\": 0.5}, {\"filePath\": \"$work/two.gguf\", \"scale\": -0.25}"
    hold "$shape $type, one adapter" "[$one]" --lora "$work/one.gguf" || status=1
    hold "$shape $type, two in part" "[$both]" --lora "$work/one.gguf=0.5" --lora "$work/two.gguf=-0.25" || status=1
    if hold "$shape $type, theirs alone" "[$one]" >"$work/said"; then
      echo "the adapter changes nothing: $(cat "$work/said")"
      status=1
    fi
  done
done
exit $status
