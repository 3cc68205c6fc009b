#include "engine/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/assert.h"
#include "engine/batch.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kRecallBlocks = 64;
constexpr double kAcceptanceSmoothing = 0.15;  // weight of the newest guess
constexpr double kForgetting = 0.01;           // a step without guesses, so that they are tried again some time

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

std::size_t mib_of(std::size_t bytes) { return (bytes >> 20) + (bytes % (1 << 20) != 0 ? 1 : 0); }

// For `wanted` positions, or as many of them as this machine has memory for when nobody else runs: that no waiting
// mends, and an answer cut short is better than none. The first `given` there must be.
Result<Sequence> make_sequence(const Model& model, std::size_t given, std::size_t wanted,
                               const GenerationOptions& options) {
  const std::size_t bound = options.memory != nullptr ? options.memory->bytes_max() : SequenceOptions{}.bytes_max;
  const std::size_t capacity = std::min(wanted, Sequence::capacity_within(model, bound));
  if (capacity < given) {
    return fail(Code::kResourceExhausted,
                "{} tokens take {} MiB, all texts here have {}: shorten the prompt, or ask a node with more memory",
                given, mib_of(Sequence::bytes_of(model, given)), bound >> 20);
  }
  SEDGE_TRY(MemoryShare memory, take_memory(options.memory, options.cache.get(), Sequence::bytes_of(model, capacity)));
  return Sequence::make(model, {.capacity = capacity, .bytes_max = bound, .memory = std::move(memory)});
}

}  // namespace

Result<Generation> Generation::start(std::shared_ptr<const Model> model, std::span<const std::int32_t> prompt,
                                     std::span<const std::int32_t> resume, GenerationOptions options) {
  const model::LlamaConfig& config = model->config();
  if (!config.features.causal) {
    return fail(Code::kInvalidArgument, "a model of architecture '{}' generates no text: ask it for embeddings",
                config.arch);
  }
  SEDGE_CHECK(check_options(options));
  SEDGE_CHECK(check_adapters(*model, options.adapters));
  SEDGE_CHECK(check_ids(prompt, config.vocab, "prompt"));
  SEDGE_CHECK(check_ids(resume, config.vocab, "resumed"));
  if (prompt.empty()) return fail(Code::kInvalidArgument, "the prompt has no tokens");
  const std::size_t context = options.context == 0 ? config.context : std::min(options.context, config.context);
  if (prompt.size() > context) {
    return fail(Code::kInvalidArgument, "the prompt has {} tokens, the context {}: shorten the prompt", prompt.size(),
                context);
  }
  const std::size_t room = std::min(options.tokens_max, context - prompt.size());
  const std::size_t given = prompt.size() + std::min(resume.size(), room);
  SEDGE_TRY(Sequence sequence, make_sequence(*model, given, prompt.size() + room, options));
  Generation generation(std::move(model), std::move(sequence), std::move(options));
  generation.ids_.reserve(generation.sequence_.capacity() + 1);  // so that no step asks for memory
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
    const std::string bytes = generation.accept(id, shown_already);
    if (generation.constraint_ == nullptr || generation.constraint_->advance(bytes)) continue;
    return fail(Code::kInvalidArgument, "the resumed tokens are no text of the grammar");
  }
  return generation;
}

std::size_t Generation::prefill_left() const {
  const std::size_t given = prompt_tokens_ + resumed_, done = sequence_.length();
  return given > done ? given - done : 0;
}

bool Generation::full() const { return tokens().size() >= options_.tokens_max || ids_.size() > sequence_.capacity(); }

// Adds a token and its text; gives its bytes.
std::string Generation::accept(std::int32_t id, Step& step) {
  std::string bytes = model_->tokenizer().decode_piece(id);
  if (std::exchange(swallow_space_, false) && bytes.starts_with(' ')) bytes.erase(0, 1);
  ids_.push_back(id);
  step.token = id;
  step.bytes += bytes;
  step.pieces.push_back({id, stream_.push(bytes), {}});
  step.text += step.pieces.back().text;
  return bytes;
}

void Generation::end(Finish finish, Step& step) {
  step.finish = finish_ = finish;
  if (!stream_.stopped()) step.text += stream_.finish();
}

bool Generation::recall(std::size_t blocks_max) {
  if (options_.cache == nullptr || prefill_left() == 0 || stopped() || full()) return false;
  // The last position is computed in any case: its logits are what is wanted.
  const std::size_t gained =
      options_.cache->recall(options_.cache_scope, ids_, sequence_, ids_.size() - 1, blocks_max, prompt_tokens_);
  cached_ += gained;
  return gained > 0;
}

std::size_t Generation::tokens_left() const {
  return options_.tokens_max - std::min(options_.tokens_max, tokens().size());
}

// How many tokens may be guessed now: none past the last token that may be made, nor where the sequence has no room.
std::size_t Generation::guess_room() const {
  if (ended() || prefill_left() > 0 || ids_.size() - sequence_.length() != 1) return 0;
  const std::size_t room = sequence_.capacity() - std::min(sequence_.capacity(), ids_.size());
  return std::min({options_.draft_max, room, std::max<std::size_t>(tokens_left(), 1) - 1});
}

Guessing Generation::looked_up() {
  const std::size_t room = guess_room();
  if (room == 0) return {};
  if (!lookup_guesses_.ids) lookup_guesses_.ids = lookup_.guess(ids_, options_.draft_max);
  return {.most = std::min(lookup_guesses_.ids->size(), room), .acceptance = lookup_guesses_.acceptance};
}

Guessing Generation::drafted() {
  const std::size_t room = guess_room();
  if (room == 0 || (draft_ == nullptr && options_.draft_model == nullptr)) return {};
  const Model& model = draft_ != nullptr ? draft_->model() : *options_.draft_model;
  const std::size_t context = model.config().context;
  if (ids_.size() >= context) return {};
  if (draft_ != nullptr) draft_->set_text(ids_);
  return {.most = std::min(room, context - ids_.size()),
          .acceptance = draft_guesses_.acceptance,
          .model = &model,
          .unread = draft_ != nullptr ? draft_->unread().size() : ids_.size()};
}

// Where there is no memory for it the text goes on without, for good.
Draft* Generation::begin_draft() {
  if (const auto model = std::exchange(options_.draft_model, nullptr)) {
    const std::size_t capacity = std::min(sequence_.capacity(), model->config().context);
    auto memory = take_memory(options_.memory, options_.cache.get(), Sequence::bytes_of(*model, capacity));
    if (!memory) return nullptr;
    auto sequence = Sequence::make(*model, {.capacity = capacity, .memory = *std::move(memory)});
    if (sequence) draft_ = std::make_unique<Draft>(model, *std::move(sequence));
  }
  if (draft_ == nullptr) return nullptr;
  draft_->set_text(ids_);
  const std::size_t known = draft_->model().config().vocab;
  const auto unknown = [&](std::int32_t id) { return static_cast<std::size_t>(id) >= known; };
  if (std::ranges::any_of(draft_->unread(), unknown)) draft_.reset();
  return draft_.get();
}

std::optional<std::int32_t> Generation::draw_guess(std::span<float> logits, std::span<const std::int32_t> text) const {
  const std::size_t vocab = std::min(logits.size(), model_->config().vocab);
  const auto drawn = sample(logits.first(vocab), text, text.size(), options_.sampling, nullptr, prompt_tokens_);
  if (!drawn || model_->tokenizer().is_end(*drawn)) return std::nullopt;
  return *drawn;
}

void Generation::guess_as_draft() {
  const auto guesses = draft_->guesses();
  if (!guesses.empty()) draft_guesses_.ids.emplace(guesses.begin(), guesses.end());
}

Rows Generation::rows(std::size_t most) {
  SEDGE_ASSERT(!ended() && most > 0);
  before_ = sequence_.length();
  if (stopped() || full()) return {};  // resumed at its end
  const auto left = std::span<const std::int32_t>(ids_).subspan(before_);
  const std::size_t room = std::min(most - 1, guess_room());
  if (room > 0 && !draft_guesses_.ids) looked_up();
  const auto& guesses = draft_guesses_.ids ? draft_guesses_.ids : lookup_guesses_.ids;
  const std::size_t ahead = room > 0 ? std::min(room, guesses->size()) : 0;
  if (ahead == 0) return {.ids = left.first(std::min(most, left.size())), .logits = most < left.size() ? 0u : 1u};
  rows_.assign(left.begin(), left.end());
  rows_.insert(rows_.end(), guesses->begin(), guesses->begin() + static_cast<std::ptrdiff_t>(ahead));
  return {.ids = rows_, .logits = rows_.size()};
}

Result<Step> Generation::take(const Rows& rows, std::span<const float> logits) {
  const std::size_t vocab = model_->config().vocab;
  SEDGE_ASSERT(logits.size() == rows.logits * vocab);
  Step step;
  if (rows.ids.empty()) {
    end(stopped() ? Finish::kStop : Finish::kLength, step);
    return step;
  }
  if (rows.logits > 0) {
    step.drafted = rows.logits - 1;
    const std::size_t given = ids_.size();
    if (auto chosen = choose(logits.first(vocab), step); !chosen) {
      failed_ = true;
      return std::unexpected(std::move(chosen).error());
    }
    // Each guess that is what was chosen makes the next row's logits those of this very text. What goes wrong there
    // takes no token back: the next step has that row for its own, and says so.
    for (; step.accepted < step.drafted && finish_ == Finish::kNone; ++step.accepted) {
      if (*step.token != rows.ids[step.accepted + 1]) break;
      if (!choose(logits.subspan((step.accepted + 1) * vocab, vocab), step)) break;
    }
    sequence_.truncate(before_ + rows.ids.size() - step.drafted + step.accepted);
    learn(lookup_guesses_, given);
    learn(draft_guesses_, given);
  }
  if (options_.cache != nullptr) {  // an answer may be gone on from, but not for so long that a disk need have it
    options_.cache->keep(options_.cache_scope, ids_, sequence_, before_, prompt_tokens_);
  }
  return step;
}

// What the tokens since `given` say of how good guesses are, whether they were tried or not.
void Generation::learn(Guesses& guesses, std::size_t given) const {
  if (!guesses.ids) {
    guesses.acceptance += kForgetting * (guesses.expected - guesses.acceptance);
    return;
  }
  for (std::size_t i = 0; i < guesses.ids->size() && given + i < ids_.size(); ++i) {
    const bool right = (*guesses.ids)[i] == ids_[given + i];
    guesses.acceptance += kAcceptanceSmoothing * ((right ? 1.0 : 0.0) - guesses.acceptance);
    if (!right) break;
  }
  guesses.ids.reset();
}

void Generation::undo(const Rows& rows) {
  if (!rows.ids.empty()) sequence_.truncate(before_);
}

Result<Step> Generation::step(Engine& engine, const Control* control) {
  if (ended()) return fail(Code::kFailedPrecondition, "this generation has ended");
  while (recall(kRecallBlocks)) continue;
  if (alone_ == nullptr) alone_ = std::make_shared<Batch>();
  Member self{.generation = this, .drafts = options_.draft_max};
  SEDGE_CHECK(alone_->step(engine, {&self, 1}, options_.chunk_tokens, control));
  return std::move(self.did);
}

// The next token, from its logits [vocab], or the end.
Status Generation::choose(std::span<const float> logits, Step& step) {
  logits_.assign(logits.begin(), logits.end());
  std::vector<float> asked;  // as the model gave them
  if (options_.logprobs > 0) asked = logits_;
  if (tokens().size() < options_.tokens_min) {
    for (const std::int32_t id : ends_) logits_[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
  auto chosen = sample(logits_, ids_, ids_.size(), options_.sampling, constraint_.get(), prompt_tokens_);
  if (!chosen) return std::unexpected(std::move(chosen).error());
  if (model_->tokenizer().is_end(*chosen)) {
    end(Finish::kStop, step);
    return {};
  }
  const std::string bytes = accept(*chosen, step);
  if (options_.logprobs > 0) {
    std::vector<Logprob>& told = step.pieces.back().logprobs;
    told = best_logprobs(asked, options_.logprobs - 1);
    told.insert(told.begin(), {*chosen, asked[static_cast<std::size_t>(*chosen)] - log_total(asked)});
  }
  const bool follows = constraint_ == nullptr || constraint_->advance(bytes);
  SEDGE_ASSERT(follows);
  if (stopped()) {
    end(Finish::kStop, step);
  } else if (full()) {
    end(Finish::kLength, step);
  }
  return {};
}

}  // namespace sedge::engine
