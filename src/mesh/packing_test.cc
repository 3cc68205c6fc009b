#include "mesh/packing.h"

#include <string>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <zstd.h>

#include "base/prng.h"

namespace sedge::mesh {
namespace {

constexpr std::size_t kMax = 64u << 10;

Buffer noise(std::size_t bytes, std::uint64_t seed = 1) {
  Prng prng(seed);
  Buffer out(bytes);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(prng.next());
  return out;
}

// What robots say: the same words with other numbers.
Buffer talk(std::size_t bytes, std::uint64_t seed = 1) {
  Prng prng(seed);
  std::string text;
  while (text.size() < bytes) {
    text += fmt::format(R"({{"robot":"rover-{}","battery":{},"pose":[{},{},{}],"state":"driving"}})", prng.below(30),
                        prng.below(100), prng.below(1000), prng.below(1000), prng.below(360));
  }
  text.resize(bytes);
  return to_buffer(as_bytes(text));
}

TEST(Packing, whatever_is_packed_comes_back) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    const std::size_t bytes = 1 + Prng(seed).below(kMax);
    const Buffer plain = talk(bytes, seed);
    Packer packer;
    const auto packed = packer.pack(plain);
    RC_ASSERT(packed.has_value() == (bytes >= kPackBytesMin));
    if (!packed) return;
    RC_ASSERT(packed->size() <= plain.size() - plain.size() / 8);
    RC_ASSERT(*unpack(*packed, kMax) == plain);
  }));
}

TEST(Packing, what_does_not_pay_is_tried_on_fewer_and_fewer_payloads_and_what_pays_again_at_once) {
  Packer packer;
  std::size_t packed = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) packed += packer.pack(noise(2000, i)).has_value() ? 1 : 0;
  EXPECT_EQ(packed, 0u);
  EXPECT_EQ(packer.stats().packed, 0u);
  std::size_t until = 1;
  while (!packer.pack(talk(2000))) ++until;
  EXPECT_LE(until, 65u);
  EXPECT_TRUE(packer.pack(talk(2000)));
  EXPECT_EQ(packer.stats().packed, 2u);
  EXPECT_EQ(packer.stats().bytes_plain, 4000u);
}

TEST(Packing, nothing_is_unpacked_that_is_larger_than_allowed_or_does_not_say_how_large_it_is) {
  const Buffer zeros(8u << 20);
  Buffer bomb(ZSTD_compressBound(zeros.size()));
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 19));
  ASSERT_LT(bomb.size(), 2000u);
  EXPECT_EQ(unpack(bomb, kMax).error().code, Code::kDataLoss);
  EXPECT_TRUE(unpack(bomb, 8u << 20));

  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  Buffer silent(4096);
  silent.resize(ZSTD_compress2(context.get(), silent.data(), silent.size(), zeros.data(), 1000));
  EXPECT_FALSE(unpack(silent, kMax));
}

TEST(Packing, damaged_bytes_are_an_error_or_other_bytes_of_the_same_size) {
  const Buffer plain = talk(3000);
  Packer packer;
  const Buffer packed = *packer.pack(plain);
  for (std::size_t at = 0; at < packed.size(); ++at) {
    EXPECT_FALSE(unpack(Bytes(packed).first(at), kMax));
    Buffer damaged = packed;
    damaged[at] ^= 0x55;
    const auto unpacked = unpack(damaged, kMax);
    EXPECT_TRUE(!unpacked || unpacked->size() <= kMax);
  }
  EXPECT_TRUE(rc::check([](const Buffer& bytes) { (void)unpack(bytes, kMax); }));
  EXPECT_FALSE(unpack({}, kMax));
}

}  // namespace
}  // namespace sedge::mesh
