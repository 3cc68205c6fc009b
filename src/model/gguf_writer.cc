// Writing. The order of bytes is the order of calls; nothing else (time, locale, addresses) gets in, so the same
// calls give the same file. Tensors are laid out without gaps but for alignment, which stock readers insist on.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <system_error>

#include "model/gguf.h"
#include "model/gguf_types.h"

namespace sedge::model {
namespace {

template <class T>
void put(Buffer& out, T value) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

void put_bytes(Buffer& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void put_text(Buffer& out, std::string_view text) {
  put(out, static_cast<std::uint64_t>(text.size()));
  put_bytes(out, as_bytes(text));
}

template <class T>
Bytes bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

template <class T>
Bytes bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

std::uint64_t aligned(std::uint64_t size) { return (size + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

Bytes padding_after(std::uint64_t size) {
  static constexpr std::uint8_t kZeros[kGgufAlignment] = {};
  return Bytes(kZeros).first(static_cast<std::size_t>(aligned(size) - size));
}

template <class Names>
Status check_names(const Names& given, std::string_view what, std::size_t length_max) {
  std::vector<std::string_view> names(given.begin(), given.end());
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return fail(Code::kAlreadyExists, "{} '{}' is given twice", what, *twice);
  }
  for (const std::string_view name : names) {
    if (!name.empty() && name.size() <= length_max) continue;
    return fail(Code::kInvalidArgument, "{} '{}': 1 to {} bytes are allowed", what, name, length_max);
  }
  return {};
}

Result<std::uint64_t> tensor_bytes(const std::string& name, DType type, std::span<const std::uint64_t> shape) {
  if (shape.empty() || shape.size() > kGgufDimensionsMax || std::ranges::count(shape, 0u) != 0) {
    return fail(Code::kInvalidArgument, "tensor '{}': {} is no shape for a tensor", name, shape_text(shape));
  }
  auto size = row_bytes(type, shape[0]);
  if (!size) return in_context(fmt::format("tensor '{}'", name), size.error());
  for (const std::uint64_t dimension : shape.subspan(1)) {
    if (*size > std::numeric_limits<std::int64_t>::max() / dimension) {
      return fail(Code::kInvalidArgument, "tensor '{}': {} overflows", name, shape_text(shape));
    }
    *size *= dimension;
  }
  return size;
}

}  // namespace

void GgufWriter::put_entry(std::string_view key, GgufType type, Bytes value) {
  keys_.emplace_back(key);
  put_text(metadata_, key);
  put(metadata_, static_cast<std::uint32_t>(type));
  put_bytes(metadata_, value);
}

void GgufWriter::put_array(std::string_view key, GgufType element, std::uint64_t count, Bytes elements) {
  Buffer value;
  put(value, static_cast<std::uint32_t>(element));
  put(value, count);
  put_bytes(value, elements);
  put_entry(key, GgufType::kArray, value);
}

void GgufWriter::set(std::string_view key, std::string_view value) {
  Buffer text;
  put_text(text, value);
  put_entry(key, GgufType::kString, text);
}

void GgufWriter::set(std::string_view key, std::uint32_t value) { put_entry(key, GgufType::kU32, bytes_of(value)); }
void GgufWriter::set(std::string_view key, std::int32_t value) { put_entry(key, GgufType::kI32, bytes_of(value)); }
void GgufWriter::set(std::string_view key, std::uint64_t value) { put_entry(key, GgufType::kU64, bytes_of(value)); }
void GgufWriter::set(std::string_view key, float value) { put_entry(key, GgufType::kF32, bytes_of(value)); }

void GgufWriter::set(std::string_view key, bool value) {
  put_entry(key, GgufType::kBool, bytes_of(static_cast<std::uint8_t>(value)));
}

void GgufWriter::set(std::string_view key, std::span<const std::string> values) {
  Buffer elements;
  for (const std::string& value : values) put_text(elements, value);
  put_array(key, GgufType::kString, values.size(), elements);
}

void GgufWriter::set(std::string_view key, std::span<const float> values) {
  put_array(key, GgufType::kF32, values.size(), bytes_of(values));
}

void GgufWriter::set(std::string_view key, std::span<const std::int32_t> values) {
  put_array(key, GgufType::kI32, values.size(), bytes_of(values));
}

void GgufWriter::copy(const GgufEntry& entry) {
  if (entry.key == kAlignmentKey) return;  // ours is the default
  if (entry.type == GgufType::kArray) return put_array(entry.key, entry.element, entry.count, entry.payload);
  if (entry.type == GgufType::kString) return set(entry.key, as_text(entry.payload));
  put_entry(entry.key, entry.type, entry.payload);
}

void GgufWriter::add_tensor(std::string name, DType type, std::vector<std::uint64_t> shape, TensorSource source) {
  tensors_.push_back({std::move(name), type, std::move(shape), std::move(source)});
}

void GgufWriter::add_tensor(std::string name, DType type, std::vector<std::uint64_t> shape, Bytes data) {
  add_tensor(std::move(name), type, std::move(shape), [data](const ByteSink& sink) { return sink(data); });
}

Result<Buffer> GgufWriter::header(std::span<const std::uint64_t> sizes) const {
  Buffer out;
  put(out, kGgufMagic);
  put(out, kGgufVersion);
  put(out, static_cast<std::uint64_t>(tensors_.size()));
  put(out, static_cast<std::uint64_t>(keys_.size()));
  put_bytes(out, metadata_);
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    put_text(out, tensors_[i].name);
    put(out, static_cast<std::uint32_t>(tensors_[i].shape.size()));
    for (const std::uint64_t dimension : tensors_[i].shape) put(out, dimension);
    put(out, static_cast<std::uint32_t>(tensors_[i].type));
    put(out, offset);
    offset += aligned(sizes[i]);
  }
  put_bytes(out, padding_after(out.size()));
  return out;
}

Status GgufWriter::write_to(const ByteSink& sink) const {
  std::vector<std::string_view> names;
  std::vector<std::uint64_t> sizes;
  for (const Tensor& tensor : tensors_) {
    names.push_back(tensor.name);
    SEDGE_TRY(const std::uint64_t size, tensor_bytes(tensor.name, tensor.type, tensor.shape));
    sizes.push_back(size);
  }
  SEDGE_CHECK(check_names(keys_, "metadata key", kGgufKeyMax));
  SEDGE_CHECK(check_names(names, "tensor", kGgufNameMax - 1));  // stock readers keep a zero byte at the end
  SEDGE_TRY(const Buffer head, header(sizes));
  SEDGE_CHECK(sink(head));
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    std::uint64_t written = 0;
    const auto counted = [&](Bytes piece) -> Status {
      written += piece.size();
      if (written > sizes[i]) return fail(Code::kInvalidArgument, "gives more than its {} bytes", sizes[i]);
      return sink(piece);
    };
    if (auto status = tensors_[i].source(counted); !status) {
      return in_context(fmt::format("tensor '{}'", names[i]), std::move(status).error());
    }
    if (written != sizes[i]) {
      return fail(Code::kInvalidArgument, "tensor '{}': {} bytes given, {} {} needs {}", names[i], written,
                  dtype_name(tensors_[i].type), shape_text(tensors_[i].shape), sizes[i]);
    }
    SEDGE_CHECK(sink(padding_after(sizes[i])));
  }
  return {};
}

Result<Buffer> GgufWriter::to_bytes() const {
  Buffer out;
  SEDGE_CHECK(write_to([&out](Bytes piece) -> Status {
    put_bytes(out, piece);
    return {};
  }));
  return out;
}

Status GgufWriter::write(const std::filesystem::path& path) const {
  const std::filesystem::path part = path.string() + ".part";
  const auto failed = [&](int reason) {
    return fail(Code::kUnknown, "cannot write {}: {}", part.string(), std::strerror(reason));
  };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(part.c_str(), "wb"), std::fclose);
  if (!file) return failed(errno);
  auto status = write_to([&](Bytes piece) -> Status {
    if (std::fwrite(piece.data(), 1, piece.size(), file.get()) != piece.size()) return failed(errno);
    return {};
  });
  if (std::fclose(file.release()) != 0 && status) status = failed(errno);
  std::error_code error;
  if (status) {
    std::filesystem::rename(part, path, error);
    if (error) status = fail(Code::kUnknown, "cannot write {}: {}", path.string(), error.message());
  }
  if (!status) std::filesystem::remove(part, error);
  return status;
}

}  // namespace sedge::model
