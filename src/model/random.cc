#include "model/random.h"

#include "model/random_shapes.h"

namespace sedge::model {
namespace {

class Writing {
 public:
  Writing(const RandomShape& shape, const RandomOptions& options)
      : shape_(shape), options_(options), seeds_(options.seed) {}

  template <class Owner>
  Status add(const LlamaTensorRow<Owner>& row, std::size_t layer) {
    auto shape = shape_of(row, shape_.config);
    const std::string name = gguf_name(row, layer);
    const bool exact = shape.size() == 1 || stays_exact(row);
    const DType type = exact ? DType::kF32 : chosen_type(options_.type, name, shape[0], shape_.config.layers);
    const RandomTensor tensor = random_tensor(shape_, row, type, seeds_.next());
    total_ += tensor.bytes();
    writer_.add_tensor(name, type, std::move(shape), [this, tensor](const ByteSink& sink) {
      RandomTensor fresh = tensor;
      return fresh.run([&](Bytes piece) -> Status {
        done_ += piece.size();
        if (options_.progress) options_.progress(done_, total_);
        return sink(piece);
      });
    });
    return {};
  }

  void add_factors(std::string_view name, const std::vector<float>& factors) {
    if (factors.empty()) return;
    writer_.add_tensor(std::string(name), DType::kF32, {factors.size()},
                       Bytes(reinterpret_cast<const std::uint8_t*>(factors.data()), factors.size() * sizeof(float)));
  }

  GgufWriter& writer() { return writer_; }

 private:
  const RandomShape& shape_;
  const RandomOptions& options_;
  Prng seeds_;
  GgufWriter writer_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

Status write_random(const std::filesystem::path& out, const RandomOptions& options) {
  SEDGE_TRY(const RandomShape shape, find_random_shape(options.shape));
  Writing writing(shape, options);
  write_llama_config(writing.writer(), shape.config);
  write_vocab(writing.writer(), random_vocab(shape.config));
  SEDGE_CHECK(for_each_tensor(shape.config,
                              [&](const auto& row, std::size_t layer) -> Status { return writing.add(row, layer); }));
  writing.add_factors(kRopeFreqsName, shape.rope_freqs);
  writing.add_factors(kRopeShortName, shape.rope_short);
  writing.add_factors(kRopeLongName, shape.rope_long);
  return writing.writer().write(out);
}

}  // namespace sedge::model
