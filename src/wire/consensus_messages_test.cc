#include "wire/consensus_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "wire/average_messages.h"
#include "wire/codec.h"

namespace sedge::wire {
namespace {

template <class T>
T any() {
  return *rc::gen::arbitrary<T>();
}
std::uint64_t any_count() { return any<std::uint64_t>(); }
NodeId any_node() {
  NodeId id;
  id.bytes = any<std::array<std::uint8_t, 16>>();
  return id;
}
LogEntry any_entry() { return {Term{any_count()}, static_cast<LogKind>(*rc::gen::inRange(0, 3)), any<Buffer>()}; }

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

RC_GTEST_PROP(ConsensusMessages, come_back_as_they_were, ()) {
  RaftAppend append{.group = {any_count()}, .term = {any_count()}, .round = {any_count()}};
  append.previous_index = {any_count()};
  append.commit = {any_count()};
  append.take_over = any<bool>();
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) append.entries.push_back(any_entry());
  RC_ASSERT(comes_back(append));
  RC_ASSERT(comes_back(RaftVote{{any_count()}, {any_count()}, {any_count()}, {any_count()}, any<bool>(), any<bool>()}));
  RC_ASSERT(comes_back(RaftVoteReply{{any_count()}, {any_count()}, any<bool>(), any<bool>()}));
  RC_ASSERT(comes_back(RaftAppendReply{{any_count()}, {any_count()}, {any_count()}, any<bool>(), {any_count()}}));
  RC_ASSERT(comes_back(RaftSnapshotReply{{any_count()}, {any_count()}, {any_count()}, {any_count()}, any_count()}));
  RaftSnapshot snapshot{.group = {any_count()}, .term = {any_count()}};
  snapshot.configuration = {{any_node(), any_node()}, {any_node()}};
  snapshot.total = any_count();
  snapshot.data = any<Buffer>();
  RC_ASSERT(comes_back(snapshot));
  AgreedRequest request{.op = static_cast<AgreedOp>(*rc::gen::inRange(0, 3)), .path = any<std::string>()};
  request.value = any<Buffer>();
  if (any<bool>()) request.if_version = any_count();
  RC_ASSERT(comes_back(request));
  RC_ASSERT(comes_back(AgreedAnswer{.end = static_cast<AgreedEnd>(*rc::gen::inRange(0, 3)),
                                    .code = static_cast<Code>(*rc::gen::inRange(1, 17)),
                                    .message = any<std::string>(),
                                    .leader = any_node(),
                                    .version = any_count(),
                                    .value = any<Buffer>()}));
  RC_ASSERT(comes_back(GroupHint{{any_count()}, {any_count()}, {any_count()}, any_node(), {any_node()}}));
  RC_ASSERT(comes_back(AverageShare{.name = any<std::string>(),
                                    .round = {any_count(), any_node()},
                                    .window = Duration(any<std::int64_t>()),
                                    .left = Duration(any<std::int64_t>()),
                                    .session = any_count(),
                                    .number = any_count(),
                                    .value = any<double>(),
                                    .ones = any<double>(),
                                    .unit = any<double>(),
                                    .weight = any<double>()}));
}

}  // namespace
}  // namespace sedge::wire
