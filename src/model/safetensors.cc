#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/json.h"

namespace sedge::model {
namespace {

constexpr std::string_view kWhat = "safetensors header";
constexpr std::size_t kDimensionsMax = 8;
constexpr std::uint64_t kPrefixBytes = 8;  // the header's length

struct DtypeRow {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<DType> type;
};

constexpr DtypeRow kDtypes[] = {
    {"F32", 4, DType::kF32}, {"F16", 2, DType::kF16}, {"BF16", 2, DType::kBF16},
    {"F64", 8, {}},          {"I64", 8, {}},          {"U64", 8, {}},
    {"I32", 4, {}},          {"U32", 4, {}},          {"I16", 2, {}},
    {"U16", 2, {}},          {"I8", 1, {}},           {"U8", 1, {}},
    {"BOOL", 1, {}},         {"F8_E4M3", 1, {}},      {"F8_E5M2", 1, {}},
};

Result<std::vector<std::uint64_t>> numbers(const json::Object& entry, std::string_view field, std::size_t count_max) {
  SEDGE_TRY(const json::Value* value, json::member(entry, field));
  const json::Array* array = value->if_array();
  if (array == nullptr || array->size() > count_max) {
    return fail(Code::kDataLoss, "field '{}' is not an array of at most {} numbers", field, count_max);
  }
  std::vector<std::uint64_t> out;
  for (const json::Value& element : *array) {
    const std::int64_t* number = element.if_int64();  // above 2^63 the parser gives a u64: no file has such a size
    if (number == nullptr || *number < 0) {
      return fail(Code::kDataLoss, "field '{}' [{}] is not a number from 0 to 2^63 - 1", field, out.size());
    }
    out.push_back(static_cast<std::uint64_t>(*number));
  }
  return out;
}

Result<std::uint64_t> bytes_needed(const DtypeRow& dtype, std::span<const std::uint64_t> shape) {
  std::uint64_t bytes = dtype.bytes;
  for (const std::uint64_t dimension : shape) {
    if (dimension != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / dimension) {
      return fail(Code::kDataLoss, "field 'shape' overflows");
    }
    bytes *= dimension;
  }
  return bytes;
}

Result<SafeTensor> read_tensor(const json::Value& value, Bytes data) {
  SEDGE_TRY(const json::Object* entry, json::as_object(value, "its entry"));
  SafeTensor tensor;
  SEDGE_TRY(tensor.dtype, json::get_string(*entry, "dtype"));
  const auto* dtype = std::ranges::find(kDtypes, tensor.dtype, &DtypeRow::name);
  if (dtype == std::end(kDtypes)) return fail(Code::kUnimplemented, "field 'dtype' '{}' is not known", tensor.dtype);
  tensor.type = dtype->type;
  SEDGE_TRY(tensor.shape, numbers(*entry, "shape", kDimensionsMax));
  SEDGE_TRY(const auto range, numbers(*entry, "data_offsets", 2));
  if (range.size() != 2 || range[0] > range[1]) {
    return fail(Code::kDataLoss, "field 'data_offsets' is not [begin, end]");
  }
  if (range[1] > data.size()) {
    return fail(Code::kOutOfRange, "field 'data_offsets' ends at {}, the file has {} bytes of data", range[1],
                data.size());
  }
  SEDGE_TRY(const std::uint64_t needed, bytes_needed(*dtype, tensor.shape));
  if (range[1] - range[0] != needed) {
    return fail(Code::kDataLoss, "field 'data_offsets' spans {} bytes, its shape needs {}", range[1] - range[0],
                needed);
  }
  tensor.data = data.subspan(static_cast<std::size_t>(range[0]), static_cast<std::size_t>(needed));
  return tensor;
}

// The tensors must tile the data exactly: an overlap is two names for one weight, a gap is smuggled bytes.
Status check_tiling(std::span<const SafeTensor> tensors, Bytes data) {
  const std::uint8_t* expected = data.data();
  for (const SafeTensor& tensor : tensors) {
    if (tensor.data.data() != expected) {
      return fail(Code::kDataLoss, "tensor '{}' begins at data offset {}, the one before ends at {}", tensor.name,
                  tensor.data.data() - data.data(), expected - data.data());
    }
    expected += tensor.data.size();
  }
  if (expected == data.data() + data.size()) return {};
  return fail(Code::kDataLoss, "the tensors end at data offset {}, the data at {}", expected - data.data(),
              data.size());
}

Result<std::string_view> header_of(Bytes file) {
  if (file.size() < kPrefixBytes) {
    return fail(Code::kOutOfRange, "header length at offset 0: needs 8 bytes, the file has {}", file.size());
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  if (length > SafetensorsFile::kHeaderBytesMax) {
    return fail(Code::kResourceExhausted, "header length at offset 0: {}, at most {} is read", length,
                SafetensorsFile::kHeaderBytesMax);
  }
  if (length > file.size() - kPrefixBytes) {
    return fail(Code::kOutOfRange, "header at offset 8: needs {} bytes, the file has {} left", length,
                file.size() - kPrefixBytes);
  }
  return as_text(file.subspan(kPrefixBytes, static_cast<std::size_t>(length)));
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::parse(Bytes file) {
  SEDGE_TRY(const std::string_view header, header_of(file));
  SEDGE_TRY(const json::Value document, json::parse(header, kWhat, {.depth_max = 4, .bytes_max = kHeaderBytesMax}));
  SEDGE_CHECK(json::check_unique_names(header, kWhat));
  SEDGE_TRY(const json::Object* entries, json::as_object(document, kWhat));
  const Bytes data = file.subspan(kPrefixBytes + header.size());
  SafetensorsFile out;
  for (const auto& [name, value] : *entries) {
    if (name == "__metadata__") continue;  // free text
    auto tensor = read_tensor(value, data);
    if (!tensor) return in_context(fmt::format("{}: tensor '{}'", kWhat, std::string(name)), tensor.error());
    tensor->name = std::string(name);
    out.tensors_.push_back(std::move(*tensor));
  }
  // An empty tensor shares its address with the next one and comes first, so that the tiling stays a chain.
  std::ranges::sort(out.tensors_, {}, [](const SafeTensor& t) {
    return std::tuple(t.data.data(), t.data.size(), std::string_view(t.name));
  });
  if (auto status = check_tiling(out.tensors_, data); !status) return in_context(kWhat, status.error());
  out.by_name_.resize(out.tensors_.size());
  std::iota(out.by_name_.begin(), out.by_name_.end(), 0u);
  std::ranges::sort(out.by_name_, {}, [&](std::uint32_t i) -> std::string_view { return out.tensors_[i].name; });
  return out;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  SEDGE_TRY(auto mapping, MappedFile::open(path));
  auto file = parse(mapping->bytes());
  if (!file) return in_context(path.string(), file.error());
  file->mapping_ = std::move(mapping);
  return file;
}

const SafeTensor* SafetensorsFile::find(std::string_view name) const {
  const auto name_of = [this](std::uint32_t i) -> std::string_view { return tensors_[i].name; };
  const auto at = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return at != by_name_.end() && name_of(*at) == name ? &tensors_[*at] : nullptr;
}

}  // namespace sedge::model
