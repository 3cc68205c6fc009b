#include "kernels/kernels.h"

#include <array>
#include <cstdlib>
#include <vector>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/assert.h"

namespace sedge::kernels {
namespace {

#define SEDGE_SCALAR(name, Args, format) &scalar::name,
#define SEDGE_AVX2(name, Args, format) &avx2::name,
#define SEDGE_AVX512(name, Args, format) &avx512vnni::name,
#define SEDGE_NEON(name, Args, format) &neon::name,
#define SEDGE_AVXVNNI(name, Args, format) kernels.name = &avxvnni::name;
#define SEDGE_AMX(name, Args, format) kernels.name = &amx::name;
#define SEDGE_NEONDOT(name, Args, format) kernels.name = &neondot::name;
#define SEDGE_I8MM(name, Args, format) kernels.name = &i8mm::name;

#if defined(__x86_64__)
// Whether tiles are there and this process may have them: they grow the state of every thread by 8 KiB, so Linux wants
// to be asked once. Its headers before 5.16 do not name the question.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return __builtin_cpu_supports("amx-tile") != 0 && __builtin_cpu_supports("amx-int8") != 0 &&
         syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
#else
  return false;
#endif
}
#endif

#if defined(__aarch64__)
bool has_dot_products() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

bool has_matrix_products() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#else
  return false;
#endif
}
#endif

// The last one with other products of blocks.
template <class SetProducts>
[[maybe_unused]] void add_variant(std::vector<Kernels>& found, std::string_view isa, SetProducts set_products) {
  Kernels variant = found.back();
  variant.isa = isa;
  set_products(variant);
  found.push_back(variant);
}

std::vector<Kernels> find_kernels() {
  std::vector<Kernels> found = {Kernels{"scalar", SEDGE_KERNEL_ROWS(SEDGE_SCALAR)}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && __builtin_cpu_supports("f16c") != 0)
    found.push_back(Kernels{"avx2", SEDGE_KERNEL_ROWS(SEDGE_AVX2)});
  if (found.size() == 2 && __builtin_cpu_supports("avxvnni") != 0) {
    add_variant(found, "avxvnni", [](Kernels& kernels) { SEDGE_BLOCK_ROWS(SEDGE_AVXVNNI) });
  }
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
      __builtin_cpu_supports("avx512vnni") != 0)
    found.push_back(Kernels{"avx512vnni", SEDGE_KERNEL_ROWS(SEDGE_AVX512)});
  if (found.back().isa == "avx512vnni" && may_use_tiles()) {
    add_variant(found, "amx", [](Kernels& kernels) { SEDGE_BLOCK_ROWS(SEDGE_AMX) });
  }
#elif defined(__aarch64__)
  found.push_back(Kernels{"neon", SEDGE_KERNEL_ROWS(SEDGE_NEON)});
  if (has_dot_products()) {
    add_variant(found, "neondot", [](Kernels& kernels) { SEDGE_BLOCK_ROWS(SEDGE_NEONDOT) });
  }
  if (found.back().isa == "neondot" && has_matrix_products()) {
    add_variant(found, "i8mm", [](Kernels& kernels) { SEDGE_BLOCK_ROWS(SEDGE_I8MM) });
  }
#endif
  return found;
}

const Kernels& choose() {
  const auto all = available_kernels();
  if (const char* wanted = std::getenv("SEDGE_ISA"); wanted != nullptr) {
    for (const Kernels& kernels : all) {
      if (kernels.isa == wanted) return kernels;
    }
  }
  return all.back();
}

}  // namespace

std::span<const Kernels> available_kernels() {
  static const std::vector<Kernels> all = find_kernels();
  return all;
}

const Kernels& active_kernels() {
  static const Kernels& active = choose();
  return active;
}

#define SEDGE_PICK(name, Args, format) \
  if (type == (format)) return name;

Kernels::Matmul Kernels::matmul(DType type) const {
  SEDGE_MATMUL_ROWS(SEDGE_PICK)
  assertion_failed("every format has a matmul row", __FILE__, __LINE__);
}

Kernels::Attend Kernels::attend(DType type) const {
  SEDGE_ATTENTION_ROWS(SEDGE_PICK)
  assertion_failed("the format has an attention row", __FILE__, __LINE__);
}

}  // namespace sedge::kernels
