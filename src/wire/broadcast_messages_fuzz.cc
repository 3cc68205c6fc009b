// Any bytes as each message of the broadcast, type byte first, with the batch and the publications within; what
// decodes has one encoding.
#include "base/assert.h"
#include "wire/broadcast_messages.h"
#include "wire/message_type.h"

namespace {

template <class T>
std::optional<T> comes_back(sedge::Bytes bytes) {
  auto message = sedge::wire::decode<T>(bytes);
  if (!message) return std::nullopt;
  SEDGE_ASSERT(sedge::wire::encode(*message) == sedge::to_buffer(bytes));
  return std::move(*message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kBroadcast:
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
    case MessageType::kBroadcastPrune:
      comes_back<BroadcastPrune>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
