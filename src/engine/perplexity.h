// How well a model predicts a text: exp of the mean negative log-likelihood of its tokens.
//
// The text is cut into windows that do not overlap; each token but a window's first is predicted from the tokens
// before it in its window. The standard error treats windows as the independent draws, for tokens of one passage are
// not: with S_w the loss and n_w the tokens of window w of W, and m = sum S / sum n,
//   se(m) = sqrt(W / (W - 1) · sum (S_w - n_w · m)²) / sum n,   se(perplexity) = perplexity · se(m).
// Source: Jelinek et al. 1977; Cochran 1977 §6 (ratio estimator).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace sedge::engine {

struct WindowLoss {
  double nats = 0;         // summed over the predicted tokens
  std::size_t tokens = 0;  // predicted
};

// Errors: those of Engine; InvalidArgument for a window of fewer than two tokens or more than `sequence` holds.
Result<WindowLoss> window_loss(Engine& engine, const Model& model, Sequence& sequence,
                               std::span<const std::int32_t> window, std::span<const AdapterUse> adapters = {},
                               const Control* control = nullptr);

class Perplexity {
 public:
  void add(WindowLoss loss) { windows_.push_back(loss); }
  double value() const;
  double standard_error() const;  // 0 with fewer than two windows
  std::size_t windows() const { return windows_.size(); }
  std::size_t tokens() const;

 private:
  double mean() const;
  std::vector<WindowLoss> windows_;
};

// The windows of a text: whole ones, or the text itself when it fills none. At most `windows_max` (0: all).
std::vector<std::span<const std::int32_t>> cut_windows(std::span<const std::int32_t> ids, std::size_t window,
                                                       std::size_t windows_max = 0);

}  // namespace sedge::engine
