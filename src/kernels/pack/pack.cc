#include "kernels/pack/pack.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sedge::kernels {
namespace {

constexpr std::size_t kScaleBytes = sizeof(std::uint16_t);

// One block of each of `rows` rows, row_bytes apart; `flip` is xored to every byte behind the scale.
void pack_blocks(const std::uint8_t* from, std::size_t rows, std::size_t row_bytes, std::size_t block_bytes,
                 std::uint8_t flip, std::uint8_t* to) {
  std::fill_n(to, kPackedRows * block_bytes, std::uint8_t{0});
  std::uint8_t* const bytes = to + kPackedRows * kScaleBytes;
  for (std::size_t r = 0; r < rows; ++r, from += row_bytes) {
    std::memcpy(to + r * kScaleBytes, from, kScaleBytes);
    for (std::size_t at = 0; at + kScaleBytes < block_bytes; at += 4) {
      std::uint8_t four[4];
      std::memcpy(four, from + kScaleBytes + at, sizeof four);
      for (std::uint8_t& byte : four) byte ^= flip;
      std::memcpy(bytes + at * kPackedRows + r * 4, four, sizeof four);
    }
  }
}

}  // namespace

void pack(DType type, const std::uint8_t* weights, std::size_t rows, std::size_t cols, std::uint8_t* packed) {
  SEDGE_ASSERT((type == DType::kQ8_0 || type == DType::kQ4_0) && cols % 32 == 0);
  const std::size_t block_bytes = format_of(type).block_bytes, blocks = cols / 32, row_bytes = blocks * block_bytes;
  const std::uint8_t flip = type == DType::kQ8_0 ? 0x80 : 0;
  for (std::size_t row = 0; row < rows; row += kPackedRows) {
    const std::size_t count = std::min(kPackedRows, rows - row);
    for (std::size_t b = 0; b < blocks; ++b, packed += kPackedRows * block_bytes) {
      pack_blocks(weights + row * row_bytes + b * block_bytes, count, row_bytes, block_bytes, flip, packed);
    }
  }
}

}  // namespace sedge::kernels
