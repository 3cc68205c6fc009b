// AMX: products of blocks with many tokens on tiles (tiles_simd.h). Everything else is AVX512-VNNI's.
#include "kernels/simd_avx512.h"

#include "kernels/matmul/bytes_avx512.h"
#include "kernels/matmul/tiles_simd.h"

namespace sedge::kernels::amx {
namespace {

// With fewer tokens most of a tile is empty, and weights would be decoded for few. Measured (adr/0034): at 24 tokens
// vpdpbusd is still the quicker one for two of four formats, at 96 for none; straight lines between cross below this.
// numeric_fingerprint multiplies fewer tokens; what holds tiles to the definition are the tests.
constexpr std::size_t kTokensMin = 48;

// What ldtilecfg reads: Intel's manual, volume 1, chapter 18.
struct Configuration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(Configuration) == 64);

constexpr Configuration configuration(std::size_t sub_cols) {
  Configuration c;
  for (std::size_t i = 0; i < 8; ++i) {
    c.row_bytes[i] = static_cast<std::uint16_t>(i == 4 || i == 5 ? sub_cols : 64);
    c.rows[i] = static_cast<std::uint8_t>(i < 6 ? 16 : sub_cols / 4);
  }
  return c;
}

// As assembler, since the intrinsics of g++ 12 do not say which memory they read: stores that they depend on may be
// moved behind them, or left out.
struct Tiles {
  using V = avx512vnni::V;
  using Bytes = avx512vnni::Bytes;

  SEDGE_INLINE static void configure(std::size_t sub_cols) {
    static constexpr Configuration kOf16 = configuration(16), kOf32 = configuration(32);
    asm volatile("ldtilecfg %0" : : "m"(sub_cols == 16 ? kOf16 : kOf32));
  }
  SEDGE_INLINE static void release() { asm volatile("tilerelease"); }

  template <std::size_t i>
  SEDGE_INLINE static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(i));
  }
  template <std::size_t i>
  SEDGE_INLINE static void load(const void* from, std::size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(i) : "memory");
  }
  template <std::size_t i>
  SEDGE_INLINE static void store(void* to, std::size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(i) : "memory");
  }
  template <std::size_t i, std::size_t a, std::size_t b>
  SEDGE_INLINE static void dot() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(i), "i"(a), "i"(b));
  }

  template <BlockCoding C>
  SEDGE_INLINE static __m512i levels(__m512i codes) {
    if constexpr (C.levels == Levels::kLinear) {
      return C.offset == 0 ? codes : _mm512_sub_epi8(codes, _mm512_set1_epi8(static_cast<char>(C.offset)));
    } else {
      alignas(16) static constexpr auto kTable = signed_levels(C);
      return avx512vnni::look_up(kTable, codes);
    }
  }
  SEDGE_INLINE static V::F floats(const std::int32_t* sums) { return _mm512_cvtepi32_ps(_mm512_load_si512(sums)); }
};

}  // namespace

#define SEDGE_TILE_MATMUL(name, Args, format)                \
  void name(const Args& m) {                                 \
    if (m.tokens < kTokensMin) return avx512vnni::name(m);   \
    simd::TileProducts<Tiles, *find_coding(format)>::run(m); \
  }
SEDGE_BLOCK_ROWS(SEDGE_TILE_MATMUL)

}  // namespace sedge::kernels::amx
