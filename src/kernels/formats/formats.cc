#include "kernels/formats/formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/assert.h"
#include "kernels/formats/blocks.h"

namespace sedge::kernels {

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto with_sign = [sign](std::uint32_t half) { return static_cast<std::uint16_t>(sign | half); };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00u | (magnitude >> 13 & 0x3ffu));  // NaN
  if (magnitude >= 0x477ff000u) return with_sign(0x7c00u);  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                            // below 2^-14: subnormal half, a multiple of 2^-24
    // Adding 0.5 puts the unit in the last place at 2^-24, so the FPU rounds to nearest even for us.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u);
  }
  const std::uint32_t odd = magnitude >> 13 & 1u;
  return with_sign((magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

namespace {

// Files give no alignment promise below a block's, so every access is a memcpy; compilers turn it into a load.
template <class T>
T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void store(std::uint8_t* at, const T& value) {
  std::memcpy(at, &value, sizeof value);
}

void copy_f32_out(const std::uint8_t* in, float* out, std::size_t count) { std::memcpy(out, in, count * sizeof *out); }
void copy_f32_in(const float* in, std::uint8_t* out, std::size_t count) { std::memcpy(out, in, count * sizeof *in); }

template <auto kConvert>
void widen(const std::uint8_t* in, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = kConvert(load<std::uint16_t>(in + 2 * i));
}

template <auto kConvert>
void narrow(const float* in, std::uint8_t* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) store(out + 2 * i, kConvert(in[i]));
}

// A cast of a float outside the integer's range is undefined; the comparison order also sends NaN to `low`.
int to_int(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return std::isnan(value) ? 0 : low;
  return value < static_cast<float>(high) ? static_cast<int>(value) : high;
}

void quantize_q8_0(const float* in, std::uint8_t* out, std::size_t count) {
  for (std::size_t at = 0; at < count; at += kQ8Values, out += sizeof(BlockQ8_0)) {
    float largest = 0;
    for (std::size_t i = 0; i < kQ8Values; ++i) largest = std::max(largest, std::fabs(in[at + i]));
    const float scale = std::min(largest / 127.0f, kF16Max);
    const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
    BlockQ8_0 block{};
    block.scale = f32_to_f16(scale);
    for (std::size_t i = 0; i < kQ8Values; ++i) {
      block.quants[i] = static_cast<std::int8_t>(to_int(std::round(in[at + i] * inverse), -127, 127));
    }
    store(out, block);
  }
}

void quantize_q4_0(const float* in, std::uint8_t* out, std::size_t count) {
  constexpr std::size_t kHalf = kQ4Values / 2;
  for (std::size_t at = 0; at < count; at += kQ4Values, out += sizeof(BlockQ4_0)) {
    float extreme = 0;  // the value of largest magnitude, with its sign: it is mapped to -8, the longer end
    for (std::size_t i = 0; i < kQ4Values; ++i) {
      if (std::fabs(in[at + i]) > std::fabs(extreme)) extreme = in[at + i];
    }
    const float scale = std::clamp(extreme / -8.0f, -kF16Max, kF16Max);
    const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
    const auto nibble = [&](std::size_t i) { return to_int(in[at + i] * inverse + 8.5f, 0, 15); };
    BlockQ4_0 block{};
    block.scale = f32_to_f16(scale);
    for (std::size_t i = 0; i < kHalf; ++i) {
      block.nibbles[i] = static_cast<std::uint8_t>(nibble(i) | nibble(i + kHalf) << 4);
    }
    store(out, block);
  }
}

template <DType type>
void dequantize(const std::uint8_t* in, float* out, std::size_t count) {
  dequantize_blocks(*find_coding(type), in, out, count);
}
template <DType type>
void quantize(const float* in, std::uint8_t* out, std::size_t count) {
  quantize_blocks(*find_coding(type), in, out, count);
}

template <DType type>
constexpr Format blocks(std::string_view name,
                        void (*quantize_row)(const float*, std::uint8_t*, std::size_t) = quantize<type>) {
  constexpr BlockCoding kCoding = *find_coding(type);
  return {type, name, kCoding.values, kCoding.bytes, dequantize<type>, quantize_row};
}

constexpr Format kFormats[] = {
    {DType::kF32, "F32", 1, 4, copy_f32_out, copy_f32_in},
    {DType::kF16, "F16", 1, 2, widen<f16_to_f32>, narrow<f32_to_f16>},
    {DType::kBF16, "BF16", 1, 2, widen<bf16_to_f32>, narrow<f32_to_bf16>},
    blocks<DType::kQ8_0>("Q8_0", quantize_q8_0),
    blocks<DType::kQ4_0>("Q4_0", quantize_q4_0),
    blocks<DType::kQ4_1>("Q4_1"),
    blocks<DType::kQ5_0>("Q5_0"),
    blocks<DType::kQ5_1>("Q5_1"),
    blocks<DType::kQ2_K>("Q2_K"),
    blocks<DType::kQ3_K>("Q3_K"),
    blocks<DType::kQ4_K>("Q4_K"),
    blocks<DType::kQ5_K>("Q5_K"),
    blocks<DType::kQ6_K>("Q6_K"),
    blocks<DType::kIQ4_NL>("IQ4_NL"),
    blocks<DType::kIQ4_XS>("IQ4_XS"),
    blocks<DType::kMXFP4>("MXFP4"),
    blocks<DType::kTQ1_0>("TQ1_0"),
    blocks<DType::kTQ2_0>("TQ2_0"),
    blocks<DType::kIQ2_XXS>("IQ2_XXS"),
    blocks<DType::kIQ2_XS>("IQ2_XS"),
    blocks<DType::kIQ2_S>("IQ2_S"),
    blocks<DType::kIQ3_XXS>("IQ3_XXS"),
    blocks<DType::kIQ3_S>("IQ3_S"),
    blocks<DType::kIQ1_S>("IQ1_S"),
    blocks<DType::kIQ1_M>("IQ1_M"),
};

}  // namespace

std::span<const Format> formats() { return kFormats; }

const Format* find_format(std::uint32_t ggml_type) {
  const auto* row = std::ranges::find(kFormats, static_cast<DType>(ggml_type), &Format::type);
  return row == std::end(kFormats) ? nullptr : row;
}

const Format& format_of(DType type) {
  const Format* row = find_format(static_cast<std::uint32_t>(type));
  SEDGE_ASSERT(row != nullptr);
  return *row;
}

}  // namespace sedge::kernels
