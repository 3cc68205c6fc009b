#include "kernels/formats/blocks.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "kernels/formats/books.h"

namespace sedge::kernels {
namespace {

std::uint16_t load16(const std::uint8_t* at) { return static_cast<std::uint16_t>(at[0] | at[1] << 8); }
void store16(std::uint8_t* at, std::uint16_t value) {
  at[0] = static_cast<std::uint8_t>(value & 255);
  at[1] = static_cast<std::uint8_t>(value >> 8);
}

// A field of `bits` bits at bit `shift` of a byte.
constexpr std::uint8_t field(std::uint8_t byte, unsigned shift, unsigned bits) {
  return static_cast<std::uint8_t>(byte >> shift & ((1u << bits) - 1));
}
constexpr void put(std::uint8_t& byte, unsigned shift, unsigned value) {
  byte = static_cast<std::uint8_t>(byte | value << shift);
}

// Where bits of a block's codes lie. Both directions visit the same places: `Move` reads or writes.
enum class Way { kSplit, kJoin };

// `bits` bits of a code, from bit `high` of it on, at bit `shift` of a byte.
template <Way way, class Byte>
void move_bits(Byte& byte, unsigned shift, unsigned bits, std::uint8_t& code, unsigned high = 0) {
  if constexpr (way == Way::kSplit) {
    code = static_cast<std::uint8_t>(code | field(byte, shift, bits) << high);
  } else {
    put(byte, shift, field(code, high, bits));
  }
}

// A block's bytes and its codes never overlap; said so, loops over them become vector instructions.
template <Way way>
using BytesOf = std::conditional_t<way == Way::kSplit, const std::uint8_t, std::uint8_t>;
template <Way way>
using PartsOf = std::conditional_t<way == Way::kSplit, BlockParts, const BlockParts>;

template <Way way>
void move16(BytesOf<way>* at, std::conditional_t<way == Way::kSplit, std::uint16_t, const std::uint16_t>& value) {
  if constexpr (way == Way::kSplit) {
    value = load16(at);
  } else {
    store16(at, value);
  }
}

// ---- blocks of 32
// ----------------------------------------------------------------------------------------------------

// Nibbles: byte j holds value j below and value j + 16 above.
template <Way way, class Codes>
void move_nibbles(BytesOf<way>* __restrict nibbles, Codes* __restrict codes) {
  for (std::size_t j = 0; j < 16; ++j) move_bits<way>(nibbles[j], 0, 4, codes[j]);
  for (std::size_t j = 0; j < 16; ++j) move_bits<way>(nibbles[j], 4, 4, codes[j + 16]);
}

// scale, [min,] [fifth bits: a word of 32,] nibbles
template <Way way>
void move_small(const BlockCoding& c, BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move16<way>(block, parts.scale);
  block += 2;
  if (c.has_min) {
    move16<way>(block, parts.min);
    block += 2;
  }
  if (c.bits == 5) {
    for (unsigned i = 0; i < 32; ++i) move_bits<way>(block[i / 8], i % 8, 1, codes[i], 4);
    block += 4;
  }
  move_nibbles<way>(block, codes);
}

template <Way way>
void move_q8_0(BytesOf<way>* __restrict block, std::uint8_t* __restrict codes, PartsOf<way>& parts) {
  move16<way>(block, parts.scale);
  for (std::size_t i = 0; i < 32; ++i) {
    if constexpr (way == Way::kSplit) {
      codes[i] = static_cast<std::uint8_t>(block[2 + i] ^ 0x80);
    } else {
      block[2 + i] = static_cast<std::uint8_t>(codes[i] ^ 0x80);
    }
  }
}

// The scale is a power of two: its exponent + 128, kept apart as a bfloat16. 0 and 1 are its subnormals.
template <Way way>
void move_mxfp4(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  if constexpr (way == Way::kSplit) {
    const unsigned e = block[0];
    parts.scale = static_cast<std::uint16_t>(e < 2 ? 0x20u << e : (e - 1) << 7);
  } else {
    const unsigned bits = parts.scale;
    block[0] = static_cast<std::uint8_t>(bits < 0x80 ? bits >> 6 : (bits >> 7) + 1);
  }
  move_nibbles<way>(block + 1, codes);
}

// ---- blocks of 256
// ---------------------------------------------------------------------------------------------------

// Two bits of each value: 128 values share 32 bytes, value 32·j + l of them at bits 2j of byte l.
template <Way way>
void move_pairs(BytesOf<way>* __restrict bytes, std::uint8_t* __restrict codes, unsigned high) {
  for (std::size_t half = 0; half < 2; ++half, bytes += 32) {
    for (unsigned j = 0; j < 4; ++j, codes += 32) {
      for (std::size_t l = 0; l < 32; ++l) move_bits<way>(bytes[l], 2 * j, 2, codes[l], high);
    }
  }
}

// One bit of each value: byte l has those of values l, l + 32, l + 64, ...
template <Way way>
void move_singles(BytesOf<way>* __restrict bytes, std::uint8_t* __restrict codes, unsigned high) {
  for (unsigned j = 0; j < 8; ++j, codes += 32) {
    for (std::size_t l = 0; l < 32; ++l) move_bits<way>(bytes[l], j, 1, codes[l], high);
  }
}

// Four bits of each value: 2 · `width` values share `width` bytes, the first half below.
template <Way way, std::size_t width>
void move_quads(BytesOf<way>* __restrict bytes, std::uint8_t* __restrict codes) {
  for (std::size_t i = 0; i < kUnitValues; i += 2 * width, bytes += width, codes += 2 * width) {
    for (std::size_t l = 0; l < width; ++l) move_bits<way>(bytes[l], 0, 4, codes[l]);
    for (std::size_t l = 0; l < width; ++l) move_bits<way>(bytes[l], 4, 4, codes[width + l]);
  }
}

// Eight scales and eight minima of six bits in twelve bytes: the first four of each whole, the others in two pieces.
template <Way way, class Subs>
void move_scales_k(BytesOf<way>* bytes, Subs& scales, Subs& mins) {
  for (std::size_t i = 0; i < 8; ++i) {
    auto scale = static_cast<std::uint8_t>(scales[i]), min = static_cast<std::uint8_t>(mins[i]);
    if (i < 4) {
      move_bits<way>(bytes[i], 0, 6, scale);
      move_bits<way>(bytes[i + 4], 0, 6, min);
    } else {
      move_bits<way>(bytes[i + 4], 0, 4, scale);
      move_bits<way>(bytes[i - 4], 6, 2, scale, 4);
      move_bits<way>(bytes[i + 4], 4, 4, min);
      move_bits<way>(bytes[i], 6, 2, min, 4);
    }
    if constexpr (way == Way::kSplit) {
      scales[i] = static_cast<std::int8_t>(scale), mins[i] = static_cast<std::int8_t>(min);
    }
  }
}

// Where a signed six-bit sub-scale is stored plus 32: `low` gets four bits and `high` two.
template <Way way, class Sub>
void move_sub_plus_32(BytesOf<way>& low, unsigned low_shift, BytesOf<way>& high, unsigned high_shift, Sub& sub) {
  std::uint8_t raw = 0;
  if constexpr (way == Way::kJoin) raw = static_cast<std::uint8_t>(sub + 32);
  move_bits<way>(low, low_shift, 4, raw);
  move_bits<way>(high, high_shift, 2, raw, 4);
  if constexpr (way == Way::kSplit) sub = static_cast<std::int8_t>(raw - 32);
}

template <Way way>
void move_q2_k(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  for (std::size_t i = 0; i < 16; ++i) {
    if constexpr (way == Way::kSplit) {
      parts.sub_scale[i] = static_cast<std::int8_t>(block[i] & 15);
      parts.sub_min[i] = static_cast<std::int8_t>(block[i] >> 4);
    } else {
      block[i] = static_cast<std::uint8_t>(parts.sub_scale[i] | parts.sub_min[i] << 4);
    }
  }
  move_pairs<way>(block + 16, codes, 0);
  move16<way>(block + 80, parts.scale);
  move16<way>(block + 82, parts.min);
}

template <Way way>
void move_q3_k(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move_singles<way>(block, codes, 2);
  move_pairs<way>(block + 32, codes, 0);
  BytesOf<way>* const scales = block + 96;
  for (unsigned i = 0; i < 16; ++i) {
    move_sub_plus_32<way>(scales[i % 8], i / 8 * 4, scales[8 + i % 4], i / 4 * 2, parts.sub_scale[i]);
  }
  move16<way>(block + 108, parts.scale);
}

template <Way way>
void move_q45_k(const BlockCoding& c, BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move16<way>(block, parts.scale);
  move16<way>(block + 2, parts.min);
  move_scales_k<way>(block + 4, parts.sub_scale, parts.sub_min);
  block += 16;
  if (c.bits == 5) {
    move_singles<way>(block, codes, 4);
    block += 32;
  }
  move_quads<way, 32>(block, codes);
}

template <Way way>
void move_q6_k(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move_quads<way, 64>(block, codes);
  move_pairs<way>(block + 128, codes, 4);
  for (std::size_t i = 0; i < 16; ++i) {
    if constexpr (way == Way::kSplit) {
      parts.sub_scale[i] = static_cast<std::int8_t>(block[192 + i]);
    } else {
      block[192 + i] = static_cast<std::uint8_t>(parts.sub_scale[i]);
    }
  }
  move16<way>(block + 208, parts.scale);
}

template <Way way>
void move_iq4_xs(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move16<way>(block, parts.scale);
  for (unsigned i = 0; i < 8; ++i) {
    move_sub_plus_32<way>(block[4 + i / 2], i % 2 * 4, block[2 + i / 4], i % 4 * 2, parts.sub_scale[i]);
    move_nibbles<way>(block + 8 + std::size_t{16} * i, codes + std::size_t{32} * i);
  }
}

template <Way way>
void move_tq2_0(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  move_pairs<way>(block, codes, 0);
  move16<way>(block + 64, parts.scale);
}

// Base-3 digits: a byte is the ceiling of 256/243 of a number of five digits, the first the most significant, so that
// multiplying by 3 brings the next digit above the byte. The last four bytes have four digits.
struct TritRun {
  std::size_t byte, bytes, digits, value;  // `bytes` bytes from `byte` on; digit n of byte j is value + n·bytes + j
};
constexpr TritRun kTritRuns[] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

template <Way way>
void move_tq1_0(BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  for (const TritRun& run : kTritRuns) {
    for (std::size_t j = 0; j < run.bytes; ++j) {
      std::uint8_t* const first = codes + run.value + j;
      if constexpr (way == Way::kSplit) {
        unsigned rest = block[run.byte + j];
        for (std::size_t n = 0; n < run.digits; ++n, rest = rest * 3 & 255) {
          first[n * run.bytes] = static_cast<std::uint8_t>(rest * 3 >> 8);
        }
      } else {
        unsigned number = 0;
        for (std::size_t n = 0; n < 5; ++n) number = number * 3 + (n < run.digits ? first[n * run.bytes] : 0u);
        block[run.byte + j] = static_cast<std::uint8_t>((number * 256 + 242) / 243);
      }
    }
  }
  move16<way>(block + 52, parts.scale);
}

template <Way way>
void move_block(const BlockCoding& c, BytesOf<way>* block, std::uint8_t* codes, PartsOf<way>& parts) {
  switch (c.type) {
    case DType::kQ8_0:
      return move_q8_0<way>(block, codes, parts);
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kIQ4_NL:
      return move_small<way>(c, block, codes, parts);
    case DType::kQ2_K:
      return move_q2_k<way>(block, codes, parts);
    case DType::kQ3_K:
      return move_q3_k<way>(block, codes, parts);
    case DType::kQ4_K:
    case DType::kQ5_K:
      return move_q45_k<way>(c, block, codes, parts);
    case DType::kQ6_K:
      return move_q6_k<way>(block, codes, parts);
    case DType::kIQ4_XS:
      return move_iq4_xs<way>(block, codes, parts);
    case DType::kMXFP4:
      return move_mxfp4<way>(block, codes, parts);
    case DType::kTQ1_0:
      return move_tq1_0<way>(block, codes, parts);
    case DType::kTQ2_0:
      return move_tq2_0<way>(block, codes, parts);
    default:
      assertion_failed("every row of kBlockCodings has a layout", __FILE__, __LINE__);
  }
}

}  // namespace

void split_block(const BlockCoding& coding, const std::uint8_t* block, BlockParts& parts) {
  if (const BookCoding* const book = find_book(coding.type)) {
    BookParts fields;
    split_book(*book, block, fields);
    return split_words(*book, fields, parts);
  }
  parts.scale = parts.min = 0;
  std::fill_n(parts.codes.data(), coding.values, std::uint8_t{0});
  if (coding.sub != 0) parts.sub_scale = {}, parts.sub_min = {};
  move_block<Way::kSplit>(coding, block, parts.codes.data(), parts);
}

void join_block(const BlockCoding& coding, const BlockParts& parts, std::uint8_t* block) {
  if (const BookCoding* const book = find_book(coding.type)) {
    BookParts fields;
    join_words(*book, parts, fields);
    return join_book(*book, fields, block);
  }
  std::array<std::uint8_t, kUnitValues> codes = parts.codes;  // both ways take them from one place
  std::fill_n(block, coding.bytes, std::uint8_t{0});
  move_block<Way::kJoin>(coding, block, codes.data(), parts);
}

float scale_of(const BlockCoding& coding, const BlockParts& parts, std::size_t sub) {
  const float scale = coding.bf16_scale ? bf16_to_f32(parts.scale) : f16_to_f32(parts.scale);
  return coding.sub == 0 ? scale : scale * coding.unit() * static_cast<float>(parts.sub_scale[sub]);
}

float min_of(const BlockCoding& coding, const BlockParts& parts, std::size_t sub) {
  if (!coding.has_min) return 0.0f;
  const float min = f16_to_f32(parts.min);
  return coding.sub == 0 ? min : -(min * static_cast<float>(parts.sub_min[sub]));
}

void dequantize_blocks(const BlockCoding& coding, const std::uint8_t* in, float* out, std::size_t count) {
  BlockParts parts;
  for (std::size_t at = 0; at < count; at += coding.values, in += coding.bytes) {
    split_block(coding, in, parts);
    for (std::size_t i = 0; i < coding.values; ++i) {
      const std::size_t sub = i / coding.sub_values();
      const float product = scale_of(coding, parts, sub) * static_cast<float>(coding.level(parts.codes[i]));
      out[at + i] = coding.has_min ? product + min_of(coding, parts, sub) : product;
    }
  }
}

}  // namespace sedge::kernels
