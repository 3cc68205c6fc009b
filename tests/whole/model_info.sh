#!/usr/bin/env bash
# sedge model info says which instruction set runs a model here, under the name that SEDGE_ISA has for it.
# Usage: model_info.sh SEDGE
sedge=$1
# shellcheck source=tests/whole/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

"$sedge" model random --shape tiny --seed 3 -o tiny.gguf >/dev/null
info() { "$sedge" model info tiny.gguf --no-speed "$@"; }
named() { info | sed -n 's/^instructions *//p'; }
named_in_json() { info --json | grep -o '"isa":"[a-z0-9]*"' | cut -d'"' -f4; }

best=$(named)
[ -n "$best" ] || failed "no instruction set is named"
[ "$(named_in_json)" = "$best" ] || failed "the JSON names $(named_in_json), the text $best"
for wanted in scalar "$best"; do
  [ "$(SEDGE_ISA=$wanted named)" = "$wanted" ] || failed "with SEDGE_ISA=$wanted the text names $(SEDGE_ISA=$wanted named)"
  [ "$(SEDGE_ISA=$wanted named_in_json)" = "$wanted" ] || failed "with SEDGE_ISA=$wanted the JSON names another"
done
[ "$(SEDGE_ISA=abacus named)" = "$best" ] || failed "what is not there is not replaced by the best"

# A file that does not run here runs on nothing. "llama" stands in it once, as the architecture's name in front of keys.
sed 's/llama/mamba/g' tiny.gguf >other.gguf
"$sedge" model info other.gguf --no-speed >other.log
grep -q '^runs here *no' other.log || failed "another architecture runs here"
! grep -q '^instructions' other.log || failed "what does not run here has an instruction set"
echo "model info: ok"
