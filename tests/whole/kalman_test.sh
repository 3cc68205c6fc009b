#!/usr/bin/env bash
# The example of shared estimation: four robots, each a node and a process of its own, track one target of which each
# sees one direction, beside a node that only passes their averages on. One is killed on the way and comes back. In the
# end each one's error is at most 1.25 times that of a central filter with the same measurements, and less than it would
# be alone (`kalman check`). Usage: kalman_test.sh SEDGE KALMAN
sedge=$1 kalman=$2
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
robots=4 steps=12 seed=7
tracking=()

# track NUMBER [INVITATION]: of each life the lines are kept.
track() {
  "$kalman" track "robot$1" "$1" $robots $steps $seed "${2-}" >>"robot$1.txt" 2>>"robot$1.log" &
  tracking[$1]=$!
  pids+=("$!")
}
has() { grep -qF -- "$2" "$1"; } # FILE TEXT

"$sedge" fleet create --home base --name base >created.log
up base
for number in $(seq $robots); do
  track "$number" "$("$sedge" fleet invite --home base --name "robot-$number")"
done

until_true 120 has robot4.txt 'estimate step 2 ' || failed "robot 4 does not get under way"
kill -9 "${tracking[4]}"
wait "${tracking[4]}" 2>/dev/null || true
track 4

for number in $(seq $robots); do
  wait "${tracking[$number]}" || failed "robot $number ends with an error"
  has "robot$number.txt" "heard $robots at" || failed "robot $number never heard of all"
done
"$kalman" check $seed robot?.txt >check.log 2>&1 || failed "they do not track as well as they should"
cat check.log
# The check itself: estimates that are 10 m off do not pass it.
awk '$1 == "estimate" { $9 += 10 } 1' robot1.txt >off.txt
if "$kalman" check $seed off.txt robot[234].txt >off.log 2>&1; then failed "the check passes what is 10 m off"; fi
