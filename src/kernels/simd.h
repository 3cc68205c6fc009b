// The vector kernels, written once over a vector type V that an instruction set supplies (simd_avx2.h, simd_avx512.h,
// simd_neon.h). Only x_avx2.cc, x_avx512vnni.cc and their like may include the x_simd.h files: what they instantiate is
// compiled for that instruction set, and nothing of it may be shared with code that runs on any processor. Rejected:
// one hand-written body for each set, which is how reduction orders drift apart.
//
// V has: F (a register of kWidth floats), kParts = 16 / kWidth registers to the 16 canonical lanes;
//        kTileRows, kRowsAlone: rows of a matmul's tile by three tokens and by one; kTileQueries: queries of
//        attention at once; kTileDims: registers of their weighted sums. How blocks multiply: packed_simd.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"

namespace sedge::kernels::simd {

inline constexpr std::size_t kLanes = 16;

// f(0), f(1), ... f(N - 1) with constant arguments: arrays indexed by them live in registers at any -O level.
template <std::size_t N, class Body>
SEDGE_INLINE inline void unroll(const Body& body) {
  [&]<std::size_t... I>(std::index_sequence<I...>)
      SEDGE_INLINE { (body(std::integral_constant<std::size_t, I>{}), ...); }(std::make_index_sequence<N>{});
}

// The last group of fewer than 16 values, with zeros behind it.
template <std::size_t Bytes>
struct Padded {
  alignas(32) std::uint8_t bytes[kLanes * Bytes] = {};
  SEDGE_INLINE Padded(const void* from, std::size_t count) { __builtin_memcpy(bytes, from, count * Bytes); }
};

// Asks for weights long before they are multiplied. A processor's own prefetchers begin anew with each page, and look
// no farther ahead than they dare: products of one text read up to twice as much on a server this way (docs/adr/0044).
// What lies past the end is not read, and asking for it is no fault.
inline constexpr std::size_t kAhead = 4096;  // bytes; 2048 are too few there, 16384 no better
inline constexpr std::size_t kLine = 64;     // of a cache
template <std::size_t bytes>
SEDGE_INLINE inline void ask_for(const std::uint8_t* at) {
  unroll<(bytes + kLine - 1) / kLine>([&](auto line) SEDGE_INLINE { __builtin_prefetch(at + line * kLine); });
}

// The canonical fold: lane i with i + 8, then 4, 2, 1.
template <class V>
SEDGE_INLINE inline float fold(const typename V::F* parts) {
  typename V::F sum[V::kParts];
  for (std::size_t p = 0; p < V::kParts; ++p) sum[p] = parts[p];
  for (std::size_t half = V::kParts / 2; half > 0; half /= 2) {
    for (std::size_t p = 0; p < half; ++p) sum[p] = V::add(sum[p], sum[p + half]);
  }
  return V::fold(sum[0]);
}

}  // namespace sedge::kernels::simd
