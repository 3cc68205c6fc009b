#!/usr/bin/env bash
# Real processes on loopback: a fleet is created, grows by invitation, shares state, survives SIGKILL without losing an
# acknowledged write, and keeps strangers, second users of an invitation, clones and revoked nodes out.
# Usage: fleet.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

alive_is() { [ "$(field "$1" alive)" = "$2" ]; }

echo "== a fleet of two"
"$sedge" fleet create --home alpha --name alpha >/dev/null
[ "$(stat -c %a alpha)" = 700 ] && [ "$(stat -c %a alpha/node.key)" = 600 ] || failed "secrets are readable by others"
up alpha
alpha=$pid
seed=$(field alpha listening)
invitation=$("$sedge" fleet invite --home alpha)
"$sedge" fleet join "$invitation" --home beta --name beta >/dev/null
up beta --seed "$seed"
beta=$pid
until_true 10 alive_is alpha 2 || failed "alpha does not see beta"

echo "== an invitation is good once"
if "$sedge" fleet join "$invitation" --home thief --name thief --patience 5 >thief.log 2>&1; then failed "a spent invitation let a second machine in"; fi
if "$sedge" fleet join "${invitation:0:40}X${invitation:41}" --home typo >typo.log 2>&1; then failed "a mistyped invitation was accepted"; fi

echo "== state travels, and an acknowledged write survives SIGKILL"
"$sedge" set --home alpha field/north dry
until_true 10 value_is beta field/north dry || failed "beta did not get field/north"
"$sedge" set --home beta done --add 3
"$sedge" set --home beta open --insert "order 1"
"$sedge" set --home beta last words
kill -9 "$beta"
wait "$beta" 2>/dev/null || true
until_true 15 alive_is alpha 1 || failed "alpha did not notice beta's death"
"$sedge" set --home alpha field/south wet
up beta --seed "$seed"
beta=$pid
value_is beta last words || failed "beta lost an acknowledged write"
value_is beta 'done' 3 || failed "beta lost its counter"
until_true 10 value_is beta field/south wet || failed "beta did not catch up"
until_true 10 value_is alpha last words || failed "alpha did not get beta's last write"
[ "$(field beta epoch)" = 2 ] || failed "beta's second life has epoch $(field beta epoch)"

echo "== messages and retained values"
"$sedge" sub --home beta 'orders/+' --count 2 >sub.out &
subscriber=$!
pids+=("$subscriber")
sleep 0.5
"$sedge" pub --home alpha orders/7 hold
"$sedge" pub --home alpha orders/8 go
heard_both() { [ "$(sort sub.out)" = "$(printf 'orders/7 = hold\norders/8 = go')" ]; }
until_true 10 heard_both || failed "beta did not hear both orders, each once"
"$sedge" pub --home alpha orders/9 stay --retain
until_true 10 value_is beta retained/orders/9 stay || failed "the retained order did not arrive"
[ "$("$sedge" sub --home beta 'orders/9' --count 1)" = "orders/9 = stay" ] || failed "a late subscriber misses the retained order"

echo "== an agreed value is claimed once, from whichever node"
"$sedge" set --home beta --linearizable charger beta --if-version 0
if "$sedge" set --home alpha --linearizable charger alpha --if-version 0 2>/dev/null; then failed "the charger was claimed twice"; fi
[ "$("$sedge" get --home alpha --linearizable charger)" = "charger = beta" ] || failed "alpha does not read what beta claimed"
[ "$("$sedge" leader --home beta)" = "$("$sedge" leader --home alpha)" ] || failed "the nodes disagree on who leads"

echo "== an average is one at all who take part"
"$sedge" average --home alpha field/moisture 0.5 --window 3s >mean.alpha &
pids+=("$!")
average=$!
"$sedge" average --home beta field/moisture 1 --window 3s >mean.beta
wait "$average"
[ "$(cat mean.alpha)" = "mean 0.75 of 2 nodes, sum 1.5" ] || failed "alpha's average is $(cat mean.alpha)"
cmp -s mean.alpha mean.beta || failed "beta's average is $(cat mean.beta)"
if "$sedge" average --home beta 'field/+' 1 2>/dev/null; then failed "a filter was averaged"; fi

echo "== private numbers are noised, and told until their budget is spent, also after a restart"
if "$sedge" pub --home beta soil/beta dry --private 1 --bounds 0:100 2>/dev/null; then failed "a text was noised"; fi
for _ in 1 2 3; do "$sedge" pub --home beta soil/beta 30 --private 3 --bounds 0:100 --retain; done
if "$sedge" pub --home beta soil/beta 30 --private 3 --bounds 0:100 2>refused.log; then failed "more was told than the budget allows"; fi
grep -q "privacy budget of 'soil/beta'" refused.log || failed "the refusal does not name the budget: $(cat refused.log)"
[ "$("$sedge" get --home beta retained/soil/beta)" != "retained/soil/beta = 30" ] || failed "the number was told as it is"
kill -9 "$beta"
wait "$beta" 2>/dev/null || true
up beta --seed "$seed"
beta=$pid
if "$sedge" pub --home beta soil/beta 30 --private 3 --bounds 0:100 2>/dev/null; then failed "a restart gave the budget back"; fi
"$sedge" status --home beta | grep -Eq '^soil/beta +9 +1$' || failed "status does not show the budget"

echo "== a stranger with a fleet of its own gets nothing"
"$sedge" fleet create --home gamma --name gamma >/dev/null
up gamma --seed "$seed"
refused_some() { [ "$(field alpha handshakes_refused)" -gt 0 ]; }
until_true 10 refused_some || failed "alpha refused nobody"
alive_is gamma 1 && alive_is alpha 2 || failed "a stranger is a member"

echo "== a copied home is found out"
cp -r beta clone && rm -f clone/control.sock
"$sedge" up --home clone --listen 127.0.0.1:0 --http off --no-beacon --seed "$seed" >clone.log 2>&1 &
clone=$!
pids+=("$clone")
named() { grep -q 'twice with one key\|second time' clone.log alpha.log beta.log; }
until_true 20 named || failed "nobody names the clone"
kill -9 "$clone" 2>/dev/null || true

echo "== a revoked node is out"
back() {  # it may end because of its clone at any moment
  kill -0 "$beta" 2>/dev/null || { up beta --seed "$seed" && beta=$pid; }
  alive_is alpha 2
}
until_true 15 back || failed "beta is not back"
"$sedge" fleet revoke beta --home alpha >/dev/null
until_true 15 alive_is alpha 1 || failed "alpha keeps a revoked node"
sleep 3
alive_is alpha 1 || failed "the revoked node came back"
value_is alpha last words || failed "what the revoked node wrote before is gone"

echo "== SIGTERM ends a node cleanly"
kill -TERM "$alpha"
wait "$alpha" || failed "alpha did not end cleanly"
echo "all held"
