#!/usr/bin/env bash
# Real processes on loopback: a member and the issuer itself take new keys while the rest of the fleet runs on. What they
# wrote before stays, sent or not; the former keys are put out; a rotation that breaks off leaves a home that runs.
# Usage: rotation.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

down() {
  kill -TERM "$1"
  wait "$1" || failed "process $1 did not end cleanly"
}
# One of two voters may not take a new key, and on the way to three there are two for a while.
three_voters() { [ "$("$sedge" leader --home alpha --json | grep -o '"voters":\[[^]]*\]' | tr ',' '\n' | wc -l)" = 3 ]; }
settled() { until_true 60 three_voters || failed "there are no three voters: $("$sedge" leader --home alpha --json)"; }
alive_is() { [ "$(field "$1" alive)" = "$2" ]; }
refused() { # refused FILE TEXT COMMAND...: fails, and says TEXT
  local log=$1 text=$2
  shift 2
  if "$@" >"$log" 2>&1; then failed "not refused: $*"; fi
  grep -q -- "$text" "$log" || failed "it does not say '$text': $(cat "$log")"
}

echo "== a fleet of three"
"$sedge" fleet create --home alpha --name alpha >/dev/null
up alpha
alpha=$pid
seed=$(field alpha listening)
for name in beta gamma; do
  "$sedge" fleet join "$("$sedge" fleet invite --home alpha --name "$name" --grant 'write:#' --grant 'sub:#')" --home "$name" >/dev/null
  up "$name" --seed "$seed"
  declare "$name=$pid"
done
until_true 10 alive_is alpha 3 || failed "alpha does not see both"
"$sedge" set --home beta by/beta before
"$sedge" set --home alpha --linearizable charger alpha
until_true 10 value_is gamma by/beta before || failed "gamma did not get by/beta"
beta_id=$(field beta id)
epoch=$(field beta epoch)

echo "== what cannot be is refused, with the way out"
invitation=$("$sedge" fleet invite --home alpha --replace beta)
refused running.log 'stop it' "$sedge" fleet rotate-node "$invitation" --home beta
refused stranger.log 'fleet rotate-node' "$sedge" fleet join "$invitation" --home thief --patience 5
refused twice.log 'needs no invitation' "$sedge" fleet invite --home alpha --replace alpha
refused name.log 'give no others' "$sedge" fleet invite --home alpha --replace beta --name other
settled
down "$gamma"
refused other.log 'asks' "$sedge" fleet rotate-node "$invitation" --home gamma --patience 5
refused plain.log 'invite --replace' "$sedge" fleet rotate-node "$("$sedge" fleet invite --home alpha)" --home gamma --patience 5
refused none.log 'invite --replace gamma' "$sedge" fleet rotate-node --home gamma
up gamma --seed "$seed"
gamma=$pid
until_true 10 alive_is alpha 3 || failed "gamma is not back under its own key"

echo "== a member takes a new key; its last write was never sent"
settled
down "$beta"
until_true 15 alive_is alpha 2 || failed "alpha did not notice that beta left"
up beta
"$sedge" set --home beta unsent kept
down "$pid"
cp -r beta stolen
rm -f stolen/control.sock
"$sedge" fleet rotate-node "$invitation" --home beta >/dev/null
up beta --seed "$seed"
beta=$pid
until_true 10 alive_is alpha 3 || failed "beta is not a member under its new key"
[ "$(field beta id)" != "$beta_id" ] || failed "beta has its old id"
[ "$(field beta name)" = beta ] || failed "beta has another name"
[ "$(field beta epoch)" -gt "$epoch" ] || failed "beta counts its starts anew"
until_true 15 value_is gamma unsent kept || failed "gamma lacks what beta wrote under its former key and never sent"
until_true 10 grep -q "former id .* is revoked" alpha.log || failed "alpha did not revoke the former id"
value_is gamma by/beta before || failed "what beta wrote under its former key is gone"
"$sedge" set --home beta by/beta after
until_true 10 value_is alpha by/beta after || failed "beta's new key may not write what its old one could"
refused grants.log 'grant' "$sedge" pub --home beta orders/1 go
"$sedge" audit verify --home beta >audit.log || failed "beta's audit chains do not hold"
grep -q "${beta_id:0:8}" audit.log || failed "beta does not show the chain of its former id"

echo "== who has the former key is out"
"$sedge" set --home stolen by/beta stolen 2>/dev/null || true
up stolen --seed "$seed"
"$sedge" set --home stolen by/thief here
sleep 2
alive_is alpha 3 || failed "the former key is a member"
[ -z "$("$sedge" get --home alpha by/thief 2>/dev/null || true)" ] || failed "a write with the former key was taken"
kill -9 "$pid"

echo "== a rotation that was decided and broke off is finished by the next start"
settled
down "$beta"
cp -r beta half
rm -f half/control.sock
"$sedge" fleet rotate-node "$("$sedge" fleet invite --home alpha --replace beta)" --home half >/dev/null
for cut in key cert; do # the power went before the key was replaced, and after it but before the certificate was
  cp -r half "home-$cut"
  sed 's/^sedge node certificate 1/sedge next node certificate 1/' half/node.cert >"home-$cut/next.cert"
  cp beta/node.cert "home-$cut/node.cert"
  rm -f "home-$cut/former.cert"
done
sed 's/^sedge node key 1/sedge next node key 1/' half/node.key >home-key/next.key
cp beta/node.key home-key/node.key
sed 's/^sedge node key 1/sedge next node key 1/' half/node.key >home-cert/next.key
"$sedge" fleet rotate-node --home home-cert >/dev/null
cmp home-cert/node.key half/node.key && cmp home-cert/node.cert half/node.cert || failed "rotate-node did not finish the swap"
up home-key --seed "$seed"
beta=$pid
cmp home-key/node.key half/node.key && cmp home-key/node.cert half/node.cert || failed "up did not finish the swap"
[ ! -e home-key/next.key ] && [ ! -e home-key/next.cert ] || failed "something of the rotation is left"
until_true 10 alive_is alpha 3 || failed "the finished home is no member"
value_is home-key by/beta after || failed "its state is gone"

echo "== the issuer takes a new key itself; the agreed values stay"
settled
down "$alpha"
alpha_id=$("$sedge" status --home gamma --json | grep -o '"id":"[0-9a-f]*","name":"alpha"' | head -n 1 | cut -d'"' -f4)
"$sedge" fleet rotate-node --home alpha >/dev/null
refused again.log 'run `sedge up` once' "$sedge" fleet rotate-node --home alpha
up alpha --listen "$seed"
alpha=$pid
until_true 15 alive_is gamma 3 || failed "alpha is not back under its new key"
[ "$(field alpha id)" != "$alpha_id" ] || failed "alpha has its old id"
charged() { [ "$("$sedge" get --home "$1" --linearizable charger 2>/dev/null)" = "charger = alpha" ]; }
until_true 20 charged gamma || failed "the agreed values went with alpha's former id"
invitation=$("$sedge" fleet invite --home alpha --name delta)
"$sedge" fleet join "$invitation" --home delta >/dev/null || failed "alpha lets nobody in any more"

echo "== the issuer's own key is replaced: members stay, are renewed one by one, and what the old key signs is then refused"
cp -r alpha taken
down "$alpha"
refused noissuer.log 'no issuer' "$sedge" fleet rotate-issuer --home delta
"$sedge" fleet create --home stranger --name stranger >/dev/null
refused root.log 'another fleet' "$sedge" fleet rotate-issuer --home alpha --root-key stranger/root.key
mv alpha/root.key stick.key
cp -r alpha before
"$sedge" fleet rotate-issuer --home alpha --root-key stick.key >/dev/null
as() { sed "s/^sedge issuer/sedge next issuer/" "alpha/issuer.$1"; }
for cut in 0 1 2 3; do # the power went when so many files were replaced
  cp -r before "half-$cut"
  as key >"half-$cut/next-issuer.key"
  as cert >"half-$cut/next-issuer.cert"
  [ "$cut" -lt 1 ] || cp alpha/issuer.key "half-$cut"
  [ "$cut" -lt 2 ] || cp alpha/issuer.cert alpha/former-issuer.cert "half-$cut"
  [ "$cut" -lt 3 ] || { cp alpha/node.cert "half-$cut" && rm "half-$cut/next-issuer.key"; }
  "$sedge" fleet rotate-issuer --home "half-$cut" --root-key stick.key >/dev/null || failed "half-$cut is not finished"
  for file in issuer.key issuer.cert former-issuer.cert node.key; do cmp "half-$cut/$file" "alpha/$file" || failed "half-$cut: $file"; done
  [ ! -e "half-$cut/next-issuer.key" ] && [ ! -e "half-$cut/next-issuer.cert" ] || failed "half-$cut: something is left"
  cmp -s "half-$cut/node.cert" before/node.cert && failed "half-$cut: its node's certificate is of the former issuer"
done
refused early.log 'not retired yet' "$sedge" fleet rotate-issuer --home alpha --root-key stick.key
up alpha --listen "$seed"
alpha=$pid
until_true 15 alive_is alpha 3 || failed "the members of the former issuer are out"
refused below.log "'gamma'" "$sedge" fleet retire-issuer --home alpha --root-key stick.key
renew() { # renew NAME HOME PID: leaves its pid in $pid
  local invitation
  invitation=$("$sedge" fleet invite --home alpha --replace "$1")
  settled
  down "$3"
  "$sedge" fleet rotate-node "$invitation" --home "$2" >/dev/null
  up "$2" --seed "$seed"
  until_true 15 alive_is alpha 3 || failed "$1 is not back"
}
renew gamma gamma "$gamma"
until_true 10 charged alpha || failed "the agreed values are gone while gamma is renewed"
renew beta home-key "$beta"
retired() { "$sedge" fleet retire-issuer --home alpha --root-key stick.key; }
until_true 15 retired || failed "the former issuer is not retired: $(retired 2>&1)"
refused done.log 'no former issuer' "$sedge" fleet retire-issuer --home alpha --root-key stick.key
sleep 2
alive_is alpha 3 && alive_is gamma 3 || failed "somebody went with the former issuer"
value_is gamma by/beta after || failed "what was written below the former issuer is gone"
rm -f taken/control.sock
up taken
"$sedge" fleet join "$("$sedge" fleet invite --home taken)" --home intruder --name intruder >/dev/null
kill -9 "$pid"
up intruder --seed "$seed"
sleep 2
alive_is intruder 1 && alive_is alpha 3 || failed "the former issuer's key still lets machines in"
down "$alpha"
echo "all held"
