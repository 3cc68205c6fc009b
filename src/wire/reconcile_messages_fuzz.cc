// Any bytes as each message of a session, type byte first; what decodes has one encoding.
#include "wire/comes_back.h"
#include "wire/message_type.h"
#include "wire/reconcile_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kStateSketch:
      comes_back<StateSketch>(frame->body);
      break;
    case MessageType::kStateRanges:
      comes_back<StateRanges>(frame->body);
      break;
    case MessageType::kStateWant:
      comes_back<StateWant>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
