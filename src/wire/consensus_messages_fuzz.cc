// Any bytes as each message of consensus or averaging, type byte first; what decodes has one encoding.
#include "wire/average_messages.h"
#include "wire/comes_back.h"
#include "wire/consensus_messages.h"
#include "wire/message_type.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kRaftVote:
      comes_back<RaftVote>(frame->body);
      break;
    case MessageType::kRaftVoteReply:
      comes_back<RaftVoteReply>(frame->body);
      break;
    case MessageType::kRaftAppend:
      comes_back<RaftAppend>(frame->body);
      break;
    case MessageType::kRaftAppendReply:
      comes_back<RaftAppendReply>(frame->body);
      break;
    case MessageType::kRaftSnapshot:
      comes_back<RaftSnapshot>(frame->body);
      break;
    case MessageType::kRaftSnapshotReply:
      comes_back<RaftSnapshotReply>(frame->body);
      break;
    case MessageType::kAgreedRequest:
      comes_back<AgreedRequest>(frame->body);
      break;
    case MessageType::kAgreedAnswer:
      comes_back<AgreedAnswer>(frame->body);
      break;
    case MessageType::kAverageShare:
      comes_back<AverageShare>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
