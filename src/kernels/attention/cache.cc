#include "kernels/attention/cache.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/kernels.h"

namespace sedge::kernels {
namespace {

// Number `i` of `count` that each position has between the others' of its group. Of a size that the compiler knows.
template <std::size_t Bytes>
void weave(const std::uint8_t* from, std::size_t count, std::size_t place, std::uint8_t* to) {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + (i * kCacheGroup + place) * Bytes, from + i * Bytes, Bytes);
}

}  // namespace

bool is_cache_format(DType format) {
#define SEDGE_IS(name, Args, kept) \
  if (format == (kept)) return true;
  SEDGE_ATTENTION_ROWS(SEDGE_IS)
#undef SEDGE_IS
  return false;
}

bool is_rotated(DType format) { return format == DType::kQ4_0; }

std::size_t cache_row_bytes(DType format, std::size_t head_dim) {
  const Format& f = format_of(format);
  return head_dim / f.block_values * f.block_bytes;
}

void keep_position(DType format, const float* key, const float* value, std::size_t head_dim, std::size_t place,
                   std::uint8_t* keys, std::uint8_t* values) {
  const Format& f = format_of(format);
  f.quantize(value, values + place * (head_dim / f.block_values * f.block_bytes), head_dim);
  // A piece at a time: whole blocks of every format.
  constexpr std::size_t kPiece = kQ8Values;
  std::array<std::uint8_t, kPiece * sizeof(float)> row;
  for (std::size_t d = 0; d < head_dim; d += kPiece) {
    const std::size_t count = std::min(kPiece, head_dim - d);
    f.quantize(key + d, row.data(), count);
    if (f.block_values > 1) {
      constexpr std::size_t kScale = sizeof(std::uint16_t);
      weave<kScale>(row.data(), 1, place, keys);
      weave<1>(row.data() + kScale, f.block_bytes - kScale, place, keys + kCacheGroup * kScale);
    } else if (format == DType::kF16) {
      weave<2>(row.data(), count, place, keys);
    } else {
      weave<4>(row.data(), count, place, keys);
    }
    keys += kCacheGroup * (count / f.block_values * f.block_bytes);
  }
}

}  // namespace sedge::kernels
