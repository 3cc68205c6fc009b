#!/usr/bin/env bash
# A fleet in which one node has LoRA adapters beside the model that both have: they are asked for by name from either, and
# give the text that a run of the files by themselves gives; a draft model beside them changes none.
# Usage: adapters.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

prompt="where is crane 5"
# text OPTION...: of the answer.
text() { "$sedge" run "$@" "$prompt" --max-tokens 20 --temp 0 --json | grep -o '"tokens":\[[^]]*\]'; }
says() { [ "$(text "$1" --home "$2")" = "$3" ]; }

"$sedge" model random --shape tiny --seed 3 -o base.gguf >/dev/null
"$sedge" model random-lora base.gguf --seed 4 -o one.gguf >/dev/null
"$sedge" model random-lora base.gguf --seed 5 --rank 20 --type f16 -o two.gguf >/dev/null
plain=$(text base.gguf --local)
half=$(text base.gguf --local --lora one.gguf=0.5)
both=$(text base.gguf --local --lora one.gguf --lora two.gguf=-2)
[ "$(printf '%s\n' "$plain" "$half" "$both" | sort -u | wc -l)" = 3 ] || failed "adapters change nothing"
"$sedge" model random --shape tiny --seed 9 -o small.gguf >/dev/null
for draft in base.gguf small.gguf; do
  [ "$(text base.gguf --local --draft $draft)" = "$plain" ] || failed "guesses of $draft change the text"
  [ "$(text base.gguf --local --lora one.gguf=0.5 --draft $draft)" = "$half" ] || failed "and that of an adapter"
done

echo "== what --lora does not take is said before anything starts"
"$sedge" fleet create --home alpha --name alpha >/dev/null
refuses() {
  wanted=$1
  shift
  if "$sedge" up --home alpha --listen 127.0.0.1:0 --http off --no-beacon "$@" >refused.log 2>&1; then failed "$* was taken"; fi
  grep -q "$wanted" refused.log || failed "no word of '$wanted'"
}
refuses "write it as NAME=FILE" --model base.gguf --lora one.gguf
refuses "write it as NAME=FILE" --model base.gguf --lora =one.gguf
refuses "have one base" --model base.gguf --lora a@base=one.gguf --lora a=two.gguf
refuses "its base 'other' is not loaded" --model base.gguf --lora a@other=one.gguf
refuses "give the model too" --lora a=one.gguf
refuses "there is no model to guess for" --draft base.gguf

echo "== the node that has an adapter serves it, whoever is asked"
up alpha --model base.gguf
"$sedge" fleet join "$("$sedge" fleet invite --home alpha)" --home beta --name beta >/dev/null
up beta --seed "$(field alpha listening)" --model base.gguf --draft small.gguf --lora half@base=one.gguf=0.5 \
  --lora both.v2=one.gguf --lora both.v2=two.gguf=-2
for node in beta alpha; do
  until_true 10 says half "$node" "$half" || failed "$node does not have half of the adapter: $(text half --home "$node")"
  says both.v2 "$node" "$both" || failed "$node does not have both adapters"
  says base.gguf "$node" "$plain" || failed "$node does not have the model as it is"
done
echo "== a request stacks what is offered, as much of each as it wants, where it may run each"
# By scales times those of the offer: half of half, and both again.
quarter=$(text base.gguf --local --lora one.gguf=0.25 --lora one.gguf=1 --lora two.gguf=-2)
for node in beta alpha; do
  says half=2+both.v2=0 $node "$(text base.gguf --local --lora one.gguf)" || failed "not the whole of one"
  says half=0.5+both.v2 $node "$quarter" || failed "not the stack that was asked for: $(text half=0.5+both.v2 --home $node)"
done
"$sedge" fleet join "$("$sedge" fleet invite --home alpha --grant task:half)" --home gamma --name gamma >/dev/null
up gamma --seed "$(field alpha listening)"
until_true 10 says half=0.5 gamma "$(text base.gguf --local --lora one.gguf=0.25)" || failed "a share of what it may run"
for model in half+both.v2 both.v2=1 base; do
  if "$sedge" run "$model" "$prompt" --home gamma >grant.log 2>&1; then failed "$model without a grant"; fi
  grep -q "no grant task:$model" grant.log || failed "no word of the grant for $model"
done
for model in half+base half+nobody half=x; do
  if "$sedge" run "$model" "$prompt" --home alpha --deadline 2s >stack.log 2>&1; then failed "$model is no stack"; fi
  grep -q "no node of the fleet offers model '$model'" stack.log || failed "no word of $model"
done

echo "== vectors come from whoever has the model, and are those of a run of the file by itself"
"$sedge" embed base.gguf "crane 5" "the dock" --local >here.txt
"$sedge" embed base.gguf "crane 5" "the dock" --home alpha >fleet.txt
cmp here.txt fleet.txt || failed "the fleet's vectors differ"
for _ in {1..300}; do echo "crane 5"; done >many.txt
"$sedge" embed base.gguf --lines many.txt --home beta >many_vectors.txt
[ "$(wc -l <many_vectors.txt)" = 300 ] || failed "not a vector a text"
[ "$(sort -u many_vectors.txt)" = "$(head -n 1 here.txt)" ] || failed "equal texts, unequal vectors"
"$sedge" embed both.v2 "crane 5" --home alpha --json | grep -q '"served_by":"beta"' || failed "not the adapter's node"
if "$sedge" embed nobody.gguf "a" --home alpha 2>nobody.log; then failed "a model that nobody has"; fi
grep -q nobody nobody.log || failed "no word of the model"
if "$sedge" embed base.gguf "a" --home alpha --raw 2>raw.log; then failed "--raw was passed over"; fi
grep -q "add --local" raw.log || failed "no word of the way out"

if "$sedge" run base.gguf "$prompt" --home alpha --draft small.gguf 2>draft.log; then failed "--draft was passed over"; fi
grep -q "add --local" draft.log || failed "no word of the way out"
if "$sedge" run base.gguf "$prompt" --home alpha --lora one.gguf 2>local.log; then failed "--lora was passed over"; fi
grep -q "add --local" local.log || failed "no word of the way out"
