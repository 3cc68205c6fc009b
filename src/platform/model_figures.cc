#include "platform/model_figures.h"

#include <algorithm>
#include <vector>

#include "engine/embedding.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/packed_weights.h"
#include "engine/sequence.h"
#include "platform/memory.h"
#include "platform/system.h"

namespace sedge::platform {
namespace {

constexpr std::size_t kPositions = 1024;  // any whole number of a sequence's groups

double rate(std::size_t tokens, Duration time) {
  return static_cast<double>(std::max<std::size_t>(tokens, 1)) / std::max(to_seconds(time), 1e-6);
}

Result<ModelSpeed> measure_encoder(const engine::Model& model, unsigned threads, std::size_t tokens) {
  engine::Engine engine({.threads = threads});
  const std::vector<std::int32_t> text(tokens, 0);
  const Instant begun = now();
  SEDGE_CHECK(engine::embed_texts(engine, model, {&text, 1}));
  const double speed = rate(tokens, now() - begun);
  return ModelSpeed{speed, speed};
}

Status fits(const model::GgufFile& file, engine::ModelOptions options, std::size_t bytes_max) {
  SEDGE_TRY(const model::LlamaModel llama, model::load_llama(file));
  const std::uint64_t packed = memory_of(file, llama, options.cache).packed;
  if (bytes_max == 0 || packed <= bytes_max) return {};
  return fail(Code::kResourceExhausted,
              "its weights take {} MiB and {} MiB of this machine's memory may be had for them: use a smaller type or "
              "model (sedge model info says what a file takes)",
              packed >> 20, bytes_max >> 20);
}

Result<std::shared_ptr<const engine::Model>> from_file(model::GgufFile file, engine::ModelOptions options,
                                                       std::size_t bytes_max, PackedStore* store) {
  if (auto kept = store != nullptr ? store->load(file) : std::nullopt) {
    auto loaded = engine::Model::from(file, options, std::move(kept->weights));
    if (loaded || loaded.error().code != Code::kDataLoss) return loaded;
    store->forget(file);
  }
  SEDGE_CHECK(fits(file, options, bytes_max));
  return engine::Model::from(std::move(file), options);
}

}  // namespace

ModelMemory memory_of(const model::GgufFile& file, const model::LlamaModel& llama, kernels::DType cache) {
  std::uint64_t in_file = 0;
  for (const model::TensorView& tensor : file.tensors()) in_file += tensor.data.size();
  return {engine::PackedWeights::resident_bytes(llama, in_file), engine::PackedWeights::packed_bytes(llama),
          engine::Sequence::bytes_of(llama.config, cache, kPositions) / kPositions};
}

Result<std::shared_ptr<const engine::Model>> load_model(const std::filesystem::path& path, engine::ModelOptions options,
                                                        std::size_t bytes_max, PackedStore* store) {
  auto file = model::GgufFile::open(path);
  if (!file) return in_context(path.string(), std::move(file).error());
  auto loaded = from_file(*std::move(file), options, bytes_max, store);
  if (!loaded) return in_context(path.string(), std::move(loaded).error());
  return loaded;
}

Result<std::shared_ptr<const engine::Model>> load_here(const std::filesystem::path& path, engine::ModelOptions options,
                                                       std::size_t packed, PackedStore* store) {
  return load_model(path, options, weights_memory_bytes(memory_bytes(), packed), store);
}

Result<ModelSpeed> measure_speed(const std::shared_ptr<const engine::Model>& model, unsigned threads,
                                 SpeedSample sample) {
  const std::size_t context = model->config().context;
  if (!model->config().features.causal) return measure_encoder(*model, threads, std::min(sample.prompt, context));
  engine::Engine engine({.threads = threads});
  const std::int32_t some_id = std::max<std::int32_t>(0, model->tokenizer().vocab().bos.value_or(0));
  const std::vector<std::int32_t> prompt(std::min(sample.prompt, context / 2), some_id);
  engine::GenerationOptions options;
  options.tokens_max = sample.tokens;
  SEDGE_TRY(engine::Generation text, engine::Generation::start(model, prompt, {}, options));
  const Instant begun = now();
  while (text.prefill_left() > 0) SEDGE_CHECK(text.step(engine));
  const Instant prefilled = now();
  std::size_t steps = 0;
  for (; text.finish() == engine::Finish::kNone; ++steps) SEDGE_CHECK(text.step(engine));
  return ModelSpeed{rate(prompt.size(), prefilled - begun), rate(steps, now() - prefilled)};
}

}  // namespace sedge::platform
