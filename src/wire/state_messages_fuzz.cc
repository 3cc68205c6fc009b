// Any bytes as each message about state, type byte first, and as a member's statement, the value of an entry; what
// decodes has one encoding.
#include "wire/comes_back.h"
#include "wire/message_type.h"
#include "wire/state_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (static_cast<int>(frame->type)) {
    case static_cast<int>(MessageType::kStateVector):
      comes_back<StateVector>(frame->body);
      break;
    case static_cast<int>(MessageType::kStateOps):
      comes_back<StateOps>(frame->body);
      break;
    case static_cast<int>(MessageType::kStateStale):
      comes_back<StateStale>(frame->body);
      break;
    case static_cast<int>(MessageType::kStateGone):
      comes_back<StateGone>(frame->body);
      break;
    case 0:  // no message has it: records
      comes_back<StateSeen>(frame->body);
      comes_back<StateFrontier>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
