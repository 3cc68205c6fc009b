# What the tests of whole programs share; sourced with $sedge set. Makes a working folder and goes there; every process
# whose number is in `pids` is ended with the test, which may add to what `clean_up` does.
set -euo pipefail
work=$(mktemp -d)
pids=()
clean_up() { :; }
finish() {
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  clean_up
  rm -rf "$work"
}
trap finish EXIT
cd "$work"

failed() {
  echo "FAILED: $*" >&2
  tail -n 20 ./*.log >&2 || true
  exit 1
}
# until_true SECONDS COMMAND...: polls, because only the order of events is promised, not their pace.
until_true() {
  local left=$(($1 * 20))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.05
  done
}
field() { "$sedge" status --home "$1" --json | grep -o "\"$2\":[^,}]*" | head -n 1 | cut -d: -f2- | tr -d '"'; }
value_is() { [ "$("$sedge" get --home "$1" "$2" 2>/dev/null)" = "$2 = $3" ]; }
# up NAME [OPTION...]: starts a node, on a free port if no --listen is given, and leaves its pid in $pid.
up() {
  local name=$1
  shift
  [[ " $* " == *" --listen "* ]] || set -- --listen 127.0.0.1:0 "$@"
  "$sedge" up --home "$name" --http off --threads 1 --no-beacon "$@" >>"$name.log" 2>&1 &
  pid=$!
  pids+=("$pid")
  until_true 20 "$sedge" status --home "$name" || failed "$name does not start"
}
