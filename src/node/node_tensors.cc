// Node's part in tensors: which entries are some, and the write that makes a version the path's value.
#include <string>
#include <utility>

#include "node/node.h"

namespace sedge::node {

void Node::note_tensor(const std::string& path) {
  const auto op = state_->replica().register_at(path);
  std::optional<Bytes> bytes;
  if (op && op->value) bytes = *op->value;
  if (!tensors_->concerns(path, bytes)) return;
  // Where values of several families are after a conflict the newest is read, and that may not be the register.
  const auto value = state_->replica().read(path);
  const bool there = value && value->family == crdt::Family::kRegister;
  tensors_->on_entry(path, there ? std::optional<Bytes>(value->values.front()) : std::nullopt,
                     there ? value->writer : NodeId{}, now_);
}

void Node::note_tensors() {
  state_->replica().for_each("", [this](const std::string& path, const crdt::Value&) { note_tensor(path); });
}

// Who watches the path hears of it once more: now it can be read.
void Node::tell_tensors() {
  for (const std::string& path : tensors_->take_changed()) {
    if (tensors_->find(path) == nullptr) continue;  // the entry's own change was told
    if (const auto value = state_->replica().read(path)) tell(watchers_of(path), path, value, value->writer);
  }
}

// What has no place here is refused before it is written: else the upload's end would take its chunks, and the register
// would promise what nobody has. A write that was on its way before this one may still have taken the last place, and a
// newer one the path: then that is the answer, though the write is durable.
Status Node::put_tensor(std::string_view where, mesh::UploadId upload, Done done, Instant now) {
  now_ = now;
  const std::string path(where);
  SEDGE_CHECK(tensors_->check_place(path, id_));
  SEDGE_TRY(Buffer value, tensors_->value_of(upload));
  const trust::Digest hash = trust::digest(value);
  const auto ended = [this, path, upload, hash, done = std::move(done)](Status status) {
    if (status && !tensors_->holds(path, hash)) {
      status = tensors_->check_place(path, id_);
      if (status) status = fail(Code::kAborted, "'{}' was written meanwhile: put it again if it is to stay", path);
    }
    tensors_->end(upload, now_);
    done(status);
  };
  when_durable(state_->set(path, std::move(value), now), ended);
  return {};
}

}  // namespace sedge::node
