#include "mesh/seen_window.h"

#include <algorithm>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::mesh {
namespace {

TEST(SeenWindow, is_the_set_of_what_was_added_down_to_its_lower_end) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    SeenWindow window;
    std::set<std::uint64_t> added;
    std::uint64_t top = 0;
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t most = prng.chance(0.05) ? 10'000 : prng.chance(0.3) ? 50 : 1;
      const std::uint64_t back = prng.chance(0.05) ? 6'000 : 60;
      const std::uint64_t number =
          prng.chance(0.6) ? top + 1 + prng.below(most) : top - std::min(top, prng.below(back));
      if (number == 0) continue;
      window.add(number);
      added.insert(number);
      top = std::max(top, number);
      RC_ASSERT(window.top() == top);
      for (int probe = 0; probe < 20; ++probe) {
        const std::uint64_t asked = 1 + top + 5 - std::min(top + 5, prng.below(5'000));
        const bool below = asked <= top && top - asked >= SeenWindow::kNumbers;
        RC_ASSERT(window.contains(asked) == (below || added.contains(asked)));
      }
    }
  }));
}

TEST(SeenWindow, what_was_missing_and_came_is_not_missed_when_the_window_comes_round) {
  SeenWindow window(10);
  for (std::uint64_t n = 1; n <= 10; ++n) EXPECT_TRUE(window.contains(n));
  window.add(13);
  EXPECT_FALSE(window.contains(11));
  window.add(11);
  window.add(12);
  for (std::uint64_t n = 14; n < 14 + 2 * SeenWindow::kNumbers; ++n) {
    EXPECT_FALSE(window.contains(n));
    window.add(n);
    ASSERT_TRUE(window.contains(n) && window.contains(n - 1) && window.contains(11));
  }
}

}  // namespace
}  // namespace sedge::mesh
