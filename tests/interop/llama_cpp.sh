#!/bin/sh
# Stock llama.cpp runs what Sedge writes, and says the same. Imports a real model as F32, Q8_0 and IQ4_NL, then compares
# greedy tokens. Exit codes: 0 the same, 1 not, 77 skipped (no data, no node, or npm's registry out of reach).
#
# F32 is compared over 64 tokens. With the others both sides round activations to 8 bits, and a difference in the sixth
# digit (llama.cpp keeps its cache in half precision) may round to another integer: logits then differ by some
# hundredths, so the prompts and the length there are ones whose best tokens stand further apart.
#
# Usage: llama_cpp.sh SEDGE [DATA]      DATA: the folder with TinyStories-656K-hf
#        SEDGE_NLC: a folder that has node-llama-cpp installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sedge=$(realpath "$1")
. "$here/node_llama_cpp.sh"
data=${2:-${SEDGE_TEST_DATA:-$here/../../../shared/data}/llm}/TinyStories-656K-hf

skip() { echo "skipped: $1"; exit 77; }
[ -d "$data" ] || skip "$data is absent (set SEDGE_TEST_DATA)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
packages=$(node_llama_cpp "$work") || exit $?

# compare TYPE TOKENS PROMPT...
compare() {
  type=$1 count=$2
  shift 2
  "$sedge" model import "$data" -o "$work/$type.gguf" --type "$type" >/dev/null
  (cd "$packages" && timeout 120 node "$here/llama_cpp.mjs" "$work/$type.gguf" "$count" "$@") >"$work/theirs"
  for prompt in "$@"; do
    "$sedge" run "$work/$type.gguf" "$prompt" --local --max-tokens "$count" --json
  done >"$work/ours"
  node -e '
    const lines = f => require("fs").readFileSync(f, "utf8").trim().split("\n").map(l => JSON.parse(l));
    const [type, theirs, ours] = [process.argv[1], lines(process.argv[2]), lines(process.argv[3])];
    let bad = theirs.length !== ours.length ? 1 : 0;
    theirs.forEach((t, i) => {
      const at = t.tokens.findIndex((id, k) => id !== ours[i].tokens[k]);
      const same = at < 0 && t.tokens.length > 0 && t.tokens.length === ours[i].tokens.length;
      if (!same) bad = 1;
      const verdict = same ? "same" : "DIFFERENT at " + at;
      console.log(`${verdict}  ${type}  ${t.tokens.length} tokens  ${JSON.stringify(t.prompt)}`);
    });
    process.exit(bad);' "$type" "$work/theirs" "$work/ours"
}

status=0
compare f32 64 "Once upon a time" "The river" "Tom and his dog" || status=1
compare q8_0 24 "The river" "One day, a little girl named Lily" "Tom and his dog" || status=1
compare iq4_nl 24 "Once upon a time" "The river" "A big bear" || status=1
exit $status
