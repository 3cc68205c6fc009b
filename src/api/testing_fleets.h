// Two Fleets of the C++ library that have a link to each other over loopback, for tests of what is built on it.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "api/testing.h"
#include "sedge/sedge.h"

namespace sedge::api::testing {

// Not how long a test may take, only when one that can no longer succeed says so.
constexpr auto kPatience = std::chrono::seconds(60);

inline bool eventually(const std::function<bool()>& is_so) {
  for (const auto until = std::chrono::steady_clock::now() + kPatience; !is_so();) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

struct TwoFleets {
  robot::Status start() {
    auto first = open(rover_home, {});
    if (!first) return std::unexpected(first.error());
    rover.emplace(*std::move(first));
    auto second = open(base_home, {rover->address()});
    if (!second) return std::unexpected(second.error());
    base.emplace(*std::move(second));
    if (eventually([&] { return linked(*rover) && linked(*base); })) return {};
    return std::unexpected(robot::Error{robot::Code::kUnavailable, "the two have no link"});
  }

  static robot::Result<robot::Fleet> open(const Home& home, std::vector<std::string> seeds) {
    return robot::Fleet::open(
        {.home = home.path.string(), .listen = "127.0.0.1:0", .seeds = std::move(seeds), .beacons = false});
  }
  static bool linked(robot::Fleet& fleet) {
    const auto members = fleet.members();
    return members && std::ranges::any_of(*members, &robot::Member::linked);
  }

  const Home rover_home{"rover"};
  const Home base_home{"base", false, 1};
  std::optional<robot::Fleet> rover;
  std::optional<robot::Fleet> base;
};

}  // namespace sedge::api::testing
