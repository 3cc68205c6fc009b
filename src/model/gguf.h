// GGUF: one file that holds a model's metadata, vocabulary and tensors.
//
// The problem: a model file is large and comes from anywhere. The idea: map it, walk its header once with every
// length checked against what is left, and keep views; metadata is decoded when it is asked for, tensors are
// never copied. Nothing is allocated by a count that the file claims and does not back with bytes.
// Rejected: decoding all metadata into variants (a 128k-token vocabulary becomes 128k strings nobody asked for);
// accepting what we cannot run (a quantized type we have no kernel for is refused at open, by name).
//
// Errors everywhere name the field and the byte offset. Codes: OutOfRange (truncated), DataLoss (contradictory),
// Unimplemented (a version or type that this build does not read), ResourceExhausted (over a limit).
// Source: docs/formats/gguf.md; the GGUF specification in the ggml repository (docs/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/dtype.h"
#include "model/mapped_file.h"

namespace sedge::model {

enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// One metadata entry: a checked view into the file. `payload` is the value's bytes: of a scalar its little-endian
// form, of a string its text, of an array its elements (strings each with their u64 length in front).
struct GgufEntry {
  std::string_view key;
  GgufType type = GgufType::kU8;     // kArray: see `element`
  GgufType element = GgufType::kU8;  // == type unless an array
  std::uint64_t count = 1;           // elements of an array, else 1
  std::uint64_t offset = 0;          // of the payload in the file
  Bytes payload;

  bool operator==(const GgufEntry& other) const;  // same key, types, count and bytes, wherever they stand

  // The value for a person: `"llama"`, `32`, `[2048 strings] "<unk>", "<s>", ...`; at most `width` characters or so.
  std::string describe(std::size_t width = 60) const;
};

struct TensorView {
  std::string name;
  DType type = DType::kF32;
  std::vector<std::uint64_t> shape;  // GGUF order: shape[0] is the row length, 1 to 4 dimensions, none zero
  Bytes data;                        // row-major, rows × row_bytes(type, shape[0]) exactly

  std::uint64_t cols() const { return shape.empty() ? 0 : shape[0]; }
  std::uint64_t rows() const;    // product of the other dimensions
  std::uint64_t values() const;  // cols × rows: cannot overflow in a view that a reader made
};

// "[128, 2048]"
std::string shape_text(std::span<const std::uint64_t> shape);

class GgufFile {
 public:
  // Of a model in several files (NAME-00001-of-00003.gguf) the first opens them all (gguf_shards.cc).
  static Result<GgufFile> open(const std::filesystem::path& path);

  // Borrows `file`, which must outlive the object and should be 32-byte aligned if tensor data is to be read as
  // numbers in place. For tests, fuzzing and files that came over the network.
  static Result<GgufFile> parse(Bytes file);
  // The same of a model in several parts, all of them and in order.
  static Result<GgufFile> parse(std::span<const Bytes> parts);

  std::span<const GgufEntry> metadata() const { return entries_; }
  std::span<const TensorView> tensors() const { return tensors_; }
  std::uint64_t file_bytes() const { return file_bytes_; }  // of all parts
  std::vector<Bytes> parts() const;                         // each file's bytes; none when they are borrowed
  std::vector<FileStamp> stamps() const;                    // the same files, when they were opened
  // Takes the pages of `part` of some file out of memory: they come again when touched. Nothing when they are borrowed.
  void forget(Bytes part) const;
  std::uint64_t alignment() const { return alignment_; }

  const GgufEntry* find(std::string_view key) const;           // nullptr: absent
  const TensorView* find_tensor(std::string_view name) const;  // nullptr: absent
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // Typed access. Errors: NotFound when absent; InvalidArgument when of another type or out of range.
  Result<std::string> get_string(std::string_view key) const;
  Result<std::uint64_t> get_uint(std::string_view key) const;  // any integer type, not negative
  Result<std::int64_t> get_int(std::string_view key) const;    // any integer type
  Result<double> get_float(std::string_view key) const;        // F32 or F64
  Result<bool> get_bool(std::string_view key) const;
  Result<std::vector<std::string>> get_strings(std::string_view key) const;
  Result<std::vector<std::int64_t>> get_ints(std::string_view key) const;  // any integer element type
  Result<std::vector<float>> get_floats(std::string_view key) const;       // F32 or F64 elements

 private:
  GgufFile() = default;
  friend class GgufReader;

  Status add_shards(const std::filesystem::path& path);
  Result<std::uint64_t> shards() const;
  Status add_shard(Bytes part, std::uint64_t index, std::uint64_t count);
  Status join_shards();
  Status index_tensors();

  std::vector<std::shared_ptr<const MappedFile>> mappings_;  // one a file; none when the bytes are borrowed
  std::vector<GgufEntry> entries_;                           // in file order
  std::vector<TensorView> tensors_;                          // in file order
  std::vector<std::uint32_t> by_key_;                        // indexes of entries_, sorted by key
  std::vector<std::uint32_t> by_name_;                       // indexes of tensors_, sorted by name
  std::uint64_t file_bytes_ = 0;
  std::uint64_t alignment_ = 32;
};

// Where a tensor's bytes go, piece by piece; a source pushes exactly the announced number of bytes.
using ByteSink = std::function<Status(Bytes)>;
using TensorSource = std::function<Status(const ByteSink&)>;

// Builds a GGUF v3 file: keys and tensors in the order they were given, alignment 32, the same input giving the
// same bytes. A key or tensor given twice, or a bad shape, is reported by write().
class GgufWriter {
 public:
  void set(std::string_view key, std::string_view value);
  void set(std::string_view key, const char* value) { set(key, std::string_view(value)); }
  void set(std::string_view key, std::uint32_t value);
  void set(std::string_view key, std::int32_t value);
  void set(std::string_view key, std::uint64_t value);
  void set(std::string_view key, float value);
  void set(std::string_view key, bool value);
  void set(std::string_view key, std::span<const std::string> values);
  void set(std::string_view key, std::span<const float> values);
  void set(std::string_view key, std::span<const std::int32_t> values);
  void copy(const GgufEntry& entry);  // as it stands in another file

  // The bytes are borrowed until write().
  void add_tensor(std::string name, DType type, std::vector<std::uint64_t> shape, Bytes data);
  // The bytes are made while writing, so that a large model passes through in pieces.
  void add_tensor(std::string name, DType type, std::vector<std::uint64_t> shape, TensorSource source);

  // Writes beside `path` and renames: there is never half a model under the name.
  // Errors: AlreadyExists (a key or tensor twice), InvalidArgument (a shape), Unknown with the system's reason, and
  //         whatever a source returns.
  Status write(const std::filesystem::path& path) const;
  Result<Buffer> to_bytes() const;

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::uint64_t> shape;
    TensorSource source;
  };
  Status write_to(const ByteSink& sink) const;
  Result<Buffer> header(std::span<const std::uint64_t> sizes) const;
  void put_entry(std::string_view key, GgufType type, Bytes value);
  void put_array(std::string_view key, GgufType element, std::uint64_t count, Bytes elements);

  std::vector<std::string> keys_;
  Buffer metadata_;  // the encoded key-value pairs
  std::vector<Tensor> tensors_;
};

}  // namespace sedge::model
