// Frames of a camera between two processes of one board, without a copy: the one lends memory, writes a frame into it
// and publishes it; the other maps the same pages, and has them still when the first has died.
//   camera film HOME [INVITATION]     30 frames a second, until it is ended
//   camera watch HOME [INVITATION]    until the film's process is gone
// The invitation also from $SEDGE_INVITATION; only needed the first time.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "sedge/sedge.h"

using namespace std::chrono_literals;
namespace robot = sedge::robot;

constexpr std::size_t kPixels = 1920 * 1080;  // of 4 bytes: 8.3 MB
constexpr char kTopic[] = "robot/rover-7/camera";

int complain(const robot::Error& error) {
  std::fprintf(stderr, "camera: %s\n", error.message.c_str());
  return 1;
}

// A picture of nothing: all pixels have the frame's number.
bool whole(const robot::LoanView& frame) {
  const auto pixels = frame.as<std::uint32_t>();
  return pixels && pixels->size() == kPixels && std::ranges::count(*pixels, pixels->front()) == std::ptrdiff_t{kPixels};
}

int film(robot::Fleet& fleet) {
  for (std::uint32_t number = 0;; ++number) {
    auto frame = fleet.loan(kPixels * sizeof(std::uint32_t));
    if (!frame) return complain(frame.error());
    std::ranges::fill(frame->as<std::uint32_t>(), number);
    if (const auto told = fleet.publish(kTopic, *std::move(frame)); !told) return complain(told.error());
    std::this_thread::sleep_for(33ms);
  }
}

int watch(robot::Fleet& fleet) {
  std::optional<robot::LoanView> first;
  std::promise<void> gone;
  const auto on_frame = [&, seen = 0](const robot::LoanMessage& frame) mutable {
    if (!first) first = frame.payload;
    std::printf("frame %d: %zu bytes, %s\n", ++seen, frame.payload.bytes().size(),
                whole(frame.payload) ? "whole" : "torn");
    std::fflush(stdout);
  };
  const auto on_liveliness = [&, told = false](std::string_view, bool alive) mutable {
    if (!alive && !std::exchange(told, true)) gone.set_value();
  };
  const auto on_missed = [](const robot::MissedLoan& missed) { (void)complain(missed.error); };
  const auto id = fleet.subscribe_loans(kTopic, on_frame,
                                        {.on_missed = on_missed, .subscription = {.on_liveliness = on_liveliness}});
  if (!id) return complain(id.error());
  std::printf("watching\n");
  std::fflush(stdout);
  gone.get_future().wait();
  fleet.unsubscribe(*id);
  const bool still = first && whole(*first);
  std::printf("its process is gone, the first frame is %s\n", still ? "still whole" : "lost");
  return still ? 0 : 1;
}

int main(int argc, char** argv) {
  const std::string_view what = argc > 2 ? argv[1] : "";
  if (what != "film" && what != "watch") return std::fprintf(stderr, "usage: camera film|watch HOME [INVITATION]\n"), 2;
  const char* invitation = argc > 3 ? argv[3] : std::getenv("SEDGE_INVITATION");
  auto fleet = robot::Fleet::open({.home = argv[2], .invitation = invitation != nullptr ? invitation : ""});
  if (!fleet) return complain(fleet.error());
  return what == "film" ? film(*fleet) : watch(*fleet);
}
