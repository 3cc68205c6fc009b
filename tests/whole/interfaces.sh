#!/usr/bin/env bash
# Two machines with two networks between them, each a namespace made here: the nodes find each other without any seed,
# the network that carries their link goes away and they meet over the other one, and back. Acknowledged writes arrive.
# Usage: interfaces.sh SEDGE     (skips, with status 77, where namespaces cannot be made)
sedge=$1
command -v ip >/dev/null || { echo "skipped: no ip (package iproute2)"; exit 77; }
left=sedge-$$-l
right=sedge-$$-r
ip netns add "$left" 2>/dev/null || { echo "skipped: may not make network namespaces (needs root)"; exit 77; }
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
clean_up() {
  ip netns del "$left" 2>/dev/null || true
  ip netns del "$right" 2>/dev/null || true
}
ip netns add "$right"
for net in 1 2; do
  ip link add "sg$net" netns "$left" type veth peer name "sg$net" netns "$right" 2>/dev/null ||
    { echo "skipped: this kernel has no veth"; exit 77; }
  ip -n "$left" addr add "10.73.$net.1/24" dev "sg$net"
  ip -n "$right" addr add "10.73.$net.2/24" dev "sg$net"
  for side in "$left" "$right"; do ip -n "$side" link set "sg$net" up; done
done
for side in "$left" "$right"; do ip -n "$side" link set lo up; done

# up NAMESPACE NAME: the control socket is a file, so the command line speaks to it from outside.
up() {
  ip netns exec "$1" "$sedge" up --home "$2" --http off --threads 1 >>"$2.log" 2>&1 &
  pids+=($!)
  until_true 20 "$sedge" status --home "$2" || failed "$2 does not start"
}
links_are() { [ "$(field "$1" links)" = "$2" ]; }
told_last() { grep 'addresses are now' alpha.log | tail -n 1; }
lost_is_told() { told_last | grep -v "10\.73\.$1\.1:" | grep -q .; }
both_are_told() { told_last | grep "10\.73\.1\.1:" | grep -q "10\.73\.2\.1:"; }

echo "== they find each other without a seed"
"$sedge" fleet create --home alpha --name alpha >/dev/null
up "$left" alpha
invitation=$("$sedge" fleet invite --home alpha)
ip netns exec "$right" "$sedge" fleet join "$invitation" --home beta --name beta >/dev/null
up "$right" beta
until_true 15 links_are beta 1 || failed "no link"
"$sedge" set --home alpha from alpha
until_true 10 value_is beta from alpha || failed "alpha's write did not arrive"

for dead in 1 2; do
  echo "== network $dead goes away"
  ip -n "$left" link set "sg$dead" down
  "$sedge" set --home alpha "without/$dead" "written"
  until_true 30 value_is beta "without/$dead" written || failed "a write did not arrive without network $dead"
  until_true 30 links_are alpha 1 || failed "alpha has no link without network $dead"
  until_true 10 lost_is_told "$dead" || failed "alpha did not notice that network $dead is gone"
  echo "== network $dead is back"
  ip -n "$left" link set "sg$dead" up
  until_true 10 both_are_told || failed "alpha did not notice that network $dead is back"
done
echo "two networks: ok"
