#!/bin/sh
# The typed example as two programs and a node between them, on loopback: an operator's order reaches the robot as a
# struct, a coroutine obeys it, its telemetry comes back, and where it parked is an entry of the fleet's.
# Usage: typed_robot_test.sh SEDGE TYPED_ROBOT
set -eu
sedge=$1 robot=$2
dir=$(mktemp -d)
up= driving=
finish() {
  status=$?
  for pid in $up $driving; do kill "$pid" 2>/dev/null || true; done
  [ $status -eq 0 ] || { for log in "$dir"/*.log; do echo "--- $log"; cat "$log"; done; } >&2
  rm -rf "$dir"
}
trap finish EXIT

expect() {  # FILE TEXT: a line of it holds the text
  grep -qF -- "$2" "$1" || { echo "typed_robot_test: '$2' is not in $(basename "$1")" >&2; exit 1; }
}
on_base() { command=$1; shift; "$sedge" "$command" --home "$dir/base" "$@"; }

"$sedge" fleet create --home "$dir/base" --name base > "$dir/created.log"
"$sedge" up --home "$dir/base" --listen 127.0.0.1:0 --http off --no-beacon 2> "$dir/base.log" &
up=$!
tries=0
until on_base status > "$dir/status.log" 2>&1; do  # until the control socket answers
  tries=$((tries + 1))
  [ $tries -lt 300 ] && kill -0 "$up" || { echo "typed_robot_test: the base does not come up" >&2; exit 1; }
  sleep 0.1
done
on_base pub robot/rover-7/orders 'words, and no struct' --retain > "$dir/pub.log"
for_rover=$("$sedge" fleet invite --home "$dir/base" --name rover-7)
for_operator=$("$sedge" fleet invite --home "$dir/base" --name operator)

"$robot" drive "$dir/rover" "$for_rover" > "$dir/rover.log" 2>&1 &
driving=$!
tries=0
until grep -q 'no order' "$dir/rover.log"; do  # it has heard what was kept for it
  tries=$((tries + 1))
  [ $tries -lt 300 ] && kill -0 "$driving" || { echo "typed_robot_test: the robot does not come up" >&2; exit 1; }
  sleep 0.1
done
"$robot" send "$dir/operator" 0.6 0.8 "$for_operator" > "$dir/operator.log" 2>&1
wait "$driving"
driving=
expect "$dir/operator.log" 'it is there, battery 100 %'
expect "$dir/rover.log" 'order go and park: on my way'
on_base get '#' > "$dir/state.log"
expect "$dir/state.log" 'robot/rover-7/parked'
