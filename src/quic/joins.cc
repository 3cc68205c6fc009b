// The join exchange on its own connection (trust/join.h): one frame each way, on the control stream, and nothing else.
// A byte in front says which message it is. Whatever does not belong here ends the connection.
#include <optional>
#include <utility>

#include "quic/endpoint_core.h"
#include "wire/codec.h"

namespace sedge::quic {
namespace {

enum class JoinFrame : std::uint8_t { kRequest = 1, kGrant = 2, kRefusal = 3, kRotation = 4 };

template <class T>
Buffer join_frame(JoinFrame type, const T& message) {
  Buffer frame = wire::encode(message);
  frame.insert(frame.begin(), static_cast<std::uint8_t>(type));
  return frame;
}

// A machine's first request, or that of one which has a former id.
std::optional<std::pair<trust::JoinRequest, std::optional<trust::Rotation>>> open_request(JoinFrame type, Bytes body) {
  if (type == JoinFrame::kRotation) {
    auto rotation = wire::decode<trust::RotationRequest>(body);
    if (!rotation) return std::nullopt;
    return std::pair(std::move(rotation->join), std::optional(rotation->rotation));
  }
  auto request = wire::decode<trust::JoinRequest>(body);
  if (type != JoinFrame::kRequest || !request) return std::nullopt;
  return std::pair(std::move(*request), std::nullopt);
}

}  // namespace

void Endpoint::Core::start_join(Connection& c, Instant now) {
  if (!c.dialled()) return;  // the joiner speaks first
  const auto exporter = c.join_exporter();
  if (!exporter) {
    c.blame(exporter.error().message);
    return c.close(kCloseRefused, {}, now);
  }
  const auto& dial = c.dial_options();
  const auto request = trust::make_request(*dial.invitation, options.key.public_key(), dial.join_name, *exporter);
  c.push(env::Priority::kControl,
         dial.rotation ? join_frame(JoinFrame::kRotation, trust::RotationRequest{request, *dial.rotation})
                       : join_frame(JoinFrame::kRequest, request));
}

void Endpoint::Core::on_join_frames(Connection& c, Instant now) {
  for (const Connection::Arrival& arrival : std::exchange(c.arrivals(), {})) {
    if (c.ended()) return;
    const bool right = !arrival.datagram && arrival.priority == env::Priority::kControl &&
                       arrival.bytes.size() <= trust::kJoinBytesMax && on_join_frame(c, arrival.bytes, now);
    if (right) continue;
    if (c.dialled()) c.blame("the issuer's answer is malformed");
    c.close(static_cast<std::uint64_t>(env::LinkDown::kProtocol), {}, now);
  }
}

// False: not what this side of a join may receive now.
bool Endpoint::Core::on_join_frame(Connection& c, Bytes frame, Instant now) {
  const auto type = static_cast<JoinFrame>(frame[0]);
  const Bytes body = frame.subspan(1);
  const auto exporter = c.join_exporter();
  if (!exporter) return false;
  if (!c.dialled()) {
    auto request = open_request(type, body);
    if (c.asked || !request || request->first.key != c.proof()->key) return false;
    c.asked = true;
    emit(JoinRequestIn{c.number(), std::move(request->first), *exporter, request->second});
    return true;
  }
  if (type == JoinFrame::kRefusal) {
    const auto refusal = wire::decode<trust::JoinRefusal>(body);
    if (!refusal) return false;
    c.blame(fmt::format("the issuer refused: {}", printable(refusal->why)));
    c.close(kCloseJoined, {}, now);
    return true;
  }
  auto grant = wire::decode<trust::JoinGrant>(body);
  if (type != JoinFrame::kGrant || !grant) return false;
  const auto& invitation = *c.dial_options().invitation;
  if (const Status right = trust::check_grant(invitation, options.key.public_key(), *exporter, *grant); !right) {
    c.blame(right.error().message);
    c.close(kCloseRefused, {}, now);
    return true;
  }
  c.blame({});  // no failure to tell
  c.close(kCloseJoined, {}, now);
  c.blame({});
  emit(JoinGranted{std::move(*grant)});
  return true;
}

Status Endpoint::Core::answer_join(JoinHandle handle, const std::variant<trust::JoinGrant, trust::JoinRefusal>& answer,
                                   Instant now) {
  const auto entry = connections_.find(handle);
  if (entry == connections_.end() || entry->second->ended() || entry->second->dialled() ||
      entry->second->protocol() != Protocol::kJoin || !entry->second->asked) {
    return fail(Code::kNotFound, "the joiner is gone");
  }
  Connection& c = *entry->second;
  Buffer frame = std::holds_alternative<trust::JoinGrant>(answer)
                     ? join_frame(JoinFrame::kGrant, std::get<trust::JoinGrant>(answer))
                     : join_frame(JoinFrame::kRefusal, std::get<trust::JoinRefusal>(answer));
  c.push(env::Priority::kControl, std::move(frame));  // the joiner closes when it has it
  settle(c, now);
  return {};
}

}  // namespace sedge::quic
