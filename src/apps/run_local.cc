#include "apps/run_local.h"

#include <algorithm>
#include <cstdio>

#include "apps/adapter_option.h"
#include "apps/command.h"
#include "engine/batch.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/prompt.h"
#include "platform/energy.h"
#include "platform/grammar.h"
#include "platform/model_figures.h"
#include "platform/speculation.h"
#include "platform/system.h"

namespace sedge::apps {
namespace {

// When things happened; the first token ends the prefill.
struct Times {
  Instant begun, loaded, first_token, ended;

  double load_ms() const { return to_ms(loaded - begun); }
  double ttft_ms() const { return to_ms(first_token - loaded); }
};

double rate(std::size_t count, Duration time) {
  return time.count() > 0 ? static_cast<double>(count) / to_seconds(time) : 0.0;
}

Result<std::vector<std::int32_t>> prompt_ids(const engine::Model& model, const RunOptions& options) {
  if (!options.chat) return engine::encode_prompt(model, options.prompt);
  const model::ChatMessage turn{.role = "user", .content = options.prompt};
  return engine::encode_chat(model, {&turn, 1}, {}, platform::local_seconds());
}

// What the text took: all of it, and each token after the first.
struct Cost {
  platform::Energy first_token, ended;

  json::Object report(std::size_t tokens) const {
    const double after_first = std::max(static_cast<double>(tokens) - 1, 1.0);
    json::Object out = {{"source", platform::source_name(ended.source)},
                        {"cpu_s", ended.cpu_s},
                        {"cpu_s_per_token", (ended.cpu_s - first_token.cpu_s) / after_first}};
    out["joules"] = ended.joules ? json::Value(*ended.joules) : json::Value();
    const bool known = ended.joules && first_token.joules;
    out["joules_per_token"] = known ? json::Value((*ended.joules - *first_token.joules) / after_first) : json::Value();
    return out;
  }
};

// A text's steps, with as many guesses as pay.
class Steps {
 public:
  explicit Steps(unsigned threads) : engine_({.threads = threads == 0 ? engine::hardware_threads() : threads}) {}

  Result<engine::Step> next(engine::Generation& text) {
    if (text.prefill_left() > 0) return text.step(engine_);
    engine::Member member{.generation = &text};
    SEDGE_CHECK(speculation_.guess(engine_, {&member, 1}, pacers_, platform::now));
    const Instant begun = platform::now();
    SEDGE_CHECK(batch_.step(engine_, {&member, 1}, 0));
    pacers_.took(text.model(), batch_.token_rows(), 0, platform::now() - begun);
    if (member.did) drafted_ += member.did->drafted, accepted_ += member.did->accepted;
    return std::move(member.did);
  }

  unsigned threads() const { return engine_.threads(); }
  std::size_t drafted() const { return drafted_; }
  std::size_t accepted() const { return accepted_; }

 private:
  engine::Engine engine_;
  engine::Batch batch_;
  platform::Pacers pacers_;
  platform::Speculation speculation_;
  std::size_t drafted_ = 0, accepted_ = 0;
};

json::Object report(const engine::Generation& generation, const std::string& text, const Times& times, const Cost& cost,
                    const Steps& steps) {
  const auto tokens = generation.tokens();
  return {{"text", text},
          {"tokens", json::Array(tokens.begin(), tokens.end())},
          {"finish", generation.finish() == engine::Finish::kStop ? "stop" : "length"},
          {"prompt_tokens", generation.prompt_tokens()},
          {"load_ms", times.load_ms()},
          {"ttft_ms", times.ttft_ms()},
          {"prefill_tok_s", rate(generation.prompt_tokens(), times.first_token - times.loaded)},
          {"decode_tok_s", rate(tokens.empty() ? 0 : tokens.size() - 1, times.ended - times.first_token)},
          {"drafted", steps.drafted()},
          {"accepted", steps.accepted()},
          {"energy", cost.report(tokens.size())},
          {"threads", steps.threads()},
          {"numeric_class", generation.model().numeric_class()},
          {"served_by", "local"},
          {"attempts", 1},
          {"deadline_met", nullptr}};  // none was set
}

}  // namespace

Status run_local(const RunOptions& options) {
  Times times{.begun = platform::now(), .loaded = {}, .first_token = {}, .ended = {}};
  engine::ModelOptions how_kept;
  SEDGE_TRY(how_kept.cache, engine::cache_format_of(options.kv));
  how_kept.long_context = options.long_context;
  platform::PackedStore kept({.folder = platform::packed_folder(options.home)});  // by a node, if there was one
  SEDGE_TRY(const auto model, platform::load_here(options.model, how_kept, 0, &kept));
  SEDGE_TRY(auto adapters, load_adapters(model, options.adapters));
  SEDGE_TRY(const auto prompt, prompt_ids(*model, options));
  engine::GenerationOptions how{.sampling = options.sampling, .tokens_max = options.tokens_max, .stops = options.stops};
  how.adapters = std::move(adapters);
  how.draft_max = platform::kGuessesMax;
  if (!options.draft.empty()) {
    SEDGE_TRY(how.draft_model, platform::load_here(options.draft, how_kept, model->packed_bytes(), &kept));
    if (const Status fits = engine::check_draft(*model, *how.draft_model); !fits) {
      return in_context(options.draft, fits.error());
    }
  }
  Steps steps(options.threads);
  times.loaded = platform::now();
  if (options.grammar.kind != env::GrammarKind::kNone) {
    SEDGE_TRY(how.grammar, platform::read_grammar(options.grammar));
  }
  SEDGE_TRY(engine::Generation generation, engine::Generation::start(model, prompt, {}, std::move(how)));
  std::string text;
  bool first = true;
  platform::EnergyMeter meter("/sys", platform::now());
  Cost cost;
  while (generation.finish() == engine::Finish::kNone) {
    SEDGE_TRY(const engine::Step step, steps.next(generation));
    if (first && generation.prefill_left() == 0) {
      times.first_token = platform::now();
      cost.first_token = meter.look(times.first_token);
      first = false;
    }
    text += step.text;
    if (options.json) continue;
    fmt::print("{}", step.text);
    std::fflush(stdout);
  }
  times.ended = platform::now();
  cost.ended = meter.look(times.ended);
  if (options.json) {
    fmt::print("{}\n", json::write(report(generation, text, times, cost, steps)));
  } else if (!text.ends_with('\n')) {
    fmt::print("\n");
  }
  return {};
}

}  // namespace sedge::apps
