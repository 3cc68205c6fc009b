// Any bytes as each message of the broadcast, type byte first, with the batch and the publications within; what
// decodes has one encoding.
#include "wire/broadcast_messages.h"
#include "wire/comes_back.h"
#include "wire/message_type.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kBroadcast:
    case MessageType::kBroadcastPacked:
    case MessageType::kBroadcastForAll:
    case MessageType::kBroadcastPackedForAll:
      if (const auto signed_batch = comes_back<SignedBatch>(frame->body)) {
        const auto batch = comes_back<Batch>(signed_batch->batch);
        if (batch && batch->kind == BatchKind::kPubSub) comes_back<Publications>(batch->payload);
      }
      break;
    case MessageType::kBroadcastHave:
      comes_back<BroadcastHave>(frame->body);
      break;
    case MessageType::kBroadcastGraft:
      comes_back<BroadcastGraft>(frame->body);
      break;
    case MessageType::kBroadcastPosition:
      comes_back<TreePosition>(frame->body);
      break;
    case MessageType::kBroadcastSlowdown:
    case MessageType::kBroadcastSlowdownForAll:
      comes_back<BroadcastSlowdown>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
