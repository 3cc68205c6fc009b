#!/usr/bin/env bash
# Real processes on loopback: a model of some MiB goes from its writer to a relay and, when the writer is gone, from the
# relay to a third node; of its next version only what changed travels; SIGKILL in the middle loses nothing.
# Usage: tensors.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# reads NODE FILE: what is whole there is the file.
reads() { "$sedge" tensor get --home "$1" models/scout -o "$1.got" && cmp -s "$1.got" "$2"; }
join() { "$sedge" fleet join "$("$sedge" fleet invite --home alpha)" --home "$1" --name "$1" >/dev/null; }

head -c 5000000 /dev/urandom >first
cp first second
printf 'changed' | dd of=second bs=1 seek=3000000 conv=notrunc status=none

"$sedge" fleet create --home alpha --name alpha >/dev/null
up alpha
alpha=$pid
join relay
join omega
up relay --seed "$(field alpha listening)"
relay=$pid

echo "== a model reaches the relay"
if "$sedge" tensor get --home relay models/scout -o none 2>/dev/null; then failed "there is a model before it was put"; fi
[ "$("$sedge" tensor put --home alpha models/scout first)" = "models/scout = 5000000 bytes in 77 chunks, 77 of them new" ] || failed "put says something else"
reads alpha first || failed "its writer does not read it"
until_true 60 reads relay first || failed "the relay did not get the model"

echo "== the relay keeps it over SIGKILL, and hands it on when its writer is gone"
kill -9 "$alpha" "$relay"
wait "$alpha" "$relay" 2>/dev/null || true
up relay
relay=$pid
reads relay first || failed "the relay lost the model"
up omega --seed "$(field relay listening)"
omega=$pid
until_true 60 reads omega first || failed "omega did not get the model from the relay"

echo "== of a new version only what changed travels"
[ "$("$sedge" tensor put --home relay models/scout second)" = "models/scout = 5000000 bytes in 77 chunks, 1 of them new" ] || failed "more than one chunk is new"
"$sedge" tensor get --home omega models/scout -o omega.got --newest --wait 60 >/dev/null
until_true 60 reads omega second || failed "omega did not get the new version"
"$sedge" tensor info --home omega 'models/#' --json | grep -q '"here":77' || failed "info does not say what is here"
[ "$("$sedge" get --home omega models/scout)" = "models/scout (tensor of 5000000 bytes; \`sedge tensor get\` reads it)" ] || failed "get does not say what is there"

echo "== SIGKILL while one comes"
head -c 20000000 /dev/urandom >third
"$sedge" tensor put --home relay models/scout third >/dev/null
kill -9 "$omega"
wait "$omega" 2>/dev/null || true
up omega --seed "$(field relay listening)"
reads omega second || reads omega third || failed "omega has no model that is whole"
until_true 60 reads omega third || failed "omega did not get the third version"

echo "== what is too large is refused with the bound, and erasing makes room"
kill -TERM "$relay"
wait "$relay" || failed "the relay did not end cleanly"
up relay --tensor-mib 48 --seed "$(field omega listening)"
if "$sedge" tensor put --home relay models/other third 2>refused.log; then
  : # its chunks are there already: the same bytes under another path cost nothing
else
  failed "equal bytes under another path were refused"
fi
head -c 16000000 /dev/urandom >fourth
if "$sedge" tensor put --home relay models/fourth fourth 2>refused.log; then failed "there was no room"; fi
grep -q 'tensor-mib' refused.log || failed "the refusal does not name the bound"
"$sedge" set --home relay 'models/#' --erase
"$sedge" tensor put --home relay models/fourth fourth >/dev/null || failed "erasing made no room"
echo "all held"
