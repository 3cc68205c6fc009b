#!/usr/bin/env bash
# Real processes on loopback: two of three voters are lost for good, the third goes on by the root's order, and a lost one
# that comes back obeys it.
# Usage: quorum.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

echo "== three vote"
"$sedge" fleet create --home alpha --name alpha >/dev/null
up alpha
alpha=$pid
seed=$(field alpha listening)
for name in beta gamma; do
  "$sedge" fleet join "$("$sedge" fleet invite --home alpha)" --home "$name" --name "$name" >/dev/null
  up "$name" --seed "$seed"
  last=$pid
  [ "$name" = beta ] && beta=$pid
done
three() { [ "$("$sedge" status --home "$1" --json | grep -o '"voters":\[[^]]*\]' | tr ',' '\n' | wc -l)" = 3 ]; }
until_true 30 three gamma || failed "three voters were never found"
"$sedge" set --home beta --linearizable charger beta

echo "== while a majority is there nobody is forced"
if "$sedge" fleet force-quorum alpha beta gamma --home alpha 2>refused.log; then failed "a quorum was forced without need"; fi
grep -q "no force is needed" refused.log || failed "it was refused for another reason: $(cat refused.log)"

echo "== two are lost, and the third goes on by the root's order alone"
kill -9 "$beta" "$last"
wait "$beta" "$last" 2>/dev/null || true
alone() { [ "$(field alpha alive)" = 1 ]; }
until_true 30 alone || failed "alpha does not see that it is alone"
undecided() { ! "$sedge" get --home alpha --linearizable charger --patience 1; }
until_true 10 undecided || failed "one of three decides, though its lease is over"
mv alpha/root.key root.key
if "$sedge" fleet force-quorum alpha --home alpha 2>/dev/null; then failed "a quorum was forced without the root"; fi
if "$sedge" fleet force-quorum alpha beta --home alpha --root-key root.key 2>/dev/null; then failed "the dead were named"; fi
"$sedge" fleet force-quorum alpha --home alpha --root-key root.key >/dev/null
[ "$("$sedge" get --home alpha --linearizable charger)" = "charger = beta" ] || failed "what was agreed before is lost"
"$sedge" set --home alpha --linearizable charger alpha

echo "== who comes back obeys"
up beta --seed "$(field alpha listening)"
obeys() { [ "$("$sedge" get --home beta --linearizable charger --patience 2)" = "charger = alpha" ]; }
until_true 30 obeys || failed "beta still lives in the former group"
echo "all held"
