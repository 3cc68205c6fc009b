// An averager under whatever its neighbours send: bodies, each after its length in a byte, from three of them in turn,
// while time passes and it takes part itself. What it sends stays bounded, and every caller is answered.
#include <cstdlib>

#include "consensus/averager.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const auto peer = [](std::size_t i) {
    NodeId id;
    id.bytes.fill(static_cast<std::uint8_t>(i + 1));
    return id;
  };
  consensus::AveragerOptions options;
  options.self = peer(0);
  options.epoch = {1};
  options.seed = 1;
  consensus::Averager averager(std::move(options));
  Instant now{};
  for (std::size_t i = 1; i <= 3; ++i) averager.on_link_up(peer(i), now);
  int asked = 0, answered = 0;
  Bytes left(data, size);
  for (std::size_t turn = 0; left.size() > 1; ++turn) {
    const std::size_t length = std::min<std::size_t>(left[0], left.size() - 1);
    const Bytes body = left.subspan(1, length);
    left = left.subspan(1 + length);
    if (length == 0) {
      ++asked;
      averager.average("x", 1, 1s, [&](const auto&) { ++answered; }, now);
    } else if (length == 1) {
      averager.on_link_down(peer(1 + body[0] % 3));
      averager.on_link_up(peer(1 + body[0] % 3), now);
    } else {
      (void)averager.on_message(peer(1 + turn % 3), body, now);
    }
    now += Duration(10ms) * (turn % 16);
    if (averager.next_deadline() <= now) averager.on_timer(now);
    if (averager.rounds() > 64 || averager.take_sends().size() > 64 * 4) std::abort();
  }
  averager.abandon();
  if (asked != answered) std::abort();
  return 0;
}
