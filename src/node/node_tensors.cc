// Node's part in tensors: which entries are some, and the write that makes a version the path's value.
#include <utility>

#include "node/node.h"

namespace sedge::node {

void Node::note_tensor(const std::string& path) {
  const crdt::Op* const op = state_->replica().register_at(path);
  std::optional<Bytes> bytes;
  if (op != nullptr && op->value) bytes = *op->value;
  if (!tensors_->concerns(path, bytes)) return;
  // Where values of several families are after a conflict the newest is read, and that may not be the register.
  const auto value = state_->replica().read(path);
  const bool there = value && value->family == crdt::Family::kRegister;
  tensors_->on_entry(path, there ? std::optional<Bytes>(value->values.front()) : std::nullopt,
                     there ? value->writer : NodeId{}, now_);
}

void Node::start_tensors() {
  state_->replica().for_each("", [this](const std::string& path, const crdt::Value&) { note_tensor(path); });
  tensors_->start(now_);
}

// Who watches the path hears of it once more: now it can be read.
void Node::tell_tensors() {
  for (const std::string& path : tensors_->take_changed()) {
    if (tensors_->find(path) == nullptr) continue;  // the entry's own change was told
    if (const auto value = state_->replica().read(path)) tell(watchers_of(path), path, value, value->writer);
  }
}

Status Node::put_tensor(std::string_view path, mesh::UploadId upload, Done done, Instant now) {
  now_ = now;
  SEDGE_TRY(Buffer value, tensors_->value_of(upload));
  when_durable(state_->set(path, std::move(value), now), [this, upload, done = std::move(done)](const Status& status) {
    tensors_->end(upload, now_);
    done(status);
  });
  return {};
}

}  // namespace sedge::node
