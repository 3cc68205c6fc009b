// The first byte of every frame and datagram between nodes. One row a message; docs/formats/wire.md describes each.
// Numbers are for ever: a retired one is not used again.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/codec.h"

namespace sedge::wire {

enum class MessageType : std::uint8_t {
  // membership (wire/membership_messages.h)
  kMemberSync = 1,    // the rows of the member table that differ
  kMemberGossip = 2,  // what changed about members
  kProbe = 3,
  kProbeAck = 4,
  kProbeRequest = 5,  // probe this one for me
  kProbeVerdict = 6,
  kLeave = 7,
  kMemberDigests = 8,  // the member table in 64 numbers: when a link comes up, or views differ
  kMemberLink = 9,     // whether the sender's overlay wants this link
  // broadcast tree (wire/broadcast_messages.h)
  kBroadcast = 16,      // a signed batch, eager
  kBroadcastHave = 17,  // ids only, lazy
  kBroadcastGraft = 18,
  kBroadcastPosition = 20,  // where in the tree the sender is; 19 was a prune
  kBroadcastSlowdown = 21,  // the sender's links are full: publish no more for a while
  kBroadcastPacked = 22,    // a signed batch whose payload is packed
  kBroadcastForAll = 23,    // the same two of batches that wait for the slowest link,
  kBroadcastPackedForAll = 24,
  kBroadcastSlowdownForAll = 25,  // and the wish that concerns them alone
  // state (wire/state_messages.h)
  kStateVector = 32,  // what I have
  kStateOps = 33,     // signed operations
  kStateSketch = 35,  // what lives here, in a few symbols (wire/reconcile_messages.h); 34 listed it
  kStateRanges = 36,  // the same by fingerprints of ranges
  kStateWant = 37,    // more symbols, or the writes of these names
  kStateStale = 38,   // is this over? Asked by who was away
  kStateGone = 40,    // 39 did not say what it had never seen
  kStatePacked = 41,  // signed operations, packed
  // chunks of tensors (wire/chunk_messages.h)
  kChunkQuery = 42,  // which chunks of this manifest do you have?
  kChunkHave = 43,
  kChunkWant = 44,  // send me these pieces
  kChunkPiece = 45,
  // tasks (wire/task_messages.h)
  kTaskAssign = 48,
  kTaskAnswer = 49,  // accepted or refused
  kTaskTokens = 50,
  kTaskDone = 51,
  kTaskCancel = 52,
  kTaskCredit = 53,
  // consensus (wire/consensus_messages.h)
  kRaftVote = 64,
  kRaftVoteReply = 65,
  kRaftAppend = 66,
  kRaftAppendReply = 67,
  kRaftSnapshot = 68,  // a part of one
  kRaftSnapshotReply = 69,
  kAgreedRequest = 70,  // read or write an agreed value
  kAgreedAnswer = 71,
  // audit (wire/audit_messages.h)
  kAuditRequest = 72,  // show me entries of this node's chain
  kAuditChunk = 73,
  // averaging (wire/average_messages.h)
  kAverageShare = 74,
};

// type byte, then the message.
template <class T>
Buffer frame(MessageType type, const T& message) {
  return encode(message, Buffer{static_cast<std::uint8_t>(type)});
}

struct Frame {
  MessageType type{};
  Bytes body;
};

// Errors: DataLoss for an empty frame. An unknown type is the caller's to skip: a newer peer may speak it.
inline Result<Frame> open_frame(Bytes bytes) {
  if (bytes.empty()) return fail(Code::kDataLoss, "an empty frame has no message type");
  return Frame{static_cast<MessageType>(bytes[0]), bytes.subspan(1)};
}

}  // namespace sedge::wire
