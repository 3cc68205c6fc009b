// Reading. Two passes over the header: the first walks it and makes views, the second sorts them to find
// duplicates and overlaps. A count from the file is trusted only as far as the bytes left could hold that many
// of the smallest possible items, so memory stays a small multiple of the file's size.
#include "model/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "model/gguf_types.h"

namespace sedge::model {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read in place");

namespace {

template <class T>
T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Multiplies into `product`; false when it would not fit.
bool multiply(std::uint64_t& product, std::uint64_t factor) {
  if (factor != 0 && product > std::numeric_limits<std::uint64_t>::max() / factor) return false;
  product *= factor;
  return true;
}

// Bytes that an entry and a tensor description take at least: bounds for the counts.
constexpr std::uint64_t kEntryBytesMin = 8 + 4 + 1;
constexpr std::uint64_t kTensorBytesMin = 8 + 4 + 8 + 4 + 8;
constexpr std::uint64_t kAlignmentMax = 1 << 20;

}  // namespace

class GgufReader {
 public:
  explicit GgufReader(Bytes file) : file_(file) { out_.file_bytes_ = file.size(); }

  Result<GgufFile> read() {
    SEDGE_CHECK(read_header());
    for (std::uint64_t i = 0; i < entry_count_; ++i) SEDGE_CHECK(read_entry(i));
    SEDGE_CHECK(index_entries());
    SEDGE_CHECK(read_alignment());
    for (std::uint64_t i = 0; i < tensor_count_; ++i) SEDGE_CHECK(read_tensor(i));
    if (auto indexed = out_.index_tensors(); !indexed) {
      return fail(Code::kDataLoss, "{} (descriptions end at offset {})", indexed.error().message, at_);
    }
    SEDGE_CHECK(place_tensors());
    return std::move(out_);
  }

 private:
  // The next `size` bytes, named for the error when they are not there.
  Result<Bytes> take(std::uint64_t size, std::string_view field) {
    if (size > file_.size() - at_) {
      return fail(Code::kOutOfRange, "{} at offset {}: needs {} bytes, the file has {} left", field, at_, size,
                  file_.size() - at_);
    }
    const Bytes bytes = file_.subspan(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
    return bytes;
  }

  template <class T>
  Result<T> number(std::string_view field) {
    SEDGE_TRY(const Bytes bytes, take(sizeof(T), field));
    return load<T>(bytes.data());
  }

  Result<std::string_view> text(std::string_view field, std::uint64_t length_max) {
    const std::size_t start = at_;
    SEDGE_TRY(const auto length, number<std::uint64_t>(field));
    if (length > length_max) {
      return fail(Code::kDataLoss, "{} at offset {}: length {}, at most {} is allowed", field, start, length,
                  length_max);
    }
    SEDGE_TRY(const Bytes bytes, take(length, field));
    return as_text(bytes);
  }

  Result<std::uint64_t> count(std::string_view field, std::uint64_t bytes_min) {
    const std::size_t start = at_;
    SEDGE_TRY(const auto value, number<std::uint64_t>(field));
    if (value > (file_.size() - at_) / bytes_min) {
      return fail(Code::kOutOfRange, "{} at offset {}: {} cannot fit into the {} bytes left", field, start, value,
                  file_.size() - at_);
    }
    return value;
  }

  Status read_header();
  Status read_entry(std::uint64_t index);
  Status read_array(GgufEntry& entry, std::string_view field);
  Status read_payload(GgufEntry& entry, std::string_view field);
  Status index_entries();
  Status read_alignment();
  Status read_tensor(std::uint64_t index);
  Status read_shape(TensorView& tensor, std::string_view field);
  Status place_tensors();
  Status place_tensor(std::size_t index, std::uint64_t data_start);

  Bytes file_;
  std::size_t at_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t entry_count_ = 0;
  std::vector<std::uint64_t> tensor_offsets_;  // into the data section, as the file says
  GgufFile out_;
};

Status GgufReader::read_header() {
  SEDGE_TRY(const auto magic, number<std::uint32_t>("magic"));
  if (magic != kGgufMagic) return fail(Code::kDataLoss, "magic at offset 0: 0x{:08x} is not \"GGUF\"", magic);
  SEDGE_TRY(const auto version, number<std::uint32_t>("version"));
  if (version == std::byteswap(kGgufVersion)) {
    return fail(Code::kUnimplemented, "version at offset 4: a big-endian file; convert it to little-endian");
  }
  if (version != kGgufVersion) {
    return fail(Code::kUnimplemented, "version at offset 4: {}, this build reads {}", version, kGgufVersion);
  }
  SEDGE_TRY(tensor_count_, count("tensor count", kTensorBytesMin));
  SEDGE_TRY(entry_count_, count("metadata count", kEntryBytesMin));
  return {};
}

Status GgufReader::read_entry(std::uint64_t index) {
  const std::size_t start = at_;
  const std::string key_field = fmt::format("key of metadata entry {}", index);
  GgufEntry entry;
  SEDGE_TRY(entry.key, text(key_field, kGgufKeyMax));
  if (entry.key.empty()) return fail(Code::kDataLoss, "{} at offset {}: is empty", key_field, start);
  const std::string field = fmt::format("value of '{}'", entry.key);
  const std::size_t type_at = at_;
  SEDGE_TRY(const auto type, number<std::uint32_t>(field));
  const GgufTypeRow* row = find_gguf_type(type);
  if (row == nullptr) return fail(Code::kDataLoss, "{} at offset {}: {} is no value type", field, type_at, type);
  entry.type = entry.element = row->type;
  if (entry.type == GgufType::kArray) SEDGE_CHECK(read_array(entry, field));
  SEDGE_CHECK(read_payload(entry, field));
  out_.entries_.push_back(entry);
  return {};
}

Status GgufReader::read_array(GgufEntry& entry, std::string_view field) {
  const std::size_t start = at_;
  SEDGE_TRY(const auto type, number<std::uint32_t>(field));
  const GgufTypeRow* row = find_gguf_type(type);
  if (row == nullptr) return fail(Code::kDataLoss, "{} at offset {}: {} is no element type", field, start, type);
  if (row->type == GgufType::kArray) {
    return fail(Code::kUnimplemented, "{} at offset {}: arrays of arrays are not read", field, start);
  }
  entry.element = row->type;
  SEDGE_TRY(entry.count, count(field, row->bytes != 0 ? row->bytes : sizeof(std::uint64_t)));
  return {};
}

Status GgufReader::read_payload(GgufEntry& entry, std::string_view field) {
  constexpr std::uint64_t kAnyLength = std::numeric_limits<std::uint64_t>::max();
  entry.offset = at_;
  if (entry.type == GgufType::kString) {
    SEDGE_TRY(const std::string_view value, text(field, kAnyLength));
    entry.offset += sizeof(std::uint64_t);
    entry.payload = as_bytes(value);
    return {};
  }
  if (entry.element == GgufType::kString) {
    const std::size_t start = at_;
    for (std::uint64_t i = 0; i < entry.count; ++i) SEDGE_CHECK(text(field, kAnyLength));
    entry.payload = file_.subspan(start, at_ - start);
    return {};
  }
  SEDGE_TRY(entry.payload, take(entry.count * row_of(entry.element).bytes, field));
  if (entry.element != GgufType::kBool) return {};
  const auto bad = std::ranges::find_if(entry.payload, [](std::uint8_t flag) { return flag > 1; });
  if (bad == entry.payload.end()) return {};
  const auto at = entry.offset + static_cast<std::uint64_t>(bad - entry.payload.begin());
  return fail(Code::kDataLoss, "{} at offset {}: {} is neither true (1) nor false (0)", field, at, *bad);
}

Status GgufReader::index_entries() {
  auto& order = out_.by_key_;
  order.resize(out_.entries_.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto key = [this](std::uint32_t i) { return out_.entries_[i].key; };
  std::ranges::sort(order, {}, [&](std::uint32_t i) { return std::pair(key(i), i); });
  const auto twice = std::ranges::adjacent_find(order, {}, key);
  if (twice == order.end()) return {};
  return fail(Code::kDataLoss, "metadata key '{}' stands twice, the second value at offset {}", key(*twice),
              out_.entries_[*(twice + 1)].offset);
}

Status GgufReader::read_alignment() {
  if (!out_.has(kAlignmentKey)) return {};
  SEDGE_TRY(out_.alignment_, out_.get_uint(kAlignmentKey));
  if (std::has_single_bit(out_.alignment_) && out_.alignment_ >= 8 && out_.alignment_ <= kAlignmentMax) return {};
  return fail(Code::kDataLoss, "value of '{}' at offset {}: {} is not a power of two from 8 to {}", kAlignmentKey,
              out_.find(kAlignmentKey)->offset, out_.alignment_, kAlignmentMax);
}

Status GgufReader::read_tensor(std::uint64_t index) {
  const std::size_t start = at_;
  TensorView tensor;
  const std::string name_field = fmt::format("name of tensor {}", index);
  SEDGE_TRY(const std::string_view name, text(name_field, kGgufNameMax));
  if (name.empty()) return fail(Code::kDataLoss, "{} at offset {}: is empty", name_field, start);
  tensor.name = name;
  const std::string field = fmt::format("tensor '{}'", name);
  SEDGE_CHECK(read_shape(tensor, field));
  const std::size_t type_at = at_;
  SEDGE_TRY(const auto type, number<std::uint32_t>(field));
  const auto known = dtype_from_ggml(type);
  if (!known) return in_context(fmt::format("{} at offset {}", field, type_at), known.error());
  tensor.type = *known;
  SEDGE_TRY(const auto offset, number<std::uint64_t>(field));
  tensor_offsets_.push_back(offset);
  out_.tensors_.push_back(std::move(tensor));
  return {};
}

Status GgufReader::read_shape(TensorView& tensor, std::string_view field) {
  const std::size_t start = at_;
  SEDGE_TRY(const auto dimensions, number<std::uint32_t>(field));
  if (dimensions == 0 || dimensions > kGgufDimensionsMax) {
    return fail(Code::kDataLoss, "{} at offset {}: {} dimensions, 1 to {} are allowed", field, start, dimensions,
                kGgufDimensionsMax);
  }
  std::uint64_t values = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const std::size_t at = at_;
    SEDGE_TRY(const auto size, number<std::uint64_t>(field));
    // Signed 63 bits: what every other reader of the format can hold.
    if (size == 0 || !multiply(values, size) || values > std::numeric_limits<std::int64_t>::max()) {
      return fail(Code::kDataLoss, "{} at offset {}: dimension {} of {} is zero or makes the tensor too large", field,
                  at, i, size);
    }
    tensor.shape.push_back(size);
  }
  return {};
}

Status GgufReader::place_tensors() {
  const std::uint64_t data_start = (at_ + out_.alignment_ - 1) / out_.alignment_ * out_.alignment_;
  for (std::size_t i = 0; i < out_.tensors_.size(); ++i) SEDGE_CHECK(place_tensor(i, data_start));
  std::vector<std::uint32_t> order(out_.tensors_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [this](std::uint32_t i) { return std::pair(tensor_offsets_[i], i); });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const TensorView& before = out_.tensors_[order[i - 1]];
    const std::uint64_t end = tensor_offsets_[order[i - 1]] + before.data.size();
    if (end <= tensor_offsets_[order[i]]) continue;
    return fail(Code::kDataLoss, "tensors '{}' and '{}' overlap at offset {}", before.name,
                out_.tensors_[order[i]].name, data_start + tensor_offsets_[order[i]]);
  }
  return {};
}

Status GgufReader::place_tensor(std::size_t index, std::uint64_t data_start) {
  TensorView& tensor = out_.tensors_[index];
  const std::uint64_t offset = tensor_offsets_[index];
  const auto where = [&] { return fmt::format("tensor '{}' at data offset {}", tensor.name, offset); };
  auto size = row_bytes(tensor.type, tensor.cols());
  if (!size) return in_context(where(), size.error());
  if (!multiply(*size, tensor.rows())) return fail(Code::kOutOfRange, "{}: its size overflows", where());
  if (offset % out_.alignment_ != 0) {
    return fail(Code::kDataLoss, "{}: not a multiple of the alignment {}", where(), out_.alignment_);
  }
  const std::uint64_t available = file_.size() > data_start ? file_.size() - data_start : 0;
  if (offset > available || *size > available - offset) {
    return fail(Code::kOutOfRange, "{}: its {} bytes end past the {} bytes of data (data starts at offset {})", where(),
                *size, available, data_start);
  }
  tensor.data = file_.subspan(static_cast<std::size_t>(data_start + offset), static_cast<std::size_t>(*size));
  return {};
}

Result<GgufFile> GgufFile::parse(Bytes file) { return GgufReader(file).read(); }

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  SEDGE_TRY(auto mapping, MappedFile::open(path));
  auto file = parse(mapping->bytes());
  if (!file) return in_context(path.string(), file.error());
  file->mappings_.push_back(std::move(mapping));
  if (auto added = file->add_shards(path); !added) return in_context(path.string(), std::move(added).error());
  return file;
}

const GgufEntry* GgufFile::find(std::string_view key) const {
  const auto key_of = [this](std::uint32_t i) { return entries_[i].key; };
  const auto at = std::ranges::lower_bound(by_key_, key, {}, key_of);
  return at != by_key_.end() && key_of(*at) == key ? &entries_[*at] : nullptr;
}

const TensorView* GgufFile::find_tensor(std::string_view name) const {
  const auto name_of = [this](std::uint32_t i) -> std::string_view { return tensors_[i].name; };
  const auto at = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return at != by_name_.end() && name_of(*at) == name ? &tensors_[*at] : nullptr;
}

std::uint64_t TensorView::rows() const {
  return shape.empty() ? 0 : std::accumulate(shape.begin() + 1, shape.end(), std::uint64_t{1}, std::multiplies<>());
}

std::uint64_t TensorView::values() const { return cols() * rows(); }

std::string shape_text(std::span<const std::uint64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace sedge::model
