#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>

#include "train/bpe_trainer.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/export.h"

namespace sedge::train {
namespace {

namespace fs = std::filesystem;

// One file of held-out examples, reported by itself.
struct HeldOut {
  std::string name;
  std::vector<TextExample> examples;
  Dataset data;
};

class Run {
 public:
  Run(const Recipe& recipe, Backend& backend, const Observer& observer)
      : recipe_(recipe), backend_(backend), observer_(observer), out_(recipe.out) {}

  Status go() {
    SEDGE_CHECK(check_recipe(recipe_));
    std::error_code error;
    fs::create_directories(out_, error);
    if (error) return fail(Code::kUnknown, "{}: {}", out_.string(), error.message());
    SEDGE_CHECK(load_examples());
    SEDGE_CHECK(load_state());
    SEDGE_CHECK(tokenize());
    SEDGE_CHECK(check_same_run());
    SEDGE_CHECK(loop());
    return write_model();
  }

 private:
  Status load_examples();
  Status load_state();
  Status start_anew();
  Status tokenize();
  Status check_same_run();
  Status open_log();
  Status loop();
  Status step(Net& net, Batcher& batcher, Batch& batch);
  void evaluate(Net& net, const HeldOut& held_out);
  Status save(Net& net, const Batcher& batcher);
  Status write_model();

  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    observer_.say(fmt::format(format, std::forward<Args>(args)...));
  }
  fs::path checkpoint_path() const { return out_ / "checkpoint.safetensors"; }

  const Recipe& recipe_;
  Backend& backend_;
  const Observer& observer_;
  fs::path out_;
  std::vector<TextExample> examples_;
  Dataset train_;
  std::vector<HeldOut> held_out_;
  Precision precision_ = Precision::kF32;
  std::string fingerprint_;
  Checkpoint state_;  // at the step where this process begins; its moments are updated in place
  bool resumed_ = false;
  std::ofstream log_;
  std::size_t tokens_ = 0;
};

Status Run::load_examples() {
  std::vector<std::string> train = recipe_.train, valid = recipe_.valid;
  if (!recipe_.corpus.empty()) {
    const fs::path folder = out_ / "corpus";
    const fs::path done = folder / fmt::format("{}-{}-{}", recipe_.corpus, recipe_.corpus_count, recipe_.corpus_seed);
    if (!fs::exists(done)) {
      say("writing {} examples of {}", recipe_.corpus_count, recipe_.corpus);
      SEDGE_CHECK(observer_.write_corpus(recipe_, folder.string()));
      std::ofstream(done) << "whole\n";
    }
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".jsonl") continue;
      (entry.path().stem() == "train" ? train : valid).push_back(entry.path().string());
    }
    std::ranges::sort(valid);
  }
  const auto read = [this](const std::string& file, std::vector<TextExample>& to) {
    return read_examples(file, recipe_.prompt_suffix, [&to](TextExample each) { to.push_back(std::move(each)); });
  };
  for (const std::string& file : train) SEDGE_CHECK(read(file, examples_));
  for (const std::string& file : valid) {
    held_out_.push_back({fs::path(file).stem().string(), {}, {}});
    SEDGE_CHECK(read(file, held_out_.back().examples));
  }
  if (examples_.empty()) return fail(Code::kInvalidArgument, "the training files hold no example");
  return {};
}

Status Run::load_state() {
  precision_ = recipe_.precision == "bf16" || (recipe_.precision == "auto" && backend_.prefers_bf16())
                   ? Precision::kBf16
                   : Precision::kF32;
  if (!fs::exists(checkpoint_path())) return start_anew();
  SEDGE_TRY(state_, read_checkpoint(checkpoint_path()));
  resumed_ = true;
  say("going on from {} at step {}", checkpoint_path().string(), state_.step);
  return {};
}

Status Run::start_anew() {
  if (!recipe_.init.empty()) {
    SEDGE_TRY(Checkpoint from, read_checkpoint(recipe_.init));
    if (from.net != net_config(recipe_, from.net.vocab)) {
      return fail(Code::kInvalidArgument, "{}: its sizes are not those of the recipe", recipe_.init);
    }
    state_.net = from.net;
    state_.weights = std::move(from.weights);
    state_.tokenizer = std::move(from.tokenizer);
    state_.tokenizer_config = std::move(from.tokenizer_config);
  } else {
    const auto for_each_text = [this](const std::function<void(std::string_view)>& use) {
      for (const TextExample& example : examples_) {
        use(example.prompt);
        use(example.completion);
      }
    };
    SEDGE_TRY(const model::Vocab vocab, train_bpe(for_each_text, {.vocab = recipe_.vocab,
                                                                  .space_alone = recipe_.spaces == "alone",
                                                                  .chat_template = recipe_.chat_template}));
    say("vocabulary of {} tokens from {} examples", vocab.tokens.size(), examples_.size());
    state_.tokenizer = tokenizer_json(vocab);
    state_.tokenizer_config = tokenizer_config_json(vocab);
    state_.net = net_config(recipe_, vocab.tokens.size());
    state_.weights.resize(weight_count(state_.net));
    initialize(state_.net, recipe_.seed, state_.weights);
  }
  state_.m.assign(state_.weights.size(), 0.0F);
  state_.v.assign(state_.weights.size(), 0.0F);
  return {};
}

Status Run::tokenize() {
  SEDGE_TRY(model::Vocab vocab, model::vocab_from_tokenizer_json(state_.tokenizer, state_.tokenizer_config));
  SEDGE_TRY(const model::Tokenizer tokenizer, model::Tokenizer::make(std::move(vocab)));
  for (const TextExample& example : examples_) train_.add(example, tokenizer, recipe_.context);
  for (HeldOut& held_out : held_out_) {
    for (const TextExample& example : held_out.examples) held_out.data.add(example, tokenizer, recipe_.context);
  }
  examples_ = {};
  if (train_.items().empty()) return fail(Code::kInvalidArgument, "no training example fits the context");
  say("{} training sequences, {} tokens{}", train_.items().size(), train_.tokens().size(),
      train_.left_out() == 0 ? "" : fmt::format(" ({} too long, left out)", train_.left_out()));
  return {};
}

Status Run::check_same_run() {
  fingerprint_ = fmt::format("{}precision={}\ndata={:016x}\n", fingerprint(recipe_),
                             precision_ == Precision::kBf16 ? "bf16" : "f32", train_.hash());
  if (!resumed_ || state_.fingerprint == fingerprint_) return {};
  const auto [ours, theirs] = std::ranges::mismatch(fingerprint_, state_.fingerprint);
  const auto line_at = [](const std::string& text, std::size_t at) {
    const std::size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
    return text.substr(begin, text.find('\n', at) - begin);
  };
  const auto at = static_cast<std::size_t>(ours - fingerprint_.begin());
  return fail(Code::kFailedPrecondition,
              "{} is of another run ('{}' there, '{}' here): give it the same recipe, name another folder with --out, "
              "or start over with --fresh",
              checkpoint_path().string(), line_at(state_.fingerprint, at), line_at(fingerprint_, at));
}

// One line a step; what a killed run wrote after its last checkpoint is cut off, for it is about to be done again.
Status Run::open_log() {
  const fs::path path = out_ / "log.jsonl";
  std::string kept, line;
  {
    std::ifstream old(path);
    for (std::uint64_t i = 0; resumed_ && i < state_.step && std::getline(old, line); ++i) kept += line + '\n';
  }
  log_.open(path, std::ios::trunc);
  log_ << kept << std::flush;
  return log_ ? Status{} : fail(Code::kUnknown, "{}: cannot be written", path.string());
}

Status Run::step(Net& net, Batcher& batcher, Batch& batch) {
  batcher.fill(batch);
  const StepResult result = net.forward(batch);
  net.backward(batch);
  double squares = 0;
  constexpr std::size_t kPart = 1 << 16;
  const std::span<const float> gradients = net.gradients();
  std::vector<double> parts((gradients.size() + kPart - 1) / kPart);
  backend_.parallel(parts.size(), [&](std::size_t task, std::size_t) {
    const auto part = gradients.subspan(task * kPart, std::min(kPart, gradients.size() - task * kPart));
    parts[task] = fused().sum_of_squares(part.data(), part.size());
  });
  squares = std::accumulate(parts.begin(), parts.end(), 0.0);
  if (!std::isfinite(result.loss) || !std::isfinite(squares)) {
    return fail(Code::kOutOfRange, "step {}: the loss is {} and the gradient's norm {}: lower --lr", state_.step,
                result.loss, std::sqrt(squares));
  }
  const double lr = learning_rate(recipe_, state_.step);
  ++state_.step;
  const auto done = static_cast<double>(state_.step);
  AdamW op{};
  op.lr = static_cast<float>(lr);
  op.beta1 = static_cast<float>(recipe_.beta1);
  op.beta2 = static_cast<float>(recipe_.beta2);
  op.epsilon = 1e-8F;
  op.decay = static_cast<float>(recipe_.decay);
  op.unbias1 = static_cast<float>(1 / (1 - std::pow(recipe_.beta1, done)));
  op.unbias2 = static_cast<float>(1 / (1 - std::pow(recipe_.beta2, done)));
  op.clip = static_cast<float>(std::min(1.0, recipe_.clip / std::max(1e-12, std::sqrt(squares))));
  std::optional<Muon> matrices;
  if (recipe_.optimizer == "muon") {
    matrices = {.lr = op.lr,
                .momentum = static_cast<float>(recipe_.momentum),
                .decay = op.decay,
                .clip = op.clip,
                .weights = nullptr,
                .m = nullptr,
                .grads = nullptr,
                .half = nullptr};
  }
  net.update(op, matrices, state_.m, state_.v);
  log_ << fmt::format("{{\"step\":{},\"loss\":{:.9g},\"norm\":{:.9g},\"lr\":{:.6g}}}\n", state_.step, result.loss,
                      std::sqrt(squares), lr);
  tokens_ += batch.sequences.back().begin + batch.sequences.back().length;
  observer_.progress({state_.step, recipe_.steps, result.loss, lr, tokens_});
  return {};
}

// Loss on held-out examples, and the share whose every counted token is the network's first choice: those are the
// ones that greedy generation would write exactly.
void Run::evaluate(Net& net, const HeldOut& held_out) {
  const Dataset& data = held_out.data;
  if (data.items().empty()) return;
  Batch batch;
  std::vector<std::uint8_t> right;
  double loss = 0;
  std::size_t rows = 0, exact = 0, item = 0;
  const std::size_t items = std::min(recipe_.eval_items, data.items().size());
  const auto nth = [&](std::size_t i) { return i * data.items().size() / items; };  // spread over the file
  while (item < items) {
    clear_batch(batch, recipe_.batch);
    const std::size_t first = item;
    while (item < items && add_to_batch(batch, data, nth(item), recipe_.batch)) ++item;
    const StepResult result = net.forward(batch, &right);
    loss += result.loss * static_cast<double>(batch.rows.size());
    std::size_t row = 0;
    for (std::size_t i = first; i < item; ++i) {
      const Dataset::Item& it = data.items()[nth(i)];
      const std::size_t count = it.length - it.first_target;
      exact += static_cast<std::size_t>(std::all_of(right.begin() + static_cast<std::ptrdiff_t>(row),
                                                    right.begin() + static_cast<std::ptrdiff_t>(row + count),
                                                    [](std::uint8_t r) { return r == 1; }));
      row += count;
    }
    rows += batch.rows.size();
  }
  say("step {}: {}: loss {:.4f}, {:.2f} % of {} examples exact", state_.step, held_out.name,
      loss / static_cast<double>(rows), 100.0 * static_cast<double>(exact) / static_cast<double>(items), items);
}

Status Run::save(Net& net, const Batcher& batcher) {
  log_.flush();
  state_.position = batcher.position();
  state_.fingerprint = fingerprint_;
  state_.weights.assign(net.weights().begin(), net.weights().end());
  return write_checkpoint(checkpoint_path(), state_);
}

Status Run::loop() {
  SEDGE_CHECK(open_log());
  const std::unique_ptr<Net> net = make_net(state_.net, recipe_.batch, precision_, backend_);
  std::ranges::copy(state_.weights, net->weights().begin());
  net->refresh();
  say("{} weights, {} products, {} kernels, {} threads", weight_count(state_.net),
      precision_ == Precision::kBf16 ? "bf16" : "f32", fused().name, backend_.threads());
  Batcher batcher(train_, recipe_.batch, recipe_.seed, state_.position);
  Batch batch;
  const auto due = [this](std::size_t every) {
    return state_.step == recipe_.steps || (every > 0 && state_.step % every == 0);
  };
  while (state_.step < recipe_.steps) {
    SEDGE_CHECK(step(*net, batcher, batch));
    if (due(recipe_.eval_every)) {
      for (const HeldOut& held_out : held_out_) evaluate(*net, held_out);
    }
    const bool stopped = observer_.stop();
    if (due(recipe_.checkpoint_every) || stopped) SEDGE_CHECK(save(*net, batcher));
    if (stopped && state_.step < recipe_.steps) {
      return fail(Code::kCancelled, "stopped after step {}; the same command goes on from there", state_.step);
    }
  }
  return {};
}

Status Run::write_model() {
  const fs::path folder = out_ / "huggingface";
  const fs::path gguf = recipe_.gguf.empty() ? out_ / (recipe_.name + ".gguf") : fs::path(recipe_.gguf);
  SEDGE_CHECK(export_huggingface(state_, folder));
  SEDGE_CHECK(export_gguf(folder, gguf, recipe_.name, recipe_.type));
  say("wrote {} and {}", gguf.string(), folder.string());
  return {};
}

}  // namespace

Status train(const Recipe& recipe, Backend& backend, const Observer& observer) {
  return Run(recipe, backend, observer).go();
}

}  // namespace sedge::train
