// The canonical order of every sum, as scalar code: the definition that the vector files imitate.
//
// A sum over n products keeps 16 lanes. Product i goes into lane i mod 16 by a fused multiply-add, in ascending i;
// a last group of fewer than 16 is filled with zeros. Then lanes fold in halves: i with i+8, i+4, i+2, i+1.
// 16 lanes are two AVX2 registers, four of NEON, one of AVX-512: enough independent chains to hide the latency of
// an fma. Nothing depends on how many rows, tokens or threads share the work.
// Source: docs/formats/numeric_class.md §2.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace sedge::kernels::scalar {

inline constexpr std::size_t kLanes = 16;

struct Lanes {
  std::array<float, kLanes> lane{};

  void fma(std::size_t i, float a, float b) { lane[i] = std::fma(a, b, lane[i]); }
  void add(std::size_t i, float a) { lane[i] += a; }

  // The lanes past the end of the last group multiply zeros: it turns a -0 into +0, as the vector code does.
  void close(std::size_t count) {
    if (count % kLanes == 0) return;
    for (std::size_t i = count % kLanes; i < kLanes; ++i) fma(i, 0.0f, 0.0f);
  }

  float sum() const {
    std::array<float, kLanes> s = lane;
    for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
      for (std::size_t i = 0; i < half; ++i) s[i] += s[i + half];
    }
    return s[0];
  }
};

}  // namespace sedge::kernels::scalar
