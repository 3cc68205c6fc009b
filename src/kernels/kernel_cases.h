// Random arguments for each kind of kernel, for the fingerprint, the tests and the benchmark: a case owns its memory,
// runs any implementation on it and gives back every byte that was written.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "kernels/attention/cache.h"
#include "kernels/kernels.h"
#include "kernels/pack/pack.h"

namespace sedge::kernels::cases {

// How large a case is. Each kind reads the numbers as its shapes; quantized columns round up to whole blocks.
struct Size {
  std::size_t rows = 7;
  std::size_t cols = 50;
  std::size_t tokens = 5;
};

inline std::vector<float> random_floats(Prng& prng, std::size_t count, double span) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>((prng.uniform() - 0.5) * span);
  return values;
}

inline Buffer bits_of(const std::vector<float>& values) {
  return to_buffer({reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float)});
}

// Any words, flags and sub-scales, no larger than 0.1: a quantizer would choose few of them, and take its time.
inline void random_words(Prng& prng, const BlockCoding& c, std::uint8_t* out, std::size_t count) {
  BookParts parts;
  for (std::size_t at = 0; at < count; at += c.values, out += c.bytes) {
    for (std::size_t i = 0; i < c.bytes; ++i) out[i] = static_cast<std::uint8_t>(prng.next());
    split_book(*find_book(c.type), out, parts);
    const float largest = static_cast<float>(c.high * c.level(126)) * c.unit();
    parts.scale = f32_to_f16(static_cast<float>(0.1 * (2 * prng.uniform() - 1)) / largest);
    join_book(*find_book(c.type), parts, out);
  }
}

template <class Args>
struct Case;

template <>
struct Case<MatmulArgs> {
  Case(Prng& prng, Size size, DType format) {
    const Format& f = format_of(format);
    const std::size_t cols = (size.cols + f.block_values - 1) / f.block_values * f.block_values;
    std::size_t row_bytes = cols / f.block_values * f.block_bytes;
    source = random_floats(prng, size.rows * cols, 0.2);
    weights.resize(size.rows * row_bytes);
    for (std::size_t r = 0; r < size.rows; ++r) {
      std::uint8_t* const row = weights.data() + r * row_bytes;
      if (find_book(format) != nullptr) {
        random_words(prng, *find_coding(format), row, cols);
      } else {
        f.quantize(source.data() + r * cols, row, cols);
      }
    }
    if (is_quantized(format)) {
      packed.resize(packed_bytes(format, size.rows, cols));
      pack(format, weights.data(), size.rows, cols, packed.data());
      row_bytes = packed_row_bytes(format, cols);
    }
    x = random_floats(prng, size.tokens * cols, 8.0);
    y.resize(size.tokens * size.rows);
    if (is_quantized(format)) {
      quants.resize(x.size());
      scales.resize(x.size() / 32);
      sums.resize(x.size() / 16);
      scalar::quantize_q8({x.data(), x.size(), quants.data(), scales.data(), sums.data()});
    }
    args = {is_quantized(format) ? packed.data() : weights.data(),
            row_bytes,
            size.rows,
            cols,
            x.data(),
            quants.data(),
            scales.data(),
            sums.data(),
            size.tokens,
            y.data(),
            size.rows};
  }
  Buffer run(void (*kernel)(const MatmulArgs&)) {
    std::ranges::fill(y, -1.0f);
    kernel(args);
    return bits_of(y);
  }
  std::vector<float> source, x, scales, y;
  Buffer weights, packed;  // packed: of quantized ones, what kernels read
  std::vector<std::int8_t> quants;
  std::vector<std::int32_t> sums;
  MatmulArgs args{};
};

template <>
struct Case<QuantizeArgs> {
  Case(Prng& prng, Size size, int) : x(random_floats(prng, (size.cols + 31) / 32 * 32, 30.0)) {
    quants.resize(x.size());
    scales.resize(x.size() / 32);
    sums.resize(x.size() / 16);
  }
  Buffer run(void (*kernel)(const QuantizeArgs&)) {
    kernel({x.data(), x.size(), quants.data(), scales.data(), sums.data()});
    Buffer bits = bits_of(scales);
    for (const std::int32_t sum : sums) bits.push_back(static_cast<std::uint8_t>(sum & 255));
    for (const std::int8_t quant : quants) bits.push_back(std::bit_cast<std::uint8_t>(quant));
    return bits;
  }
  std::vector<float> x, scales;
  std::vector<std::int8_t> quants;
  std::vector<std::int32_t> sums;
};

template <>
struct Case<NormArgs> {
  Case(Prng& prng, Size size, int)
      : x(random_floats(prng, size.cols, 6.0)), weight(random_floats(prng, size.cols, 2.0)), y(size.cols) {}
  Buffer run(void (*kernel)(const NormArgs&)) {
    kernel({x.data(), weight.data(), x.size(), 1e-5f, y.data()});
    return bits_of(y);
  }
  std::vector<float> x, weight, y;
};

template <>
struct Case<GatedArgs> {
  Case(Prng& prng, Size size, int)
      : gate(random_floats(prng, size.cols, 240.0)), up(random_floats(prng, size.cols, 4.0)) {}
  Buffer run(void (*kernel)(const GatedArgs&)) {
    std::vector<float> result = gate;
    kernel({result.data(), up.data(), up.size()});
    return bits_of(result);
  }
  std::vector<float> gate, up;
};

template <>
struct Case<SoftcapArgs> {
  Case(Prng& prng, Size size, int) : x(random_floats(prng, size.cols, 400.0)) {}
  Buffer run(void (*kernel)(const SoftcapArgs&)) {
    std::vector<float> result = x;
    kernel({result.data(), result.size(), 0.7f, 30.0f});
    return bits_of(result);
  }
  std::vector<float> x;
};

template <>
struct Case<ExponentialArgs> {
  Case(Prng& prng, Size size, int) : x(random_floats(prng, size.cols, 200.0)) {}
  Buffer run(void (*kernel)(const ExponentialArgs&)) {
    std::vector<float> result(x.size());
    kernel({x.data(), x.size(), 3.3f, result.data()});
    return bits_of(result);
  }
  std::vector<float> x;
};

template <>
struct Case<AttentionArgs> {
  Case(Prng& prng, Size size, DType format) {
    const std::size_t block = format_of(format).block_values, dim = (size.cols + block - 1) / block * block;
    const std::size_t group = 1 + size.rows % 3, stride = dim * (group + 1);
    const std::size_t last = size.rows + size.tokens - 1, padded = (last + 15) / 16 * 16;
    const bool causal = size.cols % 5 != 0;  // so are all of the fingerprint's sizes: its value stays
    q = random_floats(prng, size.tokens * stride, 4.0);
    const std::vector<float> k = random_floats(prng, padded * dim, 4.0), v = random_floats(prng, padded * dim, 4.0);
    const std::size_t group_bytes = kCacheGroup * cache_row_bytes(format, dim);
    keys.resize(padded / kCacheGroup * group_bytes), values.resize(keys.size());
    for (std::size_t p = 0; p < padded; ++p) {
      const std::size_t at = p / kCacheGroup * group_bytes;
      keep_position(format, &k[p * dim], &v[p * dim], dim, p % kCacheGroup, &keys[at], &values[at]);
    }
    out.resize(q.size()), scores.resize(size.tokens * group * padded);
    args = {.q = q.data(),
            .keys = keys.data(),
            .values = values.data(),
            .tokens = size.tokens,
            .group = group,
            .positions = size.rows,
            .window = size.rows % 2 == 0 || !causal ? 0 : 1 + size.cols % 21,
            .head_dim = dim,
            .scale = 0.35f,
            .scores = scores.data(),
            .score_stride = padded,
            .out = out.data(),
            .q_stride = stride,
            .cap = size.tokens % 2 == 0 ? 5.0f : 0.0f,
            .causal = causal};
  }
  Buffer run(void (*kernel)(const AttentionArgs&)) {
    std::ranges::fill(out, -1.0f);
    std::ranges::fill(scores, -1.0f);
    kernel(args);
    return bits_of(out);
  }
  Buffer keys, values;
  std::vector<float> q, scores, out;
  AttentionArgs args{};
};

}  // namespace sedge::kernels::cases
