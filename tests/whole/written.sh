#!/usr/bin/env bash
# A simulated scenario that is written to a file is the run that it was written of: drawn, recorded contacts, or the
# standard story as the command line has it. And nobody's file is written over.
# Usage: written.sh SEDGE
sedge=$1
scenarios=$(dirname "$(readlink -f "$0")")/../scenarios
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# Whatever becomes of the fleet: the trace is what is compared.
trace_of() { { "$sedge" sim "$@" --json || true; } | grep -o '"trace_hash":"[0-9a-f]*"' || failed "no trace of $*"; }
same_when_written() {
  echo "== $*"
  "$sedge" sim "$@" --write written.toml >/dev/null
  head -n 1 written.toml | grep -q "^# .*: sedge sim " || failed "the file does not say where it came from"
  [ "$(trace_of "$@")" = "$(trace_of written.toml)" ] || failed "another run: $(cat written.toml)"
  if "$sedge" sim "$@" --write written.toml 2>error.log; then failed "a file was written over"; fi
  grep -q "exists" error.log || failed "no reason is given"
  rm written.toml
}
same_when_written --random 8
same_when_written --nodes 4 --seconds 20 --seed 9 --loss 0.1 --latency-ms 12.3
same_when_written "$scenarios/mine.toml" --seed 3
