#include "engine/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/assert.h"

namespace sedge::engine {
namespace {

Status check_options(const GenerationOptions& options) {
  SEDGE_CHECK(check_sampling(options.sampling));
  if (options.logprobs > kLogprobsMax) {
    return fail(Code::kInvalidArgument, "logprobs of {} tokens, at most {} are told", options.logprobs, kLogprobsMax);
  }
  if (options.chunk_tokens == 0) return fail(Code::kInvalidArgument, "chunk_tokens is 0, at least 1 is needed");
  if (options.stops.size() > kStopsMax) {
    return fail(Code::kInvalidArgument, "{} stop strings, at most {} are allowed", options.stops.size(), kStopsMax);
  }
  for (const std::string& stop : options.stops) {
    if (!stop.empty() && stop.size() <= kStopBytesMax) continue;
    return fail(Code::kInvalidArgument, "a stop string has {} bytes, 1 to {} are allowed", stop.size(), kStopBytesMax);
  }
  return {};
}

Status check_ids(std::span<const std::int32_t> ids, std::size_t vocab, std::string_view what) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && static_cast<std::size_t>(ids[i]) < vocab) continue;
    return fail(Code::kInvalidArgument, "{} token {} is {}, the vocabulary has {}", what, i, ids[i], vocab);
  }
  return {};
}

// Whether nothing but control tokens stands in front, so that the first word begins the text.
bool text_begins_after(const model::Vocab& vocab, std::span<const std::int32_t> prompt) {
  return vocab.model == "llama" && vocab.add_space_prefix && std::ranges::all_of(prompt, [&](std::int32_t id) {
           return vocab.type(static_cast<std::size_t>(id)) == model::TokenType::kControl;
         });
}

}  // namespace

Result<Generation> Generation::start(std::shared_ptr<const Model> model, std::span<const std::int32_t> prompt,
                                     std::span<const std::int32_t> resume, GenerationOptions options) {
  const model::LlamaConfig& config = model->config();
  SEDGE_CHECK(check_options(options));
  SEDGE_CHECK(check_ids(prompt, config.vocab, "prompt"));
  SEDGE_CHECK(check_ids(resume, config.vocab, "resumed"));
  if (prompt.empty()) return fail(Code::kInvalidArgument, "the prompt has no tokens");
  const std::size_t context = options.context == 0 ? config.context : std::min(options.context, config.context);
  if (prompt.size() > context) {
    return fail(Code::kInvalidArgument, "the prompt has {} tokens, the context {}: shorten the prompt", prompt.size(),
                context);
  }
  const std::size_t room = std::min(options.tokens_max, context - prompt.size());
  SEDGE_TRY(Sequence sequence, Sequence::make(*model, {.capacity = prompt.size() + room}));
  Generation generation(std::move(model), std::move(sequence), std::move(options));
  generation.ids_.assign(prompt.begin(), prompt.end());
  generation.prompt_tokens_ = prompt.size();
  generation.resumed_ = resume.size();
  generation.swallow_space_ = text_begins_after(generation.model_->tokenizer().vocab(), prompt);
  if (generation.options_.tokens_min > 0) {
    const model::Tokenizer& tokenizer = generation.model_->tokenizer();
    for (std::int32_t id = 0; id < static_cast<std::int32_t>(config.vocab); ++id) {
      if (tokenizer.is_end(id)) generation.ends_.push_back(id);
    }
  }
  if (generation.options_.grammar != nullptr) {
    const Model& of = *generation.model_;
    generation.constraint_ = std::make_unique<TokenConstraint>(of.tokenizer(), of.token_trie(),
                                                               generation.options_.grammar, generation.swallow_space_);
  }
  for (const std::int32_t id : resume) {  // the stream holds back what it held back elsewhere; the text was shown there
    Step shown_already;
    generation.accept(id, shown_already);
    if (generation.constraint_ == nullptr || generation.constraint_->advance(shown_already.bytes)) continue;
    return fail(Code::kInvalidArgument, "the resumed tokens are no text of the grammar");
  }
  return generation;
}

std::size_t Generation::prefill_left() const {
  const std::size_t given = prompt_tokens_ + resumed_, done = sequence_.length();
  return given > done ? given - done : 0;
}

bool Generation::full() const { return tokens().size() >= options_.tokens_max || ids_.size() > sequence_.capacity(); }

// Adds a token and its text.
std::string Generation::accept(std::int32_t id, Step& step) {
  step.token = id;
  step.bytes = model_->tokenizer().decode_piece(id);
  if (std::exchange(swallow_space_, false) && step.bytes.starts_with(' ')) step.bytes.erase(0, 1);
  ids_.push_back(id);
  return stream_.push(step.bytes);
}

void Generation::end(Finish finish, Step& step) {
  step.finish = finish_ = finish;
  if (!stream_.stopped()) step.text += stream_.finish();
}

Result<Step> Generation::step(Engine& engine, const CancelFlag* cancel) {
  if (finish_ != Finish::kNone || failed_) return fail(Code::kFailedPrecondition, "this generation has ended");
  Step step;
  if (stopped() || full()) {  // resumed at its end
    end(stopped() ? Finish::kStop : Finish::kLength, step);
    return step;
  }
  const model::LlamaConfig& config = model_->config();
  const std::size_t done = sequence_.length(), count = std::min(options_.chunk_tokens, ids_.size() - done);
  hidden_.resize(count * config.dim);
  SEDGE_CHECK(engine.embed(*model_, std::span(ids_).subspan(done, count), hidden_));
  const Slice slice{&sequence_, count};
  SEDGE_CHECK(engine.forward(*model_, {&slice, 1}, 0, config.layers, hidden_, cancel));
  if (done + count < ids_.size()) return step;
  logits_.resize(config.vocab);
  if (auto status = engine.head(*model_, std::span(hidden_).last(config.dim), logits_, cancel); !status) {
    sequence_.truncate(done);  // so that the same slice can be asked for again
    return std::unexpected(std::move(status).error());
  }
  return choose();
}

Result<Step> Generation::choose() {
  std::vector<float> asked;  // as the model gave them
  if (options_.logprobs > 0) asked = logits_;
  if (tokens().size() < options_.tokens_min) {
    for (const std::int32_t id : ends_) logits_[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
  auto chosen = sample(logits_, ids_, ids_.size(), options_.sampling, constraint_.get(), prompt_tokens_);
  if (!chosen) {
    failed_ = true;
    return std::unexpected(std::move(chosen).error());
  }
  Step step;
  if (model_->tokenizer().is_end(*chosen)) {
    end(Finish::kStop, step);
    return step;
  }
  step.text = accept(*chosen, step);
  if (options_.logprobs > 0) {
    step.logprobs = best_logprobs(asked, options_.logprobs - 1);
    const float own = asked[static_cast<std::size_t>(*chosen)] - log_total(asked);
    step.logprobs.insert(step.logprobs.begin(), {*chosen, own});
  }
  const bool follows = constraint_ == nullptr || constraint_->advance(step.bytes);
  SEDGE_ASSERT(follows);
  if (stopped()) {
    end(Finish::kStop, step);
  } else if (full()) {
    end(Finish::kLength, step);
  }
  return step;
}

}  // namespace sedge::engine
