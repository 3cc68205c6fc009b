#!/bin/sh
# The example robot, linked with the C++ library, against a real node with a real (tiny) model on loopback: it joins by
# invitation, gets the order that was kept for it, publishes, shares entries, and the model's answer comes from the
# other node. A second life of the same home needs no invitation. Usage: robot_test.sh SEDGE ROBOT; 77: no model here.
set -eu
sedge=$1 robot=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
model=${SEDGE_TEST_DATA:-$here/../shared/data}/llm/stories260K/stories260K.gguf
[ -f "$model" ] || { echo "needs $model (set SEDGE_TEST_DATA to the folder that holds llm/)"; exit 77; }

dir=$(mktemp -d)
up=
finish() {
  status=$?
  [ -z "$up" ] || kill "$up" 2>/dev/null || true
  [ $status -eq 0 ] || { echo "--- base"; cat "$dir/base.log"; echo "--- robot"; cat "$dir"/robot*.log; } >&2
  rm -rf "$dir"
}
trap finish EXIT
touch "$dir/base.log" "$dir/robot1.log"

expect() {  # FILE TEXT: a line of it holds the text
  grep -qF -- "$2" "$1" || { echo "robot_test: '$2' is not in $(basename "$1")" >&2; exit 1; }
}
on_base() { command=$1; shift; "$sedge" "$command" --home "$dir/base" "$@"; }

"$sedge" fleet create --home "$dir/base" --name base > "$dir/created.log"
"$sedge" up --home "$dir/base" --listen 127.0.0.1:0 --http off --no-beacon --threads 1 --model "$model" 2> "$dir/base.log" &
up=$!
tries=0
until on_base status > "$dir/status.log" 2>&1; do  # until the control socket answers
  tries=$((tries + 1))
  [ $tries -lt 300 ] && kill -0 "$up" || { echo "robot_test: the base does not come up" >&2; exit 1; }
  sleep 0.1
done
on_base pub robot/rover-7/orders 'north field' --retain > "$dir/pub.log"
invitation=$("$sedge" fleet invite --home "$dir/base" --name rover-7)

for life in 1 2; do
  [ $life -eq 1 ] && given=$invitation || given=
  SEDGE_INVITATION=$given "$robot" "$dir/rover" stories260K > "$dir/robot$life.log" 2>&1
  expect "$dir/robot$life.log" 'joined as rover-7'
  expect "$dir/robot$life.log" 'Lily'  # the tiny model's story, whoever runs it
  expect "$dir/robot$life.log" 'answered: 24 tokens by base'
  expect "$dir/robot$life.log" 'order: north field'
done
on_base get '#' > "$dir/state.log"
expect "$dir/state.log" 'field/north = dry'
expect "$dir/state.log" 'retained/robot/rover-7/telemetry = {"battery":81}'
on_base get robot/rover-7/starts --json > "$dir/starts.log"
expect "$dir/starts.log" '"value":2'
on_base status --json > "$dir/status.log"
expect "$dir/status.log" '"state":"left"'
