#include "crdt/sketch.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::crdt {
namespace {

ItemSet numbers(const wire::SessionKey& key, std::uint64_t first, std::uint64_t last) {
  ItemSet set(key);
  for (std::uint64_t i = first; i < last; ++i) {
    trust::Signature signature;
    for (std::size_t at = 0; at < 8; ++at) signature.bytes[at] = static_cast<std::uint8_t>(i >> 8 * at);
    set.add({{}, {1}, {i + 1}}, {}, signature);
  }
  set.seal();
  return set;
}

std::vector<Symbol> difference(const SketchCode& code, const ItemSet& a, const ItemSet& b, std::size_t symbols) {
  std::vector<Symbol> out = code.encode(a, 0, symbols);
  const std::vector<Symbol> less = code.encode(b, 0, symbols);
  for (std::size_t i = 0; i < symbols; ++i) out[i] = out[i] - less[i];
  return out;
}

TEST(Sketch, two_symbols_and_a_bit_for_each_differing_name_decode_nine_times_in_ten) {
  for (const std::uint64_t differ : {1U, 10U, 100U, 400U}) {
    int decoded = 0;
    for (std::uint8_t seed = 0; seed < 100; ++seed) {
      const wire::SessionKey key{seed, 1};
      const SketchCode code(key);
      const ItemSet a = numbers(key, 0, 200 + differ), b = numbers(key, differ, 200 + 2 * differ);
      const auto found = code.decode(difference(code, a, b, 4 * differ + differ / 2 + 6));
      if (!found) continue;
      ++decoded;
      EXPECT_EQ(found->added.size(), differ);
      EXPECT_EQ(found->removed.size(), differ);
      EXPECT_EQ(b.find(found->removed).size(), differ);
    }
    EXPECT_GE(decoded, 90) << differ;
  }
}

TEST(Sketch, any_part_of_the_row_is_the_same_whoever_makes_it_when) {
  EXPECT_TRUE(rc::check([](std::uint8_t seed) {
    const wire::SessionKey key{seed};
    const SketchCode code(key);
    const ItemSet set = numbers(key, 0, 50);
    const std::size_t cut = *rc::gen::inRange<std::size_t>(0, 200);
    std::vector<Symbol> parts = code.encode(set, 0, cut);
    std::ranges::copy(code.encode(set, cut, 200), std::back_inserter(parts));
    RC_ASSERT(parts == code.encode(set, 0, 200));
    for (const Symbol& symbol : parts) RC_ASSERT(from_wire(to_wire(symbol)) == symbol);
  }));
}

// 2 / (i + 2) of the names are in symbol i.
TEST(Sketch, symbols_hold_as_many_names_as_they_should) {
  const wire::SessionKey key{9};
  const std::vector<Symbol> symbols = SketchCode(key).encode(numbers(key, 0, 20'000), 0, 500);
  EXPECT_EQ(symbols[0].count, 20'000u);
  for (const std::size_t i : {1u, 2u, 8u, 40u, 200u, 499u}) {
    const double expected = 20'000 * 2.0 / static_cast<double>(i + 2);
    EXPECT_NEAR(static_cast<double>(symbols[i].count), expected, 5 * std::sqrt(expected)) << i;
  }
}

// A name that its symbol alone claims to hold, in a row that no set makes: taken out, it is there again.
TEST(Sketch, a_row_that_never_empties_is_given_up) {
  const wire::SessionKey key{3};
  const SketchCode code(key);
  std::vector<Symbol> row = code.encode(numbers(key, 0, 1), 0, 64);
  const Symbol one = row[0];
  std::ranges::fill(row, one);
  EXPECT_FALSE(code.decode(row));
}

}  // namespace
}  // namespace sedge::crdt
