// llama2.c checkpoints: a header of seven integers and the weights as F32 in a fixed order. The first layout has no
// magic, so it is recognised by its sizes adding up to the file's length to the byte; the second ("ak42", version 1)
// has the norms in front. Neither stores RMSNorm's epsilon (1e-5) nor RoPE's base (10000): the program fixes them.
// Its rows are Meta's, neighbours rotating together: what arch "llama" wants, so nothing is reordered.
// Source: docs/formats/llama2c.md; karpathy/llama2.c, run.c (memory_map_weights) and export.py.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "model/import_source.h"
#include "model/llama_tensors.h"

namespace sedge::model {
namespace {

constexpr std::uint32_t kMagic = 0x616b3432;  // "ak42"
constexpr std::size_t kVersion1HeaderBytes = 256;

// One stretch of the file: a matrix of the model, or one tensor of every layer in turn.
struct Stretch {
  const LlamaTensorRow<LlamaWeights>* model = nullptr;
  const LlamaTensorRow<LlamaLayer>* layer = nullptr;
};

constexpr Stretch whole(const LlamaTensorRow<LlamaWeights>& row) { return {&row, nullptr}; }
constexpr Stretch layers(std::string_view name) {
  for (const auto& row : kLayerRows) {
    if (row.gguf == name) return {nullptr, &row};
  }
  throw "no such row";  // at compile time only
}

constexpr Stretch kVersion0[] = {
    whole(kEmbeddingRow), layers("attn_norm"),   layers("attn_q"),      layers("attn_k"),
    layers("attn_v"),     layers("attn_output"), layers("ffn_norm"),    layers("ffn_gate"),
    layers("ffn_down"),   layers("ffn_up"),      whole(kOutputNormRow),
};
constexpr Stretch kVersion1[] = {
    layers("attn_norm"), layers("ffn_norm"), whole(kOutputNormRow), whole(kEmbeddingRow),
    layers("attn_q"),    layers("attn_k"),   layers("attn_v"),      layers("attn_output"),
    layers("ffn_gate"),  layers("ffn_down"), layers("ffn_up"),
};

struct Header {
  std::int32_t dim, ffn_dim, layers, heads, kv_heads, vocab, context;
};
static_assert(sizeof(Header) == 28);

class Checkpoint {
 public:
  explicit Checkpoint(Bytes file) : file_(file) {}

  Result<Llama2cCheckpoint> read() {
    SEDGE_TRY(const std::uint32_t version, read_version());
    SEDGE_CHECK(read_header(version));
    const std::span<const Stretch> order = version == 0 ? std::span(kVersion0) : std::span(kVersion1);
    for (const Stretch& stretch : order) SEDGE_CHECK(take(stretch));
    if (version == 0) SEDGE_CHECK(skip_rotation_tables());
    if (!out_.config.tied) SEDGE_CHECK(take(whole(kOutputRow)));
    if (at_ != file_.size()) {
      return fail(Code::kDataLoss, "{} bytes follow the last weight at offset {}: not a llama2.c checkpoint",
                  file_.size() - at_, at_);
    }
    return std::move(out_);
  }

 private:
  template <class T>
  Result<T> value(std::string_view field) {
    SEDGE_TRY(const Bytes bytes, bytes_of(sizeof(T), field));
    T number;
    std::memcpy(&number, bytes.data(), sizeof number);
    return number;
  }

  Result<Bytes> bytes_of(std::uint64_t size, std::string_view field) {
    if (size > file_.size() - at_) {
      return fail(Code::kOutOfRange, "{} at offset {}: needs {} bytes, the file has {} left", field, at_, size,
                  file_.size() - at_);
    }
    const Bytes bytes = file_.subspan(at_, static_cast<std::size_t>(size));
    at_ += bytes.size();
    return bytes;
  }

  Result<std::uint32_t> read_version() {
    SEDGE_TRY(const auto magic, value<std::uint32_t>("header"));
    if (magic != kMagic) {
      at_ = 0;
      return 0u;
    }
    SEDGE_TRY(const auto version, value<std::uint32_t>("version"));
    if (version == 1) return version;
    return fail(Code::kUnimplemented, "version at offset 4: {} (the F32 exports, 0 and 1, are read)", version);
  }

  Status read_header(std::uint32_t version) {
    const std::size_t start = at_;
    SEDGE_TRY(const auto header, value<Header>("header"));
    LlamaConfig& config = out_.config;
    config.tied = header.vocab > 0;  // version 0 marks a separate head by a negative vocabulary
    const std::int64_t vocab = std::abs(static_cast<std::int64_t>(header.vocab));
    if (version == 1) {
      SEDGE_TRY(const auto shared, value<std::uint8_t>("shared classifier"));
      config.tied = shared != 0;
      SEDGE_CHECK(bytes_of(kVersion1HeaderBytes - at_, "header"));
    }
    const auto size = [](std::int64_t number) { return static_cast<std::size_t>(std::max<std::int64_t>(number, 0)); };
    config.arch = "llama";
    config.dim = size(header.dim);
    config.ffn_dim = size(header.ffn_dim);
    config.layers = size(header.layers);
    config.heads = size(header.heads);
    config.kv_heads = size(header.kv_heads);
    config.vocab = size(vocab);
    config.context = size(header.context);
    config.head_dim = config.rope_dim = config.heads == 0 ? 0 : config.dim / config.heads;
    const auto where = fmt::format("llama2.c header at offset {}", start);
    if (auto status = check_llama_config(config); !status) return in_context(where, status.error());
    if (config.q_dim() == config.dim) return {};
    return fail(Code::kDataLoss, "{}: width {} is not a multiple of {} heads", where, config.dim, config.heads);
  }

  Status take(const Stretch& stretch) {
    if (stretch.model != nullptr) return take(*stretch.model, gguf_name(*stretch.model));
    for (std::size_t i = 0; i < out_.config.layers; ++i)
      SEDGE_CHECK(take(*stretch.layer, gguf_name(*stretch.layer, i)));
    return {};
  }

  template <class Owner>
  Status take(const LlamaTensorRow<Owner>& row, std::string name) {
    auto shape = shape_of(row, out_.config);
    std::uint64_t bytes = sizeof(float);
    for (const std::uint64_t dimension : shape) bytes *= dimension;  // check_llama_config: cannot overflow
    SEDGE_TRY(const Bytes data, bytes_of(bytes, name));
    out_.tensors.push_back({std::move(name), DType::kF32, std::move(shape), {data}});
    return {};
  }

  // Sines and cosines for each position, from a time when the program did not compute them.
  Status skip_rotation_tables() {
    const std::uint64_t values = out_.config.context * (out_.config.head_dim / 2) * 2;
    SEDGE_CHECK(bytes_of(values * sizeof(float), "rotation tables"));
    return {};
  }

  Bytes file_;
  std::size_t at_ = 0;
  Llama2cCheckpoint out_;
};

// Beside the checkpoint: tok512.bin for a vocabulary of 512, or tokenizer.bin.
Result<std::filesystem::path> find_tokenizer(const std::filesystem::path& in, std::size_t vocab) {
  const auto directory = in.parent_path();
  for (const std::string& name : {fmt::format("tok{}.bin", vocab), std::string("tokenizer.bin")}) {
    std::error_code error;
    if (std::filesystem::exists(directory / name, error)) return directory / name;
  }
  return fail(Code::kNotFound, "{}: neither tok{}.bin nor tokenizer.bin stands beside it (or give --tokenizer)",
              in.string(), vocab);
}

}  // namespace

Result<Llama2cCheckpoint> parse_llama2c(Bytes file) { return Checkpoint(file).read(); }

Result<ImportSource> open_llama2c(const std::filesystem::path& in, const ImportOptions& options) {
  SEDGE_TRY(const auto file, MappedFile::open(in));
  auto checkpoint = parse_llama2c(file->bytes());
  if (!checkpoint) return in_context(fmt::format("{}: read as a llama2.c checkpoint", in.string()), checkpoint.error());
  checkpoint->config.name = options.name.empty() ? in.stem().string() : options.name;
  std::filesystem::path tokenizer = options.tokenizer;
  if (tokenizer.empty()) {
    SEDGE_TRY(tokenizer, find_tokenizer(in, checkpoint->config.vocab));
  }
  SEDGE_TRY(Vocab vocab, open_vocab(tokenizer, {}, checkpoint->config.vocab));
  SEDGE_CHECK(pad_vocab(vocab, checkpoint->config.vocab));
  ImportSource source;
  source.format = "llama2.c checkpoint";
  source.opened.push_back(file);
  write_llama_config(source.writer, checkpoint->config);
  write_vocab(source.writer, vocab);
  source.tensors = std::move(checkpoint->tensors);
  return source;
}

}  // namespace sedge::model
