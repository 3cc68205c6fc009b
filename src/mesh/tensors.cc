#include "mesh/tensors.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "wire/codec.h"

namespace sedge::mesh {
namespace {

// A record of kTensorBucket.
struct CompleteRecord {
  NodeId writer;
  Buffer manifest;
  template <class V>
  void fields(V& visit) {
    visit("writer", writer);
    visit("manifest", manifest);
  }
};

Result<TensorVersion> version_of(Bytes value, NodeId writer) {
  SEDGE_TRY(Manifest manifest, decode_manifest(value));
  return TensorVersion{std::move(manifest), trust::digest(value), writer};
}

bool is(const std::optional<TensorVersion>& version, const trust::Digest& hash) {
  return version && version->hash == hash;
}

}  // namespace

Tensors::Tensors(Options options) : options_(options), store_(options.bytes_max), exchange_(options.exchange, store_) {
  exchange_.hooks.complete = [this](const trust::Digest& hash) { on_complete(hash); };
  exchange_.hooks.known = [this](const trust::Digest& hash) -> const Manifest* {
    const auto held = held_.find(hash);
    return held == held_.end() ? nullptr : &held->second.manifest;
  };
}

const std::vector<std::string>& Tensors::buckets() {
  static const std::vector<std::string> kBuckets = {std::string(kTensorBucket), std::string(kChunkBucket)};
  return kBuckets;
}

// ---- versions -------------------------------------------------------------------------------------------------------

Status Tensors::take(const TensorVersion& version) {
  const auto held = held_.find(version.hash);
  if (held == held_.end()) {
    SEDGE_CHECK(store_.name(version.manifest, version.writer));
    held_.emplace(version.hash, Held{version.manifest, 1});
  } else {
    ++held->second.uses;
  }
  return {};
}

void Tensors::release(const trust::Digest& hash) {
  const auto held = held_.find(hash);
  if (--held->second.uses > 0) return;
  exchange_.forget(hash);
  store_.release(held->second.manifest);
  held_.erase(held);
  room_ = true;
}

void Tensors::drop_pending(Tensor& tensor) {
  if (tensor.pending && !tensor.refused) release(tensor.pending->hash);
  tensor.pending.reset();
  tensor.refused.reset();
}

// Takes room for what is pending; then it is complete, or fetched.
void Tensors::admit(const std::string& path, Tensor& tensor, Instant now) {
  const TensorVersion& version = *tensor.pending;
  tensor.refused.reset();
  if (const Status taken = take(version); !taken) {
    tensor.refused = taken.error();
    if (!std::exchange(told_full_, true) && hooks.report) {
      hooks.report(fmt::format("tensor '{}' is not fetched: {}", path, taken.error().message));
    }
    return;
  }
  if (missing(version) == 0) return promote(path, tensor);
  if (!started_ || exchange_.fetches(version.hash)) return;
  exchange_.fetch(version.hash, version.manifest, version.writer, now);
}

// Its chunks are here. The former version goes with this record, in one commit: after a crash one of them is whole.
void Tensors::promote(const std::string& path, Tensor& tensor) {
  const std::optional<TensorVersion> former = std::exchange(tensor.complete, std::exchange(tensor.pending, {}));
  const CompleteRecord record{tensor.complete->writer, encode_manifest(tensor.complete->manifest)};
  records_.push_back({std::string(kTensorBucket), to_buffer(as_bytes(path)), wire::encode(record), false});
  if (former) release(former->hash);
  changed_.push_back(path);
}

void Tensors::on_complete(const trust::Digest& hash) {
  for (auto& [path, tensor] : tensors_) {
    if (is(tensor.pending, hash) && !tensor.refused) promote(path, tensor);
  }
}

Status Tensors::check_place(const std::string& path, NodeId writer) const {
  if (path.starts_with("sys/")) return fail(Code::kInvalidArgument, "'{}': no tensor can be under sys/", path);
  if (tensors_.contains(path)) return {};
  if (tensors_.size() >= kTensorsMax) {
    return fail(Code::kResourceExhausted, "{} paths hold a tensor, no more are: erase one", kTensorsMax);
  }
  const auto places = places_.find(writer);
  if (places == places_.end() || places->second < kPlacesOfWriterMax) return {};
  return fail(Code::kResourceExhausted, "{} paths hold a tensor of {}, no more of one writer are: erase one",
              kPlacesOfWriterMax, writer.short_hex());
}

Tensor& Tensors::place(const std::string& path, NodeId writer) {
  const auto [at, fresh] = tensors_.try_emplace(path);
  if (fresh) {
    at->second.account = writer;
    ++places_[writer];
  }
  return at->second;
}

bool Tensors::take_look(Instant now) {
  if (!look_ || now < looked_ + kLookEvery) return false;
  look_ = turned_away_ = false;
  looked_ = now;
  return true;
}

void Tensors::forget(const std::string& path) {
  const auto found = tensors_.find(path);
  if (found == tensors_.end()) return;
  drop_pending(found->second);
  const auto places = places_.find(found->second.account);
  if (--places->second == 0) places_.erase(places);
  look_ = look_ || turned_away_;
  const std::optional<TensorVersion> complete = std::move(found->second.complete);
  tensors_.erase(found);
  if (!complete) return;
  records_.push_back({std::string(kTensorBucket), to_buffer(as_bytes(path)), {}, true});
  release(complete->hash);
  changed_.push_back(path);
}

// In order of paths, until nothing more fits. What became complete has let go of its former version: once more.
void Tensors::retry(Instant now) {
  while (std::exchange(room_, false)) {
    for (auto& [path, tensor] : tensors_) {
      if (tensor.pending && tensor.refused) admit(path, tensor, now);
    }
  }
}

bool Tensors::concerns(const std::string& path, std::optional<Bytes> value) const {
  return !path.starts_with("sys/") && ((value && is_manifest(*value)) || tensors_.contains(path));
}

void Tensors::on_entry(const std::string& path, std::optional<Bytes> value, NodeId writer, Instant now) {
  if (!concerns(path, value)) return;
  auto version = value ? version_of(*value, writer) : Result<TensorVersion>(fail(Code::kNotFound, "nothing"));
  if (!version) {
    forget(path);
    return retry(now);
  }
  if (const Status placed = check_place(path, writer); !placed) {
    turned_away_ = true;
    if (!std::exchange(told_full_, true) && hooks.report) {
      hooks.report(fmt::format("tensor '{}' is not fetched: {}", path, placed.error().message));
    }
    return;
  }
  if (!started_) seen_.insert(path);
  Tensor& tensor = place(path, writer);
  if (is(tensor.pending, version->hash)) return;
  const std::optional<TensorVersion> before = std::exchange(tensor.pending, {});
  const bool was_taken = before && !tensor.refused;
  tensor.refused.reset();
  if (!is(tensor.complete, version->hash)) {
    tensor.pending = std::move(*version);
    admit(path, tensor, now);
  }
  if (was_taken) release(before->hash);  // last: what both have in common stays
  retry(now);
}

// ---- start ----------------------------------------------------------------------------------------------------------

Status Tensors::load(std::string_view bucket, Bytes key, Bytes value) {
  if (bucket == kChunkBucket) {
    store_.load(key, value);
    return {};
  }
  const std::string path(as_text(key));
  const auto record = wire::decode<CompleteRecord>(value);
  auto version =
      record ? version_of(record->manifest, record->writer) : Result<TensorVersion>(std::unexpected(record.error()));
  if (!version) return in_context(fmt::format("{} {}", bucket, path), version.error());
  // Where the bound has become smaller, it is fetched again when there is room.
  if (take(*version)) {
    place(path, version->writer).complete = std::move(*version);
  } else {
    records_.push_back({std::string(bucket), to_buffer(key), {}, true});
  }
  return {};
}

void Tensors::start(Instant now) {
  started_ = true;
  std::vector<std::string> gone;
  for (const auto& [path, tensor] : tensors_) {
    if (!seen_.contains(path)) gone.push_back(path);
  }
  for (const std::string& path : gone) forget(path);
  seen_.clear();
  for (auto& [path, tensor] : tensors_) {
    // The disk has lost a chunk.
    if (tensor.complete && missing(*tensor.complete) > 0) {
      records_.push_back({std::string(kTensorBucket), to_buffer(as_bytes(path)), {}, true});
      std::optional<TensorVersion> damaged = std::exchange(tensor.complete, {});
      if (tensor.pending)
        release(damaged->hash);
      else
        tensor.pending = std::move(damaged);
    }
    if (!tensor.pending || tensor.refused) continue;
    if (missing(*tensor.pending) == 0)
      promote(path, tensor);
    else if (!exchange_.fetches(tensor.pending->hash))
      exchange_.fetch(tensor.pending->hash, tensor.pending->manifest, tensor.pending->writer, now);
  }
  store_.start();
  retry(now);
}

// ---- this node's writes ---------------------------------------------------------------------------------------------

Result<UploadId> Tensors::begin(Bytes manifest, NodeId self, Instant now) {
  auto version = version_of(manifest, self);
  if (!version) return fail(Code::kInvalidArgument, "{}", version.error().message);
  if (uploads_.size() >= kUploadsMax) {
    return fail(Code::kResourceExhausted, "{} tensors are being put: retry when one is done", uploads_.size());
  }
  SEDGE_CHECK(take(*version));
  uploads_[++last_upload_] = {std::move(*version), now + kUploadTime};
  return last_upload_;
}

Result<std::vector<std::uint32_t>> Tensors::lacking(UploadId upload) const {
  const auto found = uploads_.find(upload);
  if (found == uploads_.end()) return fail(Code::kNotFound, "no tensor is being put under that number: begin again");
  std::vector<std::uint32_t> numbers;
  std::set<ChunkName> named;
  const Manifest& manifest = found->second.version.manifest;
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    const ChunkName name = manifest.name(i);
    if (!store_.has(name) && named.insert(name).second) numbers.push_back(static_cast<std::uint32_t>(i));
  }
  return numbers;
}

Status Tensors::give(UploadId upload, std::uint32_t number, Bytes chunk, Instant now) {
  const auto found = uploads_.find(upload);
  if (found == uploads_.end()) return fail(Code::kNotFound, "no tensor is being put under that number: begin again");
  const Manifest& manifest = found->second.version.manifest;
  if (number >= manifest.chunks.size() || chunk.size() > kChunkBytesMax || name_of(chunk) != manifest.name(number)) {
    return fail(Code::kInvalidArgument, "these bytes are not chunk {} of the tensor that is being put", number);
  }
  if (found->second.until != kNever) found->second.until = now + kUploadTime;
  if (store_.behind() && !store_.has(manifest.name(number))) {
    return fail(Code::kResourceExhausted, "{} MiB of chunks wait for the disk: try again soon", kUnsavedBytesMax >> 20);
  }
  if (store_.put(chunk)) exchange_.on_chunk(name_of(chunk));
  retry(now);
  return {};
}

Result<Buffer> Tensors::value_of(UploadId upload) {
  SEDGE_TRY(const auto numbers, lacking(upload));
  if (!numbers.empty()) return fail(Code::kFailedPrecondition, "{} chunks were not given", numbers.size());
  Upload& found = uploads_.at(upload);
  found.until = kNever;
  return encode_manifest(found.version.manifest);
}

void Tensors::end(UploadId upload, Instant now) {
  const auto found = uploads_.extract(upload);
  if (!found) return;
  release(found.mapped().version.hash);
  retry(now);
}

// ---- reading --------------------------------------------------------------------------------------------------------

const Tensor* Tensors::find(const std::string& path) const {
  const auto found = tensors_.find(path);
  return found == tensors_.end() ? nullptr : &found->second;
}

bool Tensors::holds(const std::string& path, const trust::Digest& hash) const {
  const Tensor* tensor = find(path);
  return tensor != nullptr && (is(tensor->complete, hash) || is(tensor->pending, hash));
}

Result<TensorVersion> Tensors::complete_at(const std::string& path) const {
  const Tensor* tensor = find(path);
  if (tensor == nullptr) return fail(Code::kNotFound, "no tensor is at '{}'", path);
  if (tensor->complete) return *tensor->complete;
  if (tensor->refused) return fail(Code::kUnavailable, "'{}' is not fetched: {}", path, tensor->refused->message);
  const std::size_t chunks = tensor->pending->manifest.chunks.size();
  return fail(Code::kUnavailable, "'{}' is on its way: {} of {} chunks are here", path,
              chunks - missing(*tensor->pending), chunks);
}

Result<Bytes> Tensors::chunk(const std::string& path, const trust::Digest& hash, std::size_t number) const {
  const Tensor* tensor = find(path);
  if (tensor == nullptr || !tensor->complete) return fail(Code::kNotFound, "no tensor is complete at '{}'", path);
  if (tensor->complete->hash != hash) return fail(Code::kAborted, "'{}' was written meanwhile: read it again", path);
  const Manifest& manifest = tensor->complete->manifest;
  if (number >= manifest.chunks.size()) {
    return fail(Code::kOutOfRange, "'{}' has {} chunks, no number {}", path, manifest.chunks.size(), number);
  }
  return Bytes(*store_.find(manifest.name(number)));
}

// ---- the world ------------------------------------------------------------------------------------------------------

Status Tensors::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  const Status handled = exchange_.on_message(from, type, body, now);
  retry(now);
  return handled;
}

void Tensors::on_timer(Instant now) {
  std::vector<UploadId> over;
  for (const auto& [id, upload] : uploads_) {
    if (upload.until <= now) over.push_back(id);
  }
  for (const UploadId id : over) end(id, now);
  exchange_.on_timer(now);
}

Instant Tensors::next_deadline() const {
  Instant next = exchange_.next_deadline();
  if (look_) next = std::min(next, looked_ + kLookEvery);
  for (const auto& [id, upload] : uploads_) next = std::min(next, upload.until);
  return next;
}

void Tensors::on_durable(env::Lsn upto, Instant now) {
  const bool behind = store_.behind();
  store_.on_durable(upto);
  if (behind && !store_.behind()) exchange_.resume(now);
}

void Tensors::drain(env::Outbox& out) {
  store_.drain(out);
  std::ranges::move(records_, std::back_inserter(out.records));
  records_.clear();
  exchange_.drain(out);
}

}  // namespace sedge::mesh
