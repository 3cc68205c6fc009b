#include "mesh/chunk_store.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

namespace sedge::mesh {
namespace {

constexpr std::size_t kWriterPart = 2;

env::Record record_of(const ChunkName& name, Bytes bytes, bool erase) {
  return {std::string(kChunkBucket), to_buffer(name.hash), to_buffer(bytes), erase};
}

}  // namespace

Status ChunkStore::check_room(std::size_t more, NodeId writer) const {
  const auto account = accounts_.find(writer);
  const std::size_t held = account == accounts_.end() ? 0 : account->second;
  if (bytes_named_ + more > bytes_max_) {
    return fail(Code::kResourceExhausted,
                "no room for {} bytes more of tensors: {} are held, {} are allowed; erase some, or raise --tensor-mib",
                more, bytes_named_, bytes_max_);
  }
  if (held + more > bytes_max_ / kWriterPart) {
    return fail(
        Code::kResourceExhausted,
        "no room for {} bytes more of {}'s tensors: it has {}, and {} are one writer's part; erase some, or raise "
        "--tensor-mib",
        more, writer.short_hex(), held, bytes_max_ / kWriterPart);
  }
  return {};
}

Status ChunkStore::name(const Manifest& manifest, NodeId writer) {
  std::set<ChunkName> fresh;
  std::size_t more = 0;
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    const ChunkName name = manifest.name(i);
    if (!chunks_.contains(name) && fresh.insert(name).second) more += name.bytes;
  }
  if (more > 0) SEDGE_CHECK(check_room(more, writer));
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) ++chunks_[manifest.name(i)].names;
  for (const ChunkName& name : fresh) {
    Chunk& chunk = chunks_.at(name);
    chunk.account = writer;
    accounts_[writer] += name.bytes;
    bytes_named_ += name.bytes;
    if (auto loaded = loaded_.extract(name)) {
      bytes_held_ += name.bytes;
      chunk.bytes = std::move(loaded.mapped());
    }
  }
  return {};
}

void ChunkStore::release(const Manifest& manifest) {
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    const auto found = chunks_.find(manifest.name(i));
    if (--found->second.names > 0) continue;
    const std::size_t bytes = found->first.bytes;
    bytes_named_ -= bytes;
    std::size_t& account = accounts_[found->second.account];
    account -= bytes;
    if (account == 0) accounts_.erase(found->second.account);
    if (found->second.bytes) {
      bytes_held_ -= bytes;
      records_.push_back(record_of(found->first, {}, true));
    }
    chunks_.erase(found);
  }
}

bool ChunkStore::put(Bytes bytes) {
  const auto found = chunks_.find(name_of(bytes));
  if (found == chunks_.end() || found->second.bytes) return false;
  records_.push_back(record_of(found->first, bytes, false));
  bytes_held_ += bytes.size();
  bytes_unsaved_ += bytes.size();
  when_durable_.add([this, count = bytes.size()] { bytes_unsaved_ -= count; });
  found->second.bytes = to_buffer(bytes);
  return true;
}

const Buffer* ChunkStore::find(const ChunkName& name) const {
  const auto found = chunks_.find(name);
  return found != chunks_.end() && found->second.bytes ? &*found->second.bytes : nullptr;
}

std::size_t ChunkStore::missing(const Manifest& manifest) const {
  std::size_t missing = 0;
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) missing += has(manifest.name(i)) ? 0 : 1;
  return missing;
}

void ChunkStore::load(Bytes key, Bytes value) {
  const ChunkName name = name_of(value);
  if (to_buffer(name.hash) != to_buffer(key)) {
    records_.push_back({std::string(kChunkBucket), to_buffer(key), {}, true});
    return;
  }
  const auto found = chunks_.find(name);
  if (found == chunks_.end()) {
    loaded_.emplace(name, to_buffer(value));
  } else if (!found->second.bytes) {
    bytes_held_ += name.bytes;
    found->second.bytes = to_buffer(value);
  }
}

void ChunkStore::start() {
  for (const auto& [name, bytes] : std::exchange(loaded_, {})) records_.push_back(record_of(name, {}, true));
}

void ChunkStore::drain(env::Outbox& out) {
  std::ranges::move(records_, std::back_inserter(out.records));
  records_.clear();
}

}  // namespace sedge::mesh
