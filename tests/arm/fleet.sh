#!/usr/bin/env bash
# A fleet of both kinds of processor: a node of 64-bit ARM under qemu, from the packed program, beside one of this
# machine's. They join each other, share state and messages, answer with the same tokens, and play two scenarios to the
# same trace hash.
# Usage: fleet.sh SEDGE PACKED ARM64_ROOT
here=$(readlink -f "$1")
packed=$(readlink -f "$2")
root=$(readlink -f "$3")
project=$(readlink -f "$(dirname "$0")/../..")
sedge=$here  # what up, field and value_is of common.sh run
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/../whole/common.sh"

tar -xzf "$packed"
# Of Debian for ARM only the compiler's libraries: all else has to be in the pack.
mkdir -p bare/lib
for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libstdc++.so.6 libgcc_s.so.1; do
  cp -L "$(find "$root/lib" "$root/usr/lib" -name $library | head -n 1)" bare/lib/
done
printf '#!/bin/sh\nexec qemu-aarch64 -L "%s/bare" "%s/sedge/sedge" "$@"\n' "$PWD" "$PWD" >arm
chmod +x arm
arm=$PWD/arm

echo "== the same trace hash"
trace() { "$1" sim "$project/tests/scenarios/$2.toml" --json | grep -o '"trace_hash":"[0-9a-f]*"'; }
for scenario in asleep clocks; do
  [ "$(trace "$arm" $scenario)" = "$(trace "$here" $scenario)" ] || failed "$scenario plays differently on ARM"
done

echo "== the same tokens"
heron=$project/models/heron/heron.gguf
answer() { "$1" run "$heron" "scout two, sweep the north field and call me if you see smoke" --chat --local; }
[ "$(answer "$arm")" = "$(answer "$here")" ] || failed "ARM answers $(answer "$arm")"

echo "== one fleet"
"$here" fleet create --home pc --name pc >/dev/null
up pc
pc=$pid
seed=$(field pc listening)
"$arm" fleet join "$("$here" fleet invite --home pc)" --home board --name board >/dev/null
sedge=$arm up board --seed "$seed" --model "$heron"
alive_is() { [ "$(field "$1" alive)" = "$2" ]; }
until_true 20 alive_is pc 2 || failed "the PC does not see the board"
sedge=$arm until_true 20 alive_is board 2 || failed "the board does not see the PC"
"$here" set --home pc field/north dry
sedge=$arm until_true 20 value_is board field/north dry || failed "the board did not get field/north"
"$arm" set --home board field/south wet
until_true 20 value_is pc field/south wet || failed "the PC did not get field/south"
"$arm" sub --home board 'orders/+' --count 1 >sub.out &
pids+=("$!")
sleep 2
"$here" pub --home pc orders/7 hold
heard() { [ "$(cat sub.out)" = "orders/7 = hold" ]; }
until_true 20 heard || failed "the board did not hear the order"
[ "$("$here" run heron --home pc "scout two, hold position" --chat)" = "$("$arm" run "$heron" "scout two, hold position" --chat --local)" ] ||
  failed "the board answers the PC otherwise than itself"
kill -9 "$pc"
sedge=$arm until_true 20 alive_is board 1 || failed "the board did not notice the PC's death"
echo "a fleet of both: ok"
