// Prints this machine's fingerprint for each instruction set; fails when one is not the numeric class's.
#include <cstdio>

#include "kernels/numeric_class.h"

int main() {
  bool same = true;
  for (const auto& kernels : sedge::kernels::available_kernels()) {
    const auto found = sedge::kernels::numeric_fingerprint(kernels);
    same = same && found == sedge::kernels::kNumericFingerprint;
    std::printf("%.*s %016llx\n", static_cast<int>(kernels.isa.size()), kernels.isa.data(),
                static_cast<unsigned long long>(found));
  }
  return same ? 0 : 1;
}
