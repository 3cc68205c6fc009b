#!/bin/sh
# Our ids beside stock llama.cpp's, over texts drawn from a seed: for every vocabulary of SEDGE_TEST_DATA, for one of each
# pre-tokenizer (pairs of bytes, made here), and for WordPiece. Exit codes: 0 the same, 1 not, 77 skipped (no node, or
# npm's registry out of reach). Names that this llama.cpp does not know are listed and do not count.
#
# Usage: tokenizers.sh TOKENIZER_PEER [COUNT [SEED [KINDS]]]     COUNT texts a vocabulary, default 300
#        SEDGE_NLC: a folder that has node-llama-cpp installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peer=$(realpath "$1")
count=${2:-300} seed=${3:-1} kinds=${4:-$("$1" names)}
data=${SEDGE_TEST_DATA:-$here/../../../shared/data}/tokenizers/llama.cpp

. "$here/node_llama_cpp.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
packages=$(node_llama_cpp "$work") || exit $?

set --
for kind in $kinds; do
  "$peer" vocab "$kind" "$work/$kind.gguf"
  set -- "$@" "$work/$kind.gguf"
done
for real in "$data"/*.gguf; do
  [ ! -f "$real" ] || set -- "$@" "$real"
done
jobs=""
for vocab; do
  name=$(basename "$vocab" .gguf)
  "$peer" texts "$seed" "$count" "$vocab" >"$work/$name.texts"
  jobs="$jobs $work/$name.texts $vocab $work/$name.theirs"
done
# shellcheck disable=SC2086
(cd "$packages" && node "$here/tokenizers.mjs" $jobs) || { echo "llama.cpp failed"; exit 1; }

status=0 same=0 unknown=""
for vocab; do
  name=$(basename "$vocab" .gguf)
  if [ ! -f "$work/$name.theirs" ]; then
    unknown="$unknown $name"
    continue
  fi
  "$peer" ids "$vocab" "$work/$name.texts" >"$work/$name.ours"
  if cmp -s "$work/$name.ours" "$work/$name.theirs"; then
    same=$((same + 1))
    continue
  fi
  status=1
  paste -d '\n' "$work/$name.ours" "$work/$name.theirs" | awk -v texts="$work/$name.texts" -v name="$name" '
    NR % 2 { ours = $0; next }
    { ++lines; if (lines % 2) getline text < texts }
    ours != $0 { if (++bad <= 5) print name ": " text "\n  ours   " ours "\n  theirs " $0 }
    END { print name ": " bad " of " lines " lines differ" }'
done
[ -z "$unknown" ] || echo "not known to this llama.cpp:$unknown"
echo "$same vocabularies, $count texts each, without and with special tokens: the same"
exit $status
