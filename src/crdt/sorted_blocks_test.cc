#include "crdt/sorted_blocks.h"

#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::crdt {
namespace {

using Blocks = SortedBlocks<std::uint64_t>;

Blocks::Position position(const Blocks& blocks, std::uint64_t number) {
  return blocks.search([number](std::uint64_t each) { return each < number; });
}

std::vector<std::uint64_t> all(const Blocks& blocks) {
  std::vector<std::uint64_t> out;
  for (auto at = blocks.begin(); at != blocks.end(); at = blocks.next(at)) out.push_back(blocks[at]);
  return out;
}

std::vector<std::uint64_t> backwards(const Blocks& blocks) {
  std::vector<std::uint64_t> out;
  for (auto at = blocks.end(); at != blocks.begin();) {
    at = blocks.previous(at);
    out.push_back(blocks[at]);
  }
  return out;
}

// Fills to thousands and empties again, by turns: blocks split and join.
TEST(SortedBlocks, hold_what_a_set_holds_in_its_order_through_growth_and_shrinking) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    Blocks blocks;
    std::set<std::uint64_t> model;
    for (int phase = 0; phase < 6; ++phase) {
      const bool ascending = prng.chance(0.3);
      const double grows = phase % 2 == 0 ? 0.9 : 0.1;
      for (int i = 0; i < 1500; ++i) {
        if (prng.chance(grows)) {
          const std::uint64_t number = ascending && !model.empty() ? *model.rbegin() + 1 : prng.below(10'000);
          if (model.insert(number).second) blocks.insert(position(blocks, number), number);
        } else if (!model.empty()) {
          auto number = model.lower_bound(prng.below(10'000));
          if (number == model.end()) number = model.begin();
          blocks.erase(position(blocks, *number));
          model.erase(number);
        }
      }
      RC_ASSERT(blocks.size() == model.size());
      RC_ASSERT(all(blocks) == std::vector(model.begin(), model.end()));
      RC_ASSERT(backwards(blocks) == std::vector(model.rbegin(), model.rend()));
      const std::uint64_t number = prng.below(10'000);
      const auto expected = model.lower_bound(number);
      const auto found = position(blocks, number);
      RC_ASSERT((found == blocks.end()) == (expected == model.end()));
      RC_ASSERT((expected == model.end() || blocks[found] == *expected));
    }
  }));
}

}  // namespace
}  // namespace sedge::crdt
