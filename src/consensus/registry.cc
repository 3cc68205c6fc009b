#include "consensus/registry.h"

#include <utility>
#include <vector>

namespace sedge::consensus {
namespace {

struct Row {
  std::string path;
  std::uint64_t version = 0;
  Buffer value;
  template <class V>
  void fields(V& visit) {
    visit("path", path);
    visit("version", version);
    visit("value", value);
  }
};

std::size_t bytes_of(const std::string& path, const Buffer& value) { return path.size() + value.size() + 32; }

}  // namespace

Status check_request(const wire::AgreedRequest& request) {
  if (request.path.empty() || request.path.size() > kAgreedPathMax) {
    return fail(Code::kInvalidArgument, "a path has 1 to {} bytes, this has {}", kAgreedPathMax, request.path.size());
  }
  if (request.path.find_first_of("+#") != std::string::npos) {
    return fail(Code::kInvalidArgument, "'{}' has + or #: an agreed value is read by its whole path", request.path);
  }
  if (request.value.size() > kAgreedValueMax) {
    return fail(Code::kInvalidArgument, "an agreed value has at most {} KiB: put large ones into an entry",
                kAgreedValueMax >> 10);
  }
  if (request.id.is_zero()) return fail(Code::kInvalidArgument, "a request has an id that is not all 0");
  return {};
}

Result<Agreed> Registry::apply(Index index, const wire::AgreedRequest& request) {
  if (const auto before = recent_.find(request.id); before != recent_.end()) return told(before->second, request);
  const Outcome outcome = carry_out(index, request);
  remember(request.id, outcome);
  return told(outcome, request);
}

Registry::Outcome Registry::carry_out(Index index, const wire::AgreedRequest& request) {
  const auto found = values_.find(request.path);
  const std::uint64_t version = found == values_.end() ? 0 : found->second.version;
  if (request.if_version && *request.if_version != version) return {.version = version};
  const std::size_t freed = found == values_.end() ? 0 : bytes_of(request.path, found->second.value);
  if (request.op == wire::AgreedOp::kErase) {
    if (found != values_.end()) values_.erase(found);
    bytes_ -= freed;
    return {.done = true};
  }
  const std::size_t grown = bytes_ - freed + bytes_of(request.path, request.value);
  if (grown > kAgreedStateMax) return {.version = version, .full = true};
  bytes_ = grown;
  values_[request.path] = {index, request.value};
  return {.done = true, .version = index};
}

Result<Agreed> Registry::told(const Outcome& outcome, const wire::AgreedRequest& request) {
  if (outcome.done) return Agreed{outcome.version, {}};
  if (outcome.full) {
    return fail(Code::kResourceExhausted, "agreed values have {} KiB together, and that is full: erase some",
                kAgreedStateMax >> 10);
  }
  return fail(Code::kFailedPrecondition, "'{}' has version {}, not {}", request.path, outcome.version,
              request.if_version.value_or(0));
}

void Registry::remember(TaskId id, Outcome outcome) {
  recent_.emplace(id, outcome);
  order_.push_back(id);
  if (order_.size() <= kRecentMax) return;
  recent_.erase(order_.front());
  order_.pop_front();
}

Agreed Registry::get(const std::string& path) const {
  const auto found = values_.find(path);
  return found == values_.end() ? Agreed{} : found->second;
}

namespace {

template <class Outcome>
struct Remembered {
  TaskId id;
  Outcome outcome;
  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("outcome", outcome);
  }
};

template <class Outcome>
struct Whole {
  std::vector<Row> rows;
  std::vector<Remembered<Outcome>> recent;  // the oldest first
  template <class V>
  void fields(V& visit) {
    visit("rows", rows);
    visit("recent", recent);
  }
};

}  // namespace

Buffer Registry::snapshot() const {
  Whole<Outcome> whole;
  for (const auto& [path, agreed] : values_) whole.rows.push_back({path, agreed.version, agreed.value});
  for (const TaskId& id : order_) whole.recent.push_back({id, recent_.at(id)});
  return wire::encode(whole);
}

Status Registry::restore(Bytes snapshot) {
  SEDGE_TRY(const auto whole, wire::decode<Whole<Outcome>>(snapshot));
  *this = Registry();
  for (const Row& row : whole.rows) {
    bytes_ += bytes_of(row.path, row.value);
    values_[row.path] = {row.version, row.value};
  }
  for (const auto& [id, outcome] : whole.recent) remember(id, outcome);
  return {};
}

}  // namespace sedge::consensus
