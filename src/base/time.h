// Time as the cores see it: a monotonic instant that is handed in, never taken. There is no now() here.
#pragma once

#include <chrono>
#include <cstdint>

namespace sedge {

using namespace std::chrono_literals;  // NOLINT: 500ms reads better than any function we could write

using Duration = std::chrono::nanoseconds;

// The tag of our monotonic time line. Its zero is arbitrary; a platform's is the machine's boot, a simulation's 0.
struct Monotonic {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
};
using Instant = std::chrono::time_point<Monotonic, Duration>;

inline constexpr Instant kNever = Instant::max();

inline constexpr double to_ms(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }
inline constexpr double to_seconds(Duration duration) { return static_cast<double>(duration.count()) / 1e9; }

}  // namespace sedge
