#include "train/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/prng.h"
#include "model/safetensors.h"

namespace sedge::train {
namespace {

constexpr std::string_view kFormat = "sedge-checkpoint/1";

std::unexpected<Error> system_failure(const std::filesystem::path& path, const char* what) {
  return fail(Code::kUnknown, "{}: cannot {}: {}", path.string(), what, std::strerror(errno));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

bool write_all(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

Bytes bytes_of(std::span<const float> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

// docs/formats/checkpoint.md §3.
std::string digest(std::span<const NamedTensor> tensors) {
  std::uint64_t state = 0;
  for (const NamedTensor& tensor : tensors) {
    for (const float value : tensor.values) state = splitmix64(state) ^ std::bit_cast<std::uint32_t>(value);
  }
  return fmt::format("{:016x}", state);
}

// Tensors of the three flat arrays, in the order of the file.
std::vector<NamedTensor> tensors_of(const Checkpoint& c) {
  std::vector<NamedTensor> tensors;
  const std::vector<WeightSlot> slots = weight_slots(c.net);
  for (const auto& [prefix, flat] : {std::pair("weights", &c.weights), {"m", &c.m}, {"v", &c.v}}) {
    for (const WeightSlot& slot : slots) {
      tensors.push_back({fmt::format("{}.{}", prefix, slot.name),
                         {slot.rows, slot.cols},
                         std::span(*flat).subspan(slot.offset, slot.count())});
    }
  }
  return tensors;
}

constexpr std::pair<const char*, std::size_t NetConfig::*> kSizes[] = {
    {"dim", &NetConfig::dim},           {"layers", &NetConfig::layers}, {"heads", &NetConfig::heads},
    {"kv_heads", &NetConfig::kv_heads}, {"ffn", &NetConfig::ffn},       {"vocab", &NetConfig::vocab},
    {"context", &NetConfig::context}};
constexpr std::pair<const char*, float NetConfig::*> kReals[] = {{"rope_base", &NetConfig::rope_base},
                                                                 {"epsilon", &NetConfig::epsilon}};

template <class Number>
Status get_number(const json::Object& metadata, const char* key, Number& number) {
  SEDGE_TRY(const std::string text, json::get_string(metadata, key));
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return fail(Code::kDataLoss, "metadata '{}' is '{}', not a number", key, text);
}

// What a hostile or damaged header may ask for at most, before any memory is taken.
Status check_sizes(const NetConfig& c) {
  constexpr std::size_t kSizeMax = 1 << 18;
  for (const auto& [key, size] : kSizes) {
    if (c.*size == 0 || c.*size > kSizeMax) return fail(Code::kDataLoss, "metadata '{}' is {}", key, c.*size);
  }
  if (c.layers > 1024 || c.dim % c.heads != 0 || c.heads % c.kv_heads != 0) {
    return fail(Code::kDataLoss, "metadata: {} layers, dim {}, {} heads, {} kv_heads are no network", c.layers, c.dim,
                c.heads, c.kv_heads);
  }
  return {};
}

// The header's "__metadata__": SafetensorsFile has already held the file to its format.
Result<json::Value> read_metadata(const std::filesystem::path& path) {
  SEDGE_TRY(const std::shared_ptr<const model::MappedFile> file, model::MappedFile::open(path));
  std::uint64_t length = 0;
  if (file->bytes().size() < sizeof length) return fail(Code::kOutOfRange, "the header is cut off");
  std::memcpy(&length, file->bytes().data(), sizeof length);
  if (length > file->bytes().size() - sizeof length) return fail(Code::kOutOfRange, "the header is cut off");
  SEDGE_TRY(const json::Value header, json::parse(as_text(file->bytes().subspan(sizeof length, length)), "header"));
  SEDGE_TRY(const json::Object* object, json::as_object(header, "header"));
  SEDGE_TRY(const json::Value* metadata, json::member(*object, "__metadata__"));
  return *metadata;
}

Result<Checkpoint> read_header(const json::Object& metadata) {
  Checkpoint c;
  SEDGE_TRY(const std::string format, json::get_string(metadata, "format"));
  if (format != kFormat) return fail(Code::kDataLoss, "metadata 'format' is '{}', not {}", format, kFormat);
  for (const auto& [key, at] : kSizes) SEDGE_CHECK(get_number(metadata, key, c.net.*at));
  for (const auto& [key, at] : kReals) SEDGE_CHECK(get_number(metadata, key, c.net.*at));
  SEDGE_CHECK(check_sizes(c.net));
  SEDGE_CHECK(get_number(metadata, "step", c.step));
  SEDGE_CHECK(get_number(metadata, "epoch", c.position.epoch));
  SEDGE_CHECK(get_number(metadata, "next", c.position.next));
  SEDGE_TRY(c.fingerprint, json::get_string(metadata, "fingerprint"));
  SEDGE_TRY(c.tokenizer, json::get_string(metadata, "tokenizer"));
  SEDGE_TRY(c.tokenizer_config, json::get_string(metadata, "tokenizer_config"));
  return c;
}

// Tensors first, memory second: the sizes in the header are believed only as far as the file backs them.
Status read_tensors(const model::SafetensorsFile& file, Checkpoint& c) {
  const std::vector<WeightSlot> slots = weight_slots(c.net);
  for (const auto& [prefix, flat] : {std::pair("weights", &c.weights), {"m", &c.m}, {"v", &c.v}}) {
    for (const WeightSlot& slot : slots) {
      const std::string name = fmt::format("{}.{}", prefix, slot.name);
      const model::SafeTensor* tensor = file.find(name);
      if (tensor == nullptr) return fail(Code::kDataLoss, "tensor '{}' is missing", name);
      const std::vector<std::uint64_t> shape{slot.rows, slot.cols};
      if (tensor->type != model::DType::kF32 || tensor->shape != shape) {
        return fail(Code::kDataLoss, "tensor '{}' is not F32 [{}, {}]", name, slot.rows, slot.cols);
      }
      if (flat->size() < slot.offset + slot.count()) flat->resize(slot.offset + slot.count());
      std::memcpy(flat->data() + slot.offset, tensor->data.data(), tensor->data.size());
    }
    flat->resize(weight_count(c.net));
  }
  return {};
}

Result<Checkpoint> read(const std::filesystem::path& path) {
  SEDGE_TRY(const model::SafetensorsFile file, model::SafetensorsFile::open(path));
  SEDGE_TRY(const json::Value metadata, read_metadata(path));
  SEDGE_TRY(const json::Object* object, json::as_object(metadata, "__metadata__"));
  SEDGE_TRY(Checkpoint checkpoint, read_header(*object));
  SEDGE_CHECK(read_tensors(file, checkpoint));
  SEDGE_TRY(const std::string expected, json::get_string(*object, "digest"));
  if (const std::string found = digest(tensors_of(checkpoint)); found != expected) {
    return fail(Code::kDataLoss, "the tensors' digest is {}, the header says {}", found, expected);
  }
  return checkpoint;
}

}  // namespace

Status write_file_atomically(const std::filesystem::path& path, std::span<const Bytes> parts) {
  const std::filesystem::path beside = path.string() + ".part";
  {
    const FileDescriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) return system_failure(beside, "create");
    for (const Bytes part : parts) {
      if (!write_all(file.get(), part)) return system_failure(beside, "write");
    }
    if (::fsync(file.get()) != 0) return system_failure(beside, "sync");
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return system_failure(path, "rename to");
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const FileDescriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return system_failure(folder, "sync");
  return {};
}

Status write_safetensors(const std::filesystem::path& path, const Metadata& metadata,
                         std::span<const NamedTensor> tensors) {
  json::Object header, described;
  for (const auto& [key, value] : metadata) described.emplace(key, value);
  if (!described.empty()) header.emplace("__metadata__", std::move(described));
  std::vector<Bytes> parts(2);
  std::uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    const std::uint64_t end = offset + tensor.values.size_bytes();
    header.emplace(tensor.name, json::Object{{"dtype", "F32"},
                                             {"shape", json::Array(tensor.shape.begin(), tensor.shape.end())},
                                             {"data_offsets", json::Array{offset, end}}});
    offset = end;
    parts.push_back(bytes_of(tensor.values));
  }
  std::string text = json::write(header);
  text.append((8 - text.size() % 8) % 8, ' ');  // tensors start on 8 bytes
  const auto length = static_cast<std::uint64_t>(text.size());
  parts[0] = {reinterpret_cast<const std::uint8_t*>(&length), sizeof length};
  parts[1] = as_bytes(text);
  return write_file_atomically(path, parts);
}

Status write_checkpoint(const std::filesystem::path& path, const Checkpoint& c) {
  const std::vector<NamedTensor> tensors = tensors_of(c);
  Metadata metadata{{"format", std::string(kFormat)},
                    {"step", fmt::format("{}", c.step)},
                    {"epoch", fmt::format("{}", c.position.epoch)},
                    {"next", fmt::format("{}", c.position.next)},
                    {"fingerprint", c.fingerprint},
                    {"tokenizer", c.tokenizer},
                    {"tokenizer_config", c.tokenizer_config},
                    {"digest", digest(tensors)}};
  for (const auto& [key, at] : kSizes) metadata.emplace_back(key, fmt::format("{}", c.net.*at));
  for (const auto& [key, at] : kReals) metadata.emplace_back(key, fmt::format("{}", c.net.*at));
  return write_safetensors(path, metadata, tensors);
}

Result<Checkpoint> read_checkpoint(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return fail(Code::kNotFound, "{}: no checkpoint there", path.string());
  Result<Checkpoint> checkpoint = read(path);
  if (!checkpoint) return in_context(path.string(), std::move(checkpoint).error());
  return checkpoint;
}

}  // namespace sedge::train
