// The back end: lays out the GGUF and pulls every tensor through a buffer of about a megabyte.
#include "model/import.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <system_error>

#include "kernels/formats/books.h"
#include "model/import_source.h"

namespace sedge::model {
namespace {

constexpr std::uint64_t kPieceBytes = 1 << 20;

struct TargetRow {
  DType type;
  std::uint32_t file_type;  // general.file_type: llama.cpp's enum llama_ftype
  float magnitude_max;      // what the format holds without becoming infinite: of a block, scale's largest × integer's
};

// K-quants are named as stock tools name pure ones ("_S").
constexpr TargetRow kTargets[] = {
    {DType::kF32, 0, std::numeric_limits<float>::max()},
    {DType::kF16, 1, kernels::kF16Max},
    {DType::kQ4_0, 2, 8 * kernels::kF16Max},
    {DType::kQ8_0, 7, 127 * kernels::kF16Max},
    {DType::kBF16, 32, 0x1.fep127f},
    {DType::kQ4_1, 3, kernels::kF16Max},
    {DType::kQ5_0, 8, kernels::kF16Max},
    {DType::kQ5_1, 9, kernels::kF16Max},
    {DType::kQ2_K, 21, kernels::kF16Max},
    {DType::kQ3_K, 11, kernels::kF16Max},
    {DType::kQ4_K, 14, kernels::kF16Max},
    {DType::kQ5_K, 16, kernels::kF16Max},
    {DType::kQ6_K, 18, kernels::kF16Max},
    {DType::kIQ4_NL, 25, kernels::kF16Max},
    {DType::kIQ4_XS, 30, kernels::kF16Max},
    {DType::kMXFP4, 38, 0x1p126f},
    {DType::kTQ1_0, 36, kernels::kF16Max},
    {DType::kTQ2_0, 37, kernels::kF16Max},
    {DType::kIQ1_S, 24, kernels::kF16Max},
    {DType::kIQ1_M, 31, kernels::kF16Max},
    {DType::kIQ2_XXS, 19, kernels::kF16Max},
    {DType::kIQ2_XS, 20, kernels::kF16Max},
    {DType::kIQ2_S, 28, kernels::kF16Max},
    {DType::kIQ3_XXS, 23, kernels::kF16Max},
    {DType::kIQ3_S, 26, kernels::kF16Max},
};

const TargetRow& target_of(DType type) { return *std::ranges::find(kTargets, type, &TargetRow::type); }

// Vectors (norms, factors) are F32: tiny, and stock kernels ask for it.
DType target_type(const ImportTensor& tensor, const ImportOptions& options, std::size_t layers,
                  std::vector<std::string>& notes) {
  if (tensor.shape.size() == 1 || tensor.exact) return DType::kF32;
  if (!options.type) return tensor.type;
  const std::uint64_t cols = tensor.shape[0];
  const DType type = chosen_type(*options.type, tensor.name, cols, layers);
  // Any row is a whole number of bytes: what the choice is where blocks do not matter.
  const DType wanted = chosen_type(*options.type, tensor.name, 256, layers);
  if (type != wanted) {
    notes.push_back(fmt::format("{}: rows of {} values do not fit {} blocks, written as {}", tensor.name, cols,
                                dtype_name(wanted), dtype_name(type)));
  }
  return type;
}

std::size_t layers_of(const ImportSource& source) {
  std::size_t layers = 0;
  std::set<std::string_view> names;
  for (const ImportTensor& tensor : source.tensors) names.insert(tensor.name);
  while (names.contains(fmt::format("blk.{}.attn_norm.weight", layers))) ++layers;
  return layers;
}

// One tensor on its way: reads rows in the target's order, converts what differs.
class RowStream {
 public:
  RowStream(const ImportTensor& tensor, DType target)
      : tensor_(tensor),
        from_(kernels::format_of(tensor.type)),
        to_(kernels::format_of(target)),
        cols_(static_cast<std::size_t>(tensor.shape[0])),
        row_bytes_in_(cols_ / from_.block_values * from_.block_bytes),
        row_bytes_out_(cols_ / to_.block_values * to_.block_bytes),
        rows_(static_cast<std::size_t>(tensor.bytes()) / row_bytes_in_) {}

  Status run(const ByteSink& sink) {
    values_.resize(cols_);
    const std::size_t rows_a_piece = std::max<std::size_t>(1, kPieceBytes / row_bytes_out_);
    for (std::size_t row = 0; row < rows_; row += rows_a_piece) {
      const std::size_t count = std::min(rows_a_piece, rows_ - row);
      piece_.resize(count * row_bytes_out_);
      for (std::size_t i = 0; i < count; ++i) SEDGE_CHECK(convert(row + i, piece_.data() + i * row_bytes_out_));
      SEDGE_CHECK(sink(piece_));
    }
    return {};
  }

 private:
  const std::uint8_t* row_at(std::size_t row) const {
    const std::size_t a_piece = rows_ / tensor_.pieces.size();
    return tensor_.pieces[row / a_piece].data() + row % a_piece * row_bytes_in_;
  }

  // One value of each input row: the columns of a transposed matrix are our rows. Blocks of one value, as every type of
  // a foreign file has.
  void gather_column(std::size_t column) {
    column_.resize(cols_ * from_.block_bytes);
    for (std::size_t i = 0; i < cols_; ++i) {
      std::copy_n(tensor_.pieces[0].data() + (i * rows_ + column) * from_.block_bytes, from_.block_bytes,
                  column_.data() + i * from_.block_bytes);
    }
  }

  Status convert(std::size_t row, std::uint8_t* out) {
    const std::size_t source = tensor_.half_heads == 0 ? row : half_row(row, rows_ / tensor_.half_heads);
    if (tensor_.transposed) gather_column(source);
    const std::uint8_t* in = tensor_.transposed ? column_.data() : row_at(source);
    if (from_.type == to_.type && !tensor_.less_one) {
      std::copy_n(in, row_bytes_in_, out);
      return {};
    }
    from_.dequantize(in, values_.data(), cols_);
    if (tensor_.less_one) {
      for (float& value : values_) value += 1.0f;
    }
    const float max = target_of(to_.type).magnitude_max;
    const auto bad = std::ranges::find_if(values_, [max](float v) { return !(std::fabs(v) <= max); });
    if (bad != values_.end()) {
      return fail(Code::kInvalidArgument, "row {}, column {}: {} cannot be written as {}", source,
                  bad - values_.begin(), *bad, to_.name);
    }
    to_.quantize(values_.data(), out, cols_);
    return {};
  }

  const ImportTensor& tensor_;
  const kernels::Format& from_;
  const kernels::Format& to_;
  std::size_t cols_, row_bytes_in_, row_bytes_out_, rows_;
  std::vector<float> values_;
  Buffer piece_, column_;
};

Result<bool> begins_with_gguf(const std::filesystem::path& in) {
  SEDGE_TRY(const auto file, MappedFile::open(in));
  return as_text(file->bytes()).starts_with("GGUF");
}

Result<ImportSource> open_source(const std::filesystem::path& in, const ImportOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(in, error) || in.extension() == ".safetensors") return open_hf(in, options);
  SEDGE_TRY(const bool gguf, begins_with_gguf(in));
  return gguf ? open_gguf(in) : open_llama2c(in, options);
}

// The type most of the bytes have, by which tools name a file.
std::uint32_t file_type(const ImportSource& source, const std::vector<DType>& types, const ImportOptions& options) {
  if (options.type && options.type->more_bits) return options.type->type == DType::kQ4_K ? 15 : 17;
  std::size_t largest = 0;
  for (std::size_t i = 1; i < source.tensors.size(); ++i) {
    if (source.tensors[i].bytes() > source.tensors[largest].bytes()) largest = i;
  }
  return types.empty() ? 0 : target_of(types[largest]).file_type;
}

}  // namespace

std::size_t half_row(std::size_t row, std::size_t head_dim) {
  const std::size_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

Result<ImportSource> open_gguf(const std::filesystem::path& in) {
  SEDGE_TRY(GgufFile opened, GgufFile::open(in));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  ImportSource source;
  source.format = "GGUF";
  source.opened.push_back(file);
  for (const GgufEntry& entry : file->metadata()) {
    const bool of_parts = entry.key.starts_with("split.");  // what is written is one file
    if (of_parts || entry.key == "general.file_type" || entry.key == "general.quantization_version") continue;
    source.writer.copy(entry);
  }
  for (const TensorView& tensor : file->tensors()) {
    ImportTensor& made = source.tensors.emplace_back();
    made.name = tensor.name, made.type = tensor.type, made.shape = tensor.shape;
    made.pieces = {tensor.data};
    made.exact = tensor.name.ends_with(".ffn_gate_inp.weight") || tensor.name == "token_types.weight";
  }
  return source;
}

Result<ImportReport> import_model(const std::filesystem::path& in, const std::filesystem::path& out,
                                  const ImportOptions& options) {
  SEDGE_TRY(ImportSource source, open_source(in, options));
  ImportReport report{.source = source.format, .tensors = source.tensors.size(), .data_bytes = 0, .notes = {}};
  if (options.type && kernels::find_book(options.type->type) != nullptr) {
    report.notes.push_back(
        fmt::format("{} needs to know which weights matter, and nothing says so here: a file of the same type that was "
                    "made with an importance matrix is better",
                    dtype_name(options.type->type)));
  }
  std::vector<DType> types;
  const std::size_t layers = layers_of(source);
  for (const ImportTensor& tensor : source.tensors) types.push_back(target_type(tensor, options, layers, report.notes));
  source.writer.set("general.file_type", file_type(source, types, options));
  source.writer.set("general.quantization_version", std::uint32_t{2});
  std::uint64_t total = 0, done = 0;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const ImportTensor& tensor = source.tensors[i];
    SEDGE_TRY(const std::uint64_t bytes, row_bytes(types[i], tensor.shape[0]));
    SEDGE_TRY(const std::uint64_t bytes_in, row_bytes(tensor.type, tensor.shape[0]));
    total += tensor.bytes() / bytes_in * bytes;
    source.writer.add_tensor(tensor.name, types[i], tensor.shape, [&, target = types[i]](const ByteSink& sink) {
      return RowStream(tensor, target).run([&](Bytes piece) -> Status {
        done += piece.size();
        if (options.progress) options.progress(done, total);
        return sink(piece);
      });
    });
  }
  SEDGE_CHECK(source.writer.write(out));
  report.data_bytes = total;
  return report;
}

}  // namespace sedge::model
