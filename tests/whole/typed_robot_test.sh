#!/usr/bin/env bash
# The typed example as two programs and a node between them, on loopback: an operator's order reaches the robot as a
# struct, a coroutine obeys it, its telemetry comes back, and where it parked is an entry of the fleet's.
# Usage: typed_robot_test.sh SEDGE TYPED_ROBOT
sedge=$1 robot=$2
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

has() { grep -qF -- "$2" "$1"; } # FILE TEXT
expect() { has "$1" "$2" || failed "'$2' is not in $1"; }

"$sedge" fleet create --home base --name base >created.log
"$sedge" up --home base --listen 127.0.0.1:0 --http off --no-beacon 2>base.log &
pids+=("$!")
until_true 30 "$sedge" status --home base || failed "the base does not come up"
"$sedge" pub --home base robot/rover-7/orders 'words, and no struct' --retain >pub.log
for_rover=$("$sedge" fleet invite --home base --name rover-7)
for_operator=$("$sedge" fleet invite --home base --name operator)

"$robot" drive rover "$for_rover" >rover.log 2>&1 &
driving=$!
pids+=("$driving")
until_true 30 has rover.log 'no order' || failed "the robot does not hear what was kept for it"
"$robot" send operator 0.6 0.8 "$for_operator" >operator.log 2>&1 || failed "the operator ends with an error"
wait "$driving" || failed "the robot ends with an error"
expect operator.log 'it is there, battery 100 %'
expect rover.log 'order go and park: on my way'
"$sedge" get --home base '#' >state.log
expect state.log 'robot/rover-7/parked'
