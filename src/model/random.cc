#include "model/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/prng.h"
#include "kernels/formats/formats.h"
#include "model/gguf.h"
#include "model/llama_tensors.h"
#include "model/vocab.h"

namespace sedge::model {
namespace {

struct Shape {
  std::string_view name;
  std::size_t layers, dim, heads, kv_heads, ffn_dim, vocab, context;
  float rope_base;
  bool tied;
};

constexpr Shape kShapes[] = {
    {"tiny", 2, 64, 4, 2, 96, 512, 256, 10000.0f, true},
    {"SmolLM2-135M", 30, 576, 9, 3, 1536, 49152, 8192, 100000.0f, true},
    {"Qwen2.5-0.5B", 24, 896, 14, 2, 4864, 151936, 32768, 1000000.0f, true},
    {"TinyLlama-1.1B", 22, 2048, 32, 4, 5632, 32000, 2048, 10000.0f, false},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kShapes)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kShapes[i].name;
  return names;
}();

LlamaConfig config_of(const Shape& shape) {
  LlamaConfig config;
  config.arch = "llama";
  config.name = fmt::format("random {}", shape.name);
  config.layers = shape.layers, config.dim = shape.dim;
  config.heads = shape.heads, config.kv_heads = shape.kv_heads;
  config.head_dim = config.rope_dim = shape.dim / shape.heads;
  config.ffn_dim = shape.ffn_dim, config.vocab = shape.vocab, config.context = shape.context;
  config.rope_base = shape.rope_base, config.tied = shape.tied;
  return config;
}

// Bytes, and words that no text spells: as many as the shape has.
Vocab vocab_of(std::size_t size) {
  Vocab vocab;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.types = {static_cast<std::int32_t>(TokenType::kUnknown), static_cast<std::int32_t>(TokenType::kControl),
                 static_cast<std::int32_t>(TokenType::kControl)};
  for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  vocab.types.resize(vocab.tokens.size(), static_cast<std::int32_t>(TokenType::kByte));
  while (vocab.tokens.size() < size) vocab.tokens.push_back(fmt::format("\u2581w{}", vocab.tokens.size()));
  vocab.types.resize(size, static_cast<std::int32_t>(TokenType::kNormal));
  vocab.scores.assign(size, 0.0f);
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2, vocab.add_bos = true;
  return vocab;
}

// A vector near 1 (a norm), or rows uniform within ±sqrt(3 / cols), so that a product keeps the size of its input.
class RandomTensor {
 public:
  RandomTensor(std::vector<std::uint64_t> shape, DType type, std::uint64_t seed)
      : cols_(static_cast<std::size_t>(shape[0])),
        rows_(shape.size() > 1 ? static_cast<std::size_t>(shape[1]) : 1),
        vector_(shape.size() == 1),
        format_(kernels::format_of(type)),
        prng_(seed) {}

  std::uint64_t bytes() const { return rows_ * row_bytes(); }

  Status run(const ByteSink& sink) {
    const double span = std::sqrt(3.0 / static_cast<double>(cols_));
    std::vector<float> values(cols_);
    Buffer piece(std::clamp((std::size_t{1} << 20) / row_bytes(), std::size_t{1}, rows_) * row_bytes());
    for (std::size_t row = 0, at = 0; row < rows_; ++row) {
      for (float& v : values) {
        const double u = prng_.uniform();
        v = static_cast<float>(vector_ ? 0.9 + 0.2 * u : span * (2 * u - 1));
      }
      format_.quantize(values.data(), piece.data() + at, cols_);
      at += row_bytes();
      if (at < piece.size() && row + 1 < rows_) continue;
      SEDGE_CHECK(sink(Bytes(piece).first(at)));
      at = 0;
    }
    return {};
  }

 private:
  std::size_t row_bytes() const { return cols_ / format_.block_values * format_.block_bytes; }

  std::size_t cols_, rows_;
  bool vector_;
  const kernels::Format& format_;
  Prng prng_;
};

class Writing {
 public:
  explicit Writing(const RandomOptions& options) : options_(options), seeds_(options.seed) {}

  template <class Owner>
  Status add(std::string name, const LlamaTensorRow<Owner>& row, const LlamaConfig& config) {
    const auto shape = shape_of(row, config);
    const DType type = shape.size() == 1 ? DType::kF32 : chosen_type(options_.type, name, shape[0], config.layers);
    const RandomTensor tensor(shape, type, seeds_.next());
    total_ += tensor.bytes();
    writer_.add_tensor(std::move(name), type, shape, [this, tensor](const ByteSink& sink) {
      RandomTensor fresh = tensor;
      return fresh.run([&](Bytes piece) -> Status {
        done_ += piece.size();
        if (options_.progress) options_.progress(done_, total_);
        return sink(piece);
      });
    });
    return {};
  }
  GgufWriter& writer() { return writer_; }

 private:
  const RandomOptions& options_;
  Prng seeds_;
  GgufWriter writer_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

std::span<const std::string_view> random_shapes() { return kNames; }

Status write_random(const std::filesystem::path& out, const RandomOptions& options) {
  const auto* shape = std::ranges::find(kShapes, options.shape, &Shape::name);
  if (shape == std::end(kShapes)) {
    return fail(Code::kInvalidArgument, "no shape '{}'; there are {}", options.shape, fmt::join(kNames, ", "));
  }
  const LlamaConfig config = config_of(*shape);
  Writing writing(options);
  write_llama_config(writing.writer(), config);
  write_vocab(writing.writer(), vocab_of(config.vocab));
  for (const auto* row : {&kEmbeddingRow, &kOutputNormRow, &kOutputRow}) {
    if (row != &kOutputRow || !config.tied) SEDGE_CHECK(writing.add(gguf_name(*row), *row, config));
  }
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    for (const auto& row : kLayerRows) SEDGE_CHECK(writing.add(gguf_name(row, layer), row, config));
  }
  return writing.writer().write(out);
}

}  // namespace sedge::model
