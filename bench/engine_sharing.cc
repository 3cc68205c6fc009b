#include "engine_sharing.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "engine/batch.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/pacer.h"
#include "engine/prefix_cache.h"
#include "kernels/kernels.h"

namespace sedge::bench {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Spread over the vocabulary; another `salt`, other tokens.
std::vector<std::int32_t> some_prompt(const engine::Model& model, std::size_t tokens, std::size_t salt) {
  std::vector<std::int32_t> prompt(tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    prompt[i] = static_cast<std::int32_t>((1000 + salt * 104729 + i * 7919) % model.config().vocab);
  }
  return prompt;
}

// Texts past their prompts that may make `tokens` more.
Result<std::vector<engine::Generation>> begin_texts(engine::Engine& engine,
                                                    const std::shared_ptr<const engine::Model>& model,
                                                    std::size_t count, std::size_t prompt, std::size_t tokens) {
  std::vector<engine::Generation> texts;
  for (std::size_t n = 0; n < count; ++n) {
    SEDGE_TRY(auto text, engine::Generation::start(model, some_prompt(*model, prompt, n), {},
                                                   {.tokens_max = tokens + 1, .tokens_min = tokens + 1}));
    while (text.prefill_left() > 0) SEDGE_CHECK(text.step(engine));
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace

double percentile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::min(values.size() - 1, static_cast<std::size_t>(part * static_cast<double>(values.size())))];
}

Result<json::Object> measure_batch(const std::shared_ptr<const engine::Model>& model, std::size_t batch,
                                   const SharingOptions& options) {
  engine::Engine engine({.threads = options.threads});
  const std::size_t warm = options.generate / 4;
  SEDGE_TRY(auto texts, begin_texts(engine, model, batch, options.prompt, warm + options.generate));
  std::vector<engine::Member> members;
  for (engine::Generation& text : texts) members.push_back({.generation = &text});
  engine::Batch steps;
  double begin = seconds();
  for (std::size_t i = 0; i < warm + options.generate; ++i) {
    if (i == warm) begin = seconds();
    SEDGE_CHECK(steps.step(engine, members, 0));
  }
  const double tok_s = static_cast<double>(batch * options.generate) / (seconds() - begin);
  return json::Object{{"isa", kernels::active_kernels().isa}, {"batch", batch}, {"generate_tok_s", tok_s}};
}

Result<json::Object> measure_gaps(const std::shared_ptr<const engine::Model>& model, std::size_t batch,
                                  std::size_t beside, const SharingOptions& options) {
  engine::Engine engine({.threads = options.threads});
  // Where rows cost most a step has a tile of them: so many steps are enough for any prompt.
  const std::size_t alone = options.generate, steps_max = alone + beside;
  SEDGE_TRY(auto texts, begin_texts(engine, model, batch, options.prompt, steps_max));
  SEDGE_TRY(auto reader, engine::Generation::start(model, some_prompt(*model, beside, batch), {}, {.tokens_max = 1}));
  std::vector<engine::Member> members;
  for (engine::Generation& text : texts) members.push_back({.generation = &text});
  engine::Batch steps;
  engine::Pacer pacer;
  std::vector<double> before, meanwhile;
  for (std::size_t i = 0; i < steps_max && reader.finish() == engine::Finish::kNone; ++i) {
    if (i == alone) members.push_back({.generation = &reader});
    const double begin = seconds();
    SEDGE_CHECK(steps.step(engine, members, pacer.prompt_rows(batch)));
    const double took = seconds() - begin;
    pacer.took(steps.token_rows(), steps.prompt_rows(), Duration(static_cast<std::int64_t>(took * 1e9)));
    if (i >= alone / 4) (i < alone ? before : meanwhile).push_back(took * 1e3);
  }
  return json::Object{{"isa", kernels::active_kernels().isa},
                      {"batch", batch},
                      {"beside", beside},
                      {"gap_ms_p50", percentile(before, 0.5)},
                      {"gap_ms_p99", percentile(before, 0.99)},
                      {"beside_gap_ms_p50", percentile(meanwhile, 0.5)},
                      {"beside_gap_ms_p99", percentile(meanwhile, 0.99)},
                      {"beside_steps", meanwhile.size()}};
}

Result<json::Object> measure_prefix(const std::shared_ptr<const engine::Model>& model, std::size_t prefix,
                                    const SharingOptions& options) {
  engine::Engine engine({.threads = options.threads});
  const auto cache = std::make_shared<engine::PrefixCache>(std::size_t{4} << 30);
  std::vector<double> times;
  for (std::int32_t question = 0; question < 2; ++question) {
    std::vector<std::int32_t> prompt = some_prompt(*model, prefix, 0);
    prompt.push_back(question);
    engine::GenerationOptions how{.tokens_max = 1};
    how.cache = cache;
    const double begin = seconds();
    SEDGE_TRY(auto text, engine::Generation::start(model, prompt, {}, how));
    while (text.finish() == engine::Finish::kNone) SEDGE_CHECK(text.step(engine));
    times.push_back(seconds() - begin);
  }
  return json::Object{{"isa", kernels::active_kernels().isa},
                      {"prefix", prefix},
                      {"cold_ms", times[0] * 1e3},
                      {"remembered_ms", times[1] * 1e3},
                      {"fraction", times[1] / times[0]}};
}

}  // namespace sedge::bench
