// One model in several files: NAME-00001-of-00003.gguf and its neighbours. The first holds the metadata; each says
// which part it is (split.no, from 0) of how many (split.count). Opening the first opens all, as one file's tensors.
// Source: llama.cpp's gguf-split.
#include <algorithm>
#include <numeric>

#include "model/gguf.h"

namespace sedge::model {
namespace {

constexpr std::uint64_t kShardsMax = 999;

// "-00002-of-00003.gguf"
std::string shard_suffix(std::uint64_t index, std::uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", index + 1, count);
}

Result<std::uint64_t> uint_or(const GgufFile& file, std::string_view key, std::uint64_t otherwise) {
  if (!file.has(key)) return otherwise;
  return file.get_uint(key);
}

}  // namespace

// Of how many parts this is the first.
Result<std::uint64_t> GgufFile::shards() const {
  SEDGE_TRY(const std::uint64_t count, uint_or(*this, "split.count", 1));
  if (count <= 1) return std::uint64_t{1};
  if (count > kShardsMax) return fail(Code::kDataLoss, "split.count is {}, at most {} are read", count, kShardsMax);
  SEDGE_TRY(const std::uint64_t number, uint_or(*this, "split.no", 0));
  if (number == 0) return count;
  return fail(Code::kInvalidArgument, "this is part {} of {}: name the first, which ends with '{}'", number + 1, count,
              shard_suffix(0, count));
}

Status GgufFile::add_shard(Bytes part, std::uint64_t index, std::uint64_t count) {
  SEDGE_TRY(GgufFile shard, parse(part));
  SEDGE_TRY(const std::uint64_t its_number, shard.get_uint("split.no"));
  SEDGE_TRY(const std::uint64_t its_count, shard.get_uint("split.count"));
  if (its_number != index || its_count != count) {
    return fail(Code::kDataLoss, "says that it is part {} of {}, not {} of {}", its_number + 1, its_count, index + 1,
                count);
  }
  file_bytes_ += shard.file_bytes_;
  std::ranges::move(shard.tensors_, std::back_inserter(tensors_));
  return {};
}

Status GgufFile::join_shards() {
  SEDGE_TRY(const std::uint64_t tensors, uint_or(*this, "split.tensors.count", tensors_.size()));
  if (tensors != tensors_.size()) {
    return fail(Code::kDataLoss, "split.tensors.count is {}, the parts hold {}", tensors, tensors_.size());
  }
  return index_tensors();
}

Status GgufFile::add_shards(const std::filesystem::path& path) {
  SEDGE_TRY(const std::uint64_t count, shards());
  if (count == 1) return {};
  const std::string name = path.filename().string(), own = shard_suffix(0, count);
  if (!name.ends_with(own)) {
    return fail(Code::kInvalidArgument, "the first of {} parts must be named '...{}', or the others cannot be found",
                count, own);
  }
  const std::string stem = name.substr(0, name.size() - own.size());
  for (std::uint64_t index = 1; index < count; ++index) {
    const std::filesystem::path neighbour = path.parent_path() / (stem + shard_suffix(index, count));
    const auto take = [&]() -> Status {
      SEDGE_TRY(auto mapping, MappedFile::open(neighbour));
      SEDGE_CHECK(add_shard(mapping->bytes(), index, count));
      mappings_.push_back(std::move(mapping));
      return {};
    };
    if (auto taken = take(); !taken) return in_context(neighbour.string(), std::move(taken).error());
  }
  return join_shards();
}

Result<GgufFile> GgufFile::parse(std::span<const Bytes> parts) {
  if (parts.empty()) return fail(Code::kInvalidArgument, "no part of a model");
  SEDGE_TRY(GgufFile file, parse(parts.front()));
  SEDGE_TRY(const std::uint64_t count, file.shards());
  if (count != parts.size()) return fail(Code::kDataLoss, "{} parts of {}", parts.size(), count);
  for (std::uint64_t index = 1; index < count; ++index) {
    auto added = file.add_shard(parts[static_cast<std::size_t>(index)], index, count);
    if (!added) return in_context(fmt::format("part {}", index + 1), std::move(added).error());
  }
  SEDGE_CHECK(file.join_shards());
  return file;
}

std::vector<Bytes> GgufFile::parts() const {
  std::vector<Bytes> parts;
  for (const auto& mapping : mappings_) parts.push_back(mapping->bytes());
  return parts;
}

std::vector<FileStamp> GgufFile::stamps() const {
  std::vector<FileStamp> stamps;
  for (const auto& mapping : mappings_) stamps.push_back(mapping->stamp());
  return stamps;
}

void GgufFile::forget(Bytes part) const {
  for (const auto& mapping : mappings_) {
    const Bytes file = mapping->bytes();
    if (part.data() >= file.data() && part.data() < file.data() + file.size()) mapping->forget(part);
  }
}

Status GgufFile::index_tensors() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  const auto name = [this](std::uint32_t i) -> std::string_view { return tensors_[i].name; };
  std::ranges::sort(by_name_, {}, [&](std::uint32_t i) { return std::pair(name(i), i); });
  const auto twice = std::ranges::adjacent_find(by_name_, {}, name);
  if (twice == by_name_.end()) return {};
  return fail(Code::kDataLoss, "tensor '{}' stands twice, as tensor {} and tensor {}", name(*twice), *twice,
              *(twice + 1));
}

}  // namespace sedge::model
