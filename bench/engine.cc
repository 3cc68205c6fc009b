// How fast the engine reads a prompt and how fast it writes, and what this machine could do at most.
//
// Modes, so that a driver (bench/peers/engine.py) can let them take turns with another engine:
//   sedge-bench-engine MODEL ...           one measurement: prompt and generated tokens a second
//   sedge-bench-engine MODEL --batch N ... generated tokens a second of N texts that share steps, all together; with
//                                          --beside N while a prompt of N tokens is read: gaps between tokens
//   sedge-bench-engine MODEL --prefix N .. a prompt of N tokens, cold and remembered
//   sedge-bench-engine MODEL --urgent N .. how long urgent texts wait that come while a prompt is read
//   sedge-bench-engine --limits BYTES ...  the machine: bytes read a second, integer products a second
// A decode step reads every weight once, so it is bounded by the first; a long prompt multiplies, so by the second.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/json.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "engine_limits.h"
#include "engine_sharing.h"
#include "engine_urgent.h"
#include "kernels/kernels.h"

namespace sedge::bench {
namespace {

struct Options {
  std::string model;
  unsigned threads = 1;
  std::size_t prompt = 512, generate = 128;
  std::size_t batch = 0, beside = 0, prefix = 0, urgent = 0;
  std::size_t limit_bytes = 0;
  std::string kv = "f32";
};

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Run {
 public:
  Run(std::shared_ptr<const engine::Model> model, const Options& options)
      : model_(std::move(model)), options_(options), engine_({.threads = options.threads}) {}

  // One pass unmeasured, then one measured. Tokens of a prompt are spread over the vocabulary.
  Status run(double& prompt_s, double& generate_s) {
    for (int i = 0; i < 2; ++i) SEDGE_CHECK(pass(prompt_s, generate_s));
    return {};
  }

 private:
  Status step(engine::Sequence& sequence, std::span<const std::int32_t> ids) {
    const std::size_t dim = model_->config().dim;
    hidden_.resize(ids.size() * dim);
    logits_.resize(model_->config().vocab);
    SEDGE_CHECK(engine_.embed(*model_, ids, hidden_));
    const engine::Slice slice{&sequence, ids.size()};
    SEDGE_CHECK(engine_.forward(*model_, {&slice, 1}, 0, model_->config().layers, hidden_));
    return engine_.head(*model_, std::span(hidden_).last(dim), logits_);
  }

  Status pass(double& prompt_s, double& generate_s) {
    SEDGE_TRY(engine::Sequence sequence,
              engine::Sequence::make(*model_, {.capacity = options_.prompt + options_.generate}));
    std::vector<std::int32_t> ids(options_.prompt);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::int32_t>((1000 + i * 7919) % model_->config().vocab);
    }
    const double begin = seconds();
    SEDGE_CHECK(step(sequence, ids));
    const double middle = seconds();
    for (std::size_t i = 0; i < options_.generate; ++i) {
      const auto best = static_cast<std::int32_t>(std::ranges::max_element(logits_) - logits_.begin());
      SEDGE_CHECK(step(sequence, {&best, 1}));
    }
    prompt_s = middle - begin;
    generate_s = seconds() - middle;
    return {};
  }

  std::shared_ptr<const engine::Model> model_;
  const Options& options_;
  engine::Engine engine_;
  std::vector<float> hidden_, logits_;
};

// What a decode step reads and what a prompt's token multiplies: all matrices but the embedding, the head only once.
json::Object sizes_of(const engine::Model& model) {
  std::size_t bytes = model.weights().output.data.size(), products = 0;
  for (const model::LlamaLayer& layer : model.weights().layers) {
    for (auto part : {&model::LlamaLayer::q, &model::LlamaLayer::k, &model::LlamaLayer::v, &model::LlamaLayer::o,
                      &model::LlamaLayer::gate, &model::LlamaLayer::up, &model::LlamaLayer::down}) {
      bytes += (layer.*part).data.size();
      products += (layer.*part).values();
    }
  }
  return {{"step_bytes", bytes}, {"token_products", products}};
}

Status measure(const Options& options) {
  if (options.limit_bytes != 0) {
    const Limits limits = measure_limits(kernels::active_kernels().isa, options.threads, options.limit_bytes);
    fmt::print("{}\n",
               json::write(json::Object{{"read_bytes_s", limits.read_bytes_s}, {"products_s", limits.products_s}}));
    return {};
  }
  engine::ModelOptions how_kept;
  SEDGE_TRY(how_kept.cache, engine::cache_format_of(options.kv));
  if (options.urgent > 0) {
    SEDGE_TRY(const json::Object out,
              measure_urgent(
                  options.model,
                  {.model = how_kept, .threads = options.threads, .beside = options.prompt, .texts = options.urgent}));
    fmt::print("{}\n", json::write(out));
    return {};
  }
  SEDGE_TRY(std::shared_ptr<const engine::Model> model, engine::Model::load(options.model, how_kept));
  if (options.batch > 0 || options.prefix > 0) {
    const SharingOptions sharing{.threads = options.threads, .prompt = options.prompt, .generate = options.generate};
    SEDGE_TRY(const json::Object out, options.prefix > 0   ? measure_prefix(model, options.prefix, sharing)
                                      : options.beside > 0 ? measure_gaps(model, options.batch, options.beside, sharing)
                                                           : measure_batch(model, options.batch, sharing));
    fmt::print("{}\n", json::write(out));
    return {};
  }
  double prompt_s = 0, generate_s = 0;
  json::Object out = sizes_of(*model);
  SEDGE_CHECK(Run(std::move(model), options).run(prompt_s, generate_s));
  out["isa"] = kernels::active_kernels().isa;
  out["prompt_tok_s"] = static_cast<double>(options.prompt) / prompt_s;
  out["generate_tok_s"] = static_cast<double>(options.generate) / generate_s;
  fmt::print("{}\n", json::write(out));
  return {};
}

}  // namespace
}  // namespace sedge::bench

int main(int argc, char** argv) {
  sedge::bench::Options options;
  CLI::App app("Tokens a second of the engine, or the limits of this machine");
  app.add_option("MODEL", options.model, "a GGUF file");
  app.add_option("--threads", options.threads)->capture_default_str();
  app.add_option("--kv", options.kv, fmt::format("keys and values kept as {}", sedge::engine::kCacheFormats))
      ->capture_default_str();
  app.add_option("--prompt", options.prompt, "tokens read at once")->capture_default_str();
  app.add_option("--generate", options.generate, "tokens written one by one")->capture_default_str();
  app.add_option("--batch", options.batch, "so many texts writing together, instead of one")->check(CLI::Range(1, 64));
  app.add_option("--beside", options.beside, "with --batch: tokens of a prompt that is read meanwhile");
  app.add_option("--prefix", options.prefix, "tokens of a prompt that is read twice, remembered the second time");
  app.add_option("--urgent", options.urgent, "so many urgent texts that come while a prompt of --prompt words is read");
  app.add_option("--limits", options.limit_bytes, "measure the machine instead, reading so many bytes");
  CLI11_PARSE(app, argc, argv);
  if (const auto done = sedge::bench::measure(options); !done) {
    fmt::print(stderr, "{}\n", done.error().message);
    return 1;
  }
  return 0;
}
