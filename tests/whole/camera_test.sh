#!/usr/bin/env bash
# The camera example as two processes and a node between them: frames of 8 MB come whole by shared memory, and one that
# is held is still whole when the process that filmed it has been killed.
# Usage: camera_test.sh SEDGE CAMERA
sedge=$1 camera=$2
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

has() { grep -qF -- "$2" "$1"; } # FILE TEXT

"$sedge" fleet create --home base --name base >created.log
"$sedge" up --home base --listen 127.0.0.1:0 --http off --no-beacon 2>base.log &
pids+=("$!")
until_true 30 "$sedge" status --home base || failed "the base does not come up"
for_eye=$("$sedge" fleet invite --home base --name eye)
for_film=$("$sedge" fleet invite --home base --name film)

"$camera" watch eye "$for_eye" >eye.log 2>&1 &
watching=$!
pids+=("$watching")
until_true 30 has eye.log watching || failed "the watcher does not start"
"$camera" film film "$for_film" >film.log 2>&1 &
filming=$!
pids+=("$filming")
until_true 60 has eye.log 'frame 5: 8294400 bytes, whole' || failed "no frame comes whole"
kill -9 "$filming"
wait "$watching" || failed "the watcher ends with an error"
has eye.log 'the first frame is still whole' || failed "what was held is lost"
! has eye.log torn || failed "a frame came torn"
