// A node's group under whatever peers send: frames, each after its length in two bytes, from three peers in turn, while
// time passes and the disk syncs. What they say cannot crash it.
#include "consensus/group.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const auto peer = [](std::size_t i) {
    NodeId id;
    id.bytes.fill(static_cast<std::uint8_t>(i + 1));
    return id;
  };
  consensus::GroupOptions options;
  options.self = peer(0);
  options.seed = 1;
  options.may_found = size % 2 == 0;
  consensus::Group group(std::move(options));
  Instant now{};
  group.start(now);
  std::uint64_t lsn = 0;
  Bytes left(data, size);
  for (std::size_t turn = 0; left.size() > 2; ++turn) {
    const std::size_t length = std::min(std::size_t{left[0]} | std::size_t{left[1]} << 8, left.size() - 2);
    const Bytes bytes = left.subspan(2, length);
    left = left.subspan(2 + length);
    if (const auto frame = wire::open_frame(bytes)) {
      (void)group.on_message(peer(1 + turn % 3), frame->type, frame->body, now);
    }
    if (turn == size % 7) {
      const wire::ForcedQuorum order{.number = 1, .former = {7}, .group = {9}, .voters = {peer(1), peer(2)}};
      group.force({&order, 1}, now);
    }
    now += Duration(100ms) * (turn % 16);
    if (group.next_deadline() <= now) group.on_timer(now);
    env::Outbox out;
    group.drain(out);
    if (out.records.empty()) continue;
    group.on_persisting({++lsn});
    if (turn % 3 != 0) group.on_durable({lsn}, now);
  }
  return 0;
}
