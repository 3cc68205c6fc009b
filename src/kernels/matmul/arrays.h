// Registers that are arrays, of any width: what the tests of products on every machine put in an instruction set's
// place.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/formats/formats.h"

namespace sedge::kernels::arrays {

// Floats: simd.h's V, as far as products of blocks want it.
template <std::size_t Width>
struct V {
  using F = std::array<float, Width>;
  static constexpr std::size_t kWidth = Width, kParts = 16 / Width;

  template <class Body>
  static F each(const Body& body) {
    F f;
    for (std::size_t i = 0; i < f.size(); ++i) f[i] = body(i);
    return f;
  }
  static std::uint16_t half_at(const std::uint8_t* from, std::size_t i) {
    std::uint16_t half = 0;
    std::memcpy(&half, from + 2 * i, sizeof half);
    return half;
  }
  static F all(float v) {
    return each([&](std::size_t) { return v; });
  }
  static F load(const float* from) {
    return each([&](std::size_t i) { return from[i]; });
  }
  static void store(float* to, const F& f) { std::ranges::copy(f, to); }
  static F mul(const F& a, const F& b) {
    return each([&](std::size_t i) { return a[i] * b[i]; });
  }
  static F fma(const F& a, const F& b, const F& c) {
    return each([&](std::size_t i) { return std::fma(a[i], b[i], c[i]); });
  }
  static F negate(const F& a) {
    return each([&](std::size_t i) { return -a[i]; });
  }
  static F load_f16(const std::uint8_t* from) {
    return each([&](std::size_t i) { return f16_to_f32(half_at(from, i)); });
  }
  static F load_bf16(const std::uint8_t* from) {
    return each([&](std::size_t i) { return bf16_to_f32(half_at(from, i)); });
  }
  static F load_i8(const std::uint8_t* from) {
    return each([&](std::size_t i) { return static_cast<float>(static_cast<std::int8_t>(from[i])); });
  }
};

// Codes: packed_simd.h's and words_simd.h's Bytes.
template <std::size_t Width>
struct Bytes {
  using B = std::array<std::uint8_t, Width>;
  static constexpr bool kBitsStay = true;

  template <class Body>
  static B each(const Body& body) {
    B b;
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<std::uint8_t>(body(i));
    return b;
  }
  static B load(const std::uint8_t* at) {
    return each([&](std::size_t i) { return at[i]; });
  }
  static void store(std::uint8_t* to, const B& b) { std::ranges::copy(b, to); }
  static B with(const B& b, std::uint8_t mask) {
    return each([&](std::size_t i) { return b[i] & mask; });
  }
  static B join(const B& a, const B& b) {
    return each([&](std::size_t i) { return a[i] | b[i]; });
  }
  template <int n>
  static B left(const B& b) {
    return each([&](std::size_t i) { return b[i] << n; });
  }
  template <int n>
  static B right(const B& b) {
    return each([&](std::size_t i) { return b[i] >> n; });
  }
  static B even_words(const B& a, const B& b) { return every_other_word(a, b, 0); }
  static B odd_words(const B& a, const B& b) { return every_other_word(a, b, 4); }
  static B signed_codes(const B& values, const B& signs) {
    return each([&](std::size_t i) { return signs[i] >= 128 ? 64 - values[i] : 64 + values[i]; });
  }

 private:
  // Of each sixteen bytes of a, then of b.
  static B every_other_word(const B& a, const B& b, std::size_t first) {
    return each([&](std::size_t i) { return (i % 16 < 8 ? a : b)[i / 16 * 16 + i % 8 / 4 * 8 + first + i % 4]; });
  }
};

}  // namespace sedge::kernels::arrays
