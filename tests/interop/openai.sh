#!/bin/sh
# The stock npm client `openai` talks to a real node: a fleet of one is created, `sedge up` serves a small model over
# HTTP, and openai.mjs asks it for all that docs/formats/http.md promises. Exit codes: 0 right, 1 not, 77 skipped
# (no data, no node, or npm's registry out of reach).
#
# Usage: openai.sh SEDGE [DATA]      DATA: the folder with stories260K
#        SEDGE_OPENAI: a folder that has the npm package openai installed already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sedge=$(realpath "$1")
model=${2:-${SEDGE_TEST_DATA:-$here/../../../shared/data}/llm}/stories260K/stories260K.gguf

skip() { echo "skipped: $1"; exit 77; }
[ -f "$model" ] || skip "$model is absent (set SEDGE_TEST_DATA)"
command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are not installed"

work=$(mktemp -d)
up=
finish() {
  [ -z "$up" ] || kill "$up" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

packages=${SEDGE_OPENAI:-$work/npm}
if [ ! -d "$packages/node_modules/openai" ]; then
  mkdir -p "$packages"
  echo "installing openai from npm..."
  (cd "$packages" && timeout 300 npm install --ignore-scripts --no-audit --no-fund --loglevel=error openai >npm.log 2>&1) ||
    skip "npm could not install openai: $(head -n 1 "$packages/npm.log")"
fi

export SEDGE_HOME="$work/home"
"$sedge" fleet create >/dev/null
port=${SEDGE_HTTP_PORT:-17335}
"$sedge" up --listen 127.0.0.1:0 --http "127.0.0.1:$port" --model "$model" >"$work/up.log" 2>&1 &
up=$!
if (cd "$packages" && timeout 120 node "$here/openai.mjs" "http://127.0.0.1:$port" "$up"); then
  exit 0
fi
echo "the node said:"
cat "$work/up.log"
exit 1
