// Any bytes as a message of a session, to a side that holds some writes: an answer within its bounds, or an error.
#include "base/assert.h"
#include "base/prng.h"
#include "crdt/ranges.h"
#include "crdt/session.h"
#include "wire/message_type.h"

namespace {

using namespace sedge;

crdt::Session some_session() {
  crdt::ItemSet set({1});
  for (std::uint64_t i = 1; i <= 500; ++i) {
    trust::Signature signature;
    Prng prng(i);
    for (auto& byte : signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
    set.add({{}, {1}, {i}}, crdt::Hlc{i / 3}, signature);
  }
  set.seal();
  return crdt::Session(std::move(set));
}

void check(const Result<crdt::SessionAnswer>& answer) {
  if (!answer) return;
  SEDGE_ASSERT(answer->send.size() <= crdt::kSessionSends);
  SEDGE_ASSERT(!answer->want || answer->want->ids.size() <= crdt::kSessionSends);
  SEDGE_ASSERT(!answer->ranges || answer->ranges->ranges.size() <= crdt::kRangesMax);
  SEDGE_ASSERT(!answer->sketch || answer->sketch->symbols.size() <= crdt::kSketchSymbolsMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static crdt::Session session = some_session();
  const auto frame = wire::open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case wire::MessageType::kStateSketch:
      if (const auto message = wire::decode<wire::StateSketch>(frame->body)) check(session.on_sketch(*message));
      break;
    case wire::MessageType::kStateRanges:
      if (const auto message = wire::decode<wire::StateRanges>(frame->body)) check(session.on_ranges(*message));
      break;
    case wire::MessageType::kStateWant:
      if (const auto message = wire::decode<wire::StateWant>(frame->body)) check(session.on_want(*message));
      break;
    default:
      break;
  }
  return 0;
}
