#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kHeadTokens = 48;  // logits of a whole window would take 256 MiB for a large vocabulary

// -log softmax(logits)[id]
double token_loss(std::span<const float> logits, std::int32_t id) {
  const float best = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += static_cast<double>(kernels::exp_f32(logit - best));
  return kernels::log_f64(sum) + static_cast<double>(best - logits[static_cast<std::size_t>(id)]);
}

}  // namespace

Result<WindowLoss> window_loss(Engine& engine, const Model& model, Sequence& sequence,
                               std::span<const std::int32_t> window, std::span<const AdapterUse> adapters,
                               const Control* control) {
  if (window.size() < 2) return fail(Code::kInvalidArgument, "a window of {} tokens predicts nothing", window.size());
  const std::size_t dim = model.config().dim, vocab = model.config().vocab;
  std::vector<float> hidden(window.size() * dim), logits(std::min(kHeadTokens, window.size()) * vocab);
  SEDGE_CHECK(engine.embed(model, window, hidden));
  sequence.truncate(0);
  const Slice slice{&sequence, window.size(), adapters};
  SEDGE_CHECK(engine.forward(model, {&slice, 1}, 0, model.config().layers, hidden, control));
  WindowLoss loss;
  const std::size_t predicting = window.size() - 1;
  for (std::size_t first = 0; first < predicting; first += kHeadTokens) {
    const std::size_t count = std::min(kHeadTokens, predicting - first);
    const auto chunk = std::span(logits).first(count * vocab);
    SEDGE_CHECK(engine.head(model, std::span(hidden).subspan(first * dim, count * dim), chunk, control));
    for (std::size_t t = 0; t < count; ++t)
      loss.nats += token_loss(chunk.subspan(t * vocab, vocab), window[first + t + 1]);
  }
  loss.tokens = predicting;
  return loss;
}

std::size_t Perplexity::tokens() const {
  std::size_t tokens = 0;
  for (const WindowLoss& window : windows_) tokens += window.tokens;
  return tokens;
}

double Perplexity::mean() const {
  double nats = 0;
  for (const WindowLoss& window : windows_) nats += window.nats;
  return windows_.empty() ? 0.0 : nats / static_cast<double>(tokens());
}

double Perplexity::value() const { return std::exp(mean()); }

double Perplexity::standard_error() const {
  if (windows_.size() < 2) return 0;
  double squares = 0;
  for (const WindowLoss& window : windows_) {
    const double apart = window.nats - static_cast<double>(window.tokens) * mean();
    squares += apart * apart;
  }
  const auto count = static_cast<double>(windows_.size());
  return value() * std::sqrt(count / (count - 1) * squares) / static_cast<double>(tokens());
}

std::vector<std::span<const std::int32_t>> cut_windows(std::span<const std::int32_t> ids, std::size_t window,
                                                       std::size_t windows_max) {
  std::vector<std::span<const std::int32_t>> windows;
  for (std::size_t at = 0; at + window <= ids.size(); at += window) {
    if (windows_max != 0 && windows.size() == windows_max) break;
    windows.push_back(ids.subspan(at, window));
  }
  if (windows.empty() && !ids.empty()) windows.push_back(ids);
  return windows;
}

}  // namespace sedge::engine
