#!/usr/bin/env bash
# A node in a memory group that is small for what it is asked: it says no, and is never ended by the kernel.
# Usage: memory.sh SEDGE     (skips, with status 77, where memory groups cannot be made)
sedge=$1
name=sedge-test-$$
if [ -d /sys/fs/cgroup/memory ]; then
  group=/sys/fs/cgroup/memory/$name limit=memory.limit_in_bytes
else
  group=/sys/fs/cgroup/$name limit=memory.max
fi
mkdir "$group" 2>/dev/null || { echo "skipped: may not make memory groups (needs root)"; exit 77; }
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
clean_up() {
  wait 2>/dev/null || true  # a group goes when its last process has
  until_true 5 rmdir "$group" || true
}
echo $((200 << 20)) >"$group/$limit" 2>/dev/null || { echo "skipped: this system's groups do not limit memory"; exit 77; }
inside=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$sedge")  # one process, whose number is the node's

"$sedge" model random --shape SmolLM2-135M --type q4_0 -o small.gguf >/dev/null
"$sedge" model random --shape Qwen2.5-0.5B --type q4_0 -o large.gguf >/dev/null

echo "== a model that does not fit is refused by name, before its weights are packed"
status=0
"${inside[@]}" run large.gguf hello --local >large.log 2>&1 || status=$?
[ $status = 1 ] || failed "status $status, not 1"
grep -q "large.gguf: its weights take" large.log || failed "no word of what it takes"

echo "== texts that do not fit are refused, those that do are written, and the node lives"
"$sedge" fleet create --home alpha --name alpha >/dev/null
"${inside[@]}" up --home alpha --listen 127.0.0.1:0 --http off --no-beacon --threads 1 --model small.gguf >alpha.log 2>&1 &
pids+=($!)
node=$!
until_true 60 "$sedge" status --home alpha || failed "alpha does not start"
long=$(printf 'where is crane %s ' $(seq 1 350))
if "$sedge" run small "$long" --home alpha --max-tokens 4 >long.log 2>&1; then failed "a text of thousands of tokens found room"; fi
grep -q -i "memory" long.log || failed "the refusal does not say that it is memory"
runs=()
for i in 1 2 3 4 5 6; do
  "$sedge" run small "where is crane $i" --home alpha --max-tokens 40 --json >"short$i.out" 2>"short$i.log" &
  runs+=($!)
done
written=0
for i in 1 2 3 4 5 6; do
  if wait "${runs[$((i - 1))]}"; then
    written=$((written + 1))
  else
    grep -q "more than other texts leave" "short$i.log" || failed "short$i was refused for another reason"
  fi
done
[ $written -ge 2 ] || failed "only $written of 6 short texts were written"
kill -0 $node || failed "the node is gone"
"$sedge" status --home alpha >/dev/null || failed "the node does not answer"
echo "a node of 200 MiB refused what does not fit and wrote $written of 6 short texts at once"
