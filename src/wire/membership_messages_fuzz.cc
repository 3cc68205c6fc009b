// Any bytes as each message of membership, type byte first, and the signed record within; what decodes has one
// encoding.
#include "wire/comes_back.h"
#include "wire/membership_messages.h"
#include "wire/message_type.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kMemberSync:
      comes_back<MemberSync>(frame->body);
      break;
    case MessageType::kMemberDigests:
      comes_back<MemberDigests>(frame->body);
      break;
    case MessageType::kMemberGossip:
      if (const auto gossip = comes_back<MemberGossip>(frame->body)) {
        for (const SignedMember& member : gossip->records) comes_back<MemberRecord>(member.record);
      }
      break;
    case MessageType::kProbe:
      comes_back<Probe>(frame->body);
      break;
    case MessageType::kProbeAck:
      comes_back<ProbeAck>(frame->body);
      break;
    case MessageType::kProbeRequest:
      comes_back<ProbeRequest>(frame->body);
      break;
    case MessageType::kProbeVerdict:
      comes_back<ProbeVerdict>(frame->body);
      break;
    case MessageType::kMemberLink:
      comes_back<MemberLink>(frame->body);
      break;
    case MessageType::kLeave:
      comes_back<Leave>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
