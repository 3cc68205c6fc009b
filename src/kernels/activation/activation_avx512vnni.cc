#include "kernels/simd_avx512.h"

#include "kernels/activation/activation_simd.h"

namespace sedge::kernels::avx512vnni {

void silu_mul(const GatedArgs& args) { simd::gated<V, simd::Silu<V>>(args); }
void gelu_mul(const GatedArgs& args) { simd::gated<V, simd::Gelu<V>>(args); }
void softcap(const SoftcapArgs& args) { simd::softcap<V>(args); }
void exponential(const ExponentialArgs& args) { simd::exponential<V>(args); }

}  // namespace sedge::kernels::avx512vnni
