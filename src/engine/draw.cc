#include "engine/draw.h"

#include <algorithm>
#include <limits>

#include "base/prng.h"
#include "kernels/kernels.h"
#include "kernels/math.h"

namespace sedge::engine {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// Probabilities count as whole multiples of 2^-40 of the best one's, so that no sum depends on its order.
constexpr float kUnit = 0x1p40f;

struct Weighted {
  Candidate token;
  std::uint64_t weight;
};

// Leaves the best whose weights reach `wanted`, one at least; all where they do not. Halves what is left to decide, so
// that its cost is a few looks at each. Requires: at least one.
void keep_until(std::vector<Weighted>& tokens, std::uint64_t wanted) {
  std::size_t begin = 0, end = tokens.size();
  const auto at = [&](std::size_t place) { return tokens.begin() + static_cast<std::ptrdiff_t>(place); };
  const auto order = [](const Weighted& a, const Weighted& b) { return better(a.token, b.token); };
  while (end - begin > 1) {
    const std::size_t middle = begin + (end - begin) / 2;
    std::nth_element(at(begin), at(middle), at(end), order);
    std::uint64_t sum = 0;
    for (std::size_t i = begin; i < middle; ++i) sum += tokens[i].weight;
    if (sum >= wanted) {
      end = middle;
    } else {
      wanted -= sum;
      begin = middle;
    }
  }
  tokens.resize(begin + 1);
}

std::uint64_t part_of(std::uint64_t total, float top_p) {
  return static_cast<std::uint64_t>(static_cast<double>(top_p) * static_cast<double>(total));
}

// The k best, and of those what top_p leaves.
std::vector<Weighted> best_of_all(std::span<const float> logits, const Filters& filters, float best) {
  std::vector<Weighted> kept;
  std::uint64_t total = 0;
  for (const Candidate& each : best_candidates(logits, filters.top_k)) {
    kept.push_back({each, static_cast<std::uint64_t>(kernels::exp_f32(each.logit - best) * kUnit)});
    total += kept.back().weight;
  }
  if (filters.top_p < 1) keep_until(kept, part_of(total, filters.top_p));
  return kept;
}

// What top_p leaves of all tokens.
std::vector<Weighted> most_likely(std::span<const float> logits, float top_p, float best) {
  std::vector<float> exponentials(logits.size());
  kernels::active_kernels().exponential({logits.data(), logits.size(), best, exponentials.data()});
  const auto weight = [&](std::size_t i) {
    return logits[i] > kNone ? static_cast<std::uint64_t>(exponentials[i] * kUnit) : 0;
  };
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) total += weight(i);
  const std::uint64_t wanted = part_of(total, top_p);
  // Those that would not make up the rest if all tokens were as they are cannot be needed.
  const std::uint64_t least = (total - wanted) / logits.size();
  std::vector<Weighted> kept;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > kNone && weight(i) >= least) {
      kept.push_back({{logits[i], static_cast<std::int32_t>(i)}, weight(i)});
    }
  }
  keep_until(kept, wanted);
  return kept;
}

// Who arrives first.
class Race {
 public:
  Race(float best, float temperature, float min_p, std::uint64_t seed, std::uint64_t position)
      : best_(best), temperature_(temperature), min_p_(min_p) {
    const auto words = philox({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32), 0, 0},
                              {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    key_ = std::uint64_t{words[0]} << 32 | words[1];
  }

  void enter(const Candidate& token) {
    std::uint64_t state = key_ + static_cast<std::uint64_t>(token.id) * kGolden;
    const auto drawn = static_cast<std::int64_t>(splitmix64(state) >> 12);
    const double u = (static_cast<double>(drawn) + 0.5) * 0x1p-52;  // in (0, 1)
    const float x = (token.logit - best_) / temperature_;
    // e^-x >= 1 - x + x²/2 - x³/6 where x <= 0, and -ln u >= 1 - u: most are seen here to be behind, with room for what
    // is rounded.
    const double y = -static_cast<double>(x);
    if ((1 - u) * (1 + y * (1 + y * (0.5 + y / 6))) * rate_ > 1.000001) return;
    const double rate = static_cast<double>(kernels::exp_f32(x)) / -kernels::log_f64(u);
    if (rate < rate_ || (rate == rate_ && token.id > first_)) return;
    if (min_p_ > 0 && kernels::exp_f32(token.logit - best_) < min_p_) return;
    rate_ = rate;
    first_ = token.id;
  }
  std::int32_t first() const { return first_; }

 private:
  static constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // SplitMix64's step
  float best_, temperature_, min_p_;
  std::uint64_t key_ = 0;
  double rate_ = 0;  // one over the first one's time
  std::int32_t first_ = -1;
};

}  // namespace

std::vector<Candidate> best_candidates(std::span<const float> logits, std::size_t count) {
  std::vector<Candidate> heap;  // the worst of them on top
  for (std::size_t i = 0; i < logits.size() && count > 0; ++i) {
    const Candidate candidate{logits[i], static_cast<std::int32_t>(i)};
    if (!(candidate.logit > kNone)) continue;
    if (heap.size() == count) {
      if (!better(candidate, heap.front())) continue;
      std::ranges::pop_heap(heap, better);
      heap.back() = candidate;
    } else {
      heap.push_back(candidate);
    }
    std::ranges::push_heap(heap, better);
  }
  std::ranges::sort_heap(heap, better);
  return heap;
}

std::int32_t draw(std::span<const float> logits, float best, float temperature, const Filters& filters,
                  std::uint64_t seed, std::uint64_t position) {
  Race race(best, temperature, filters.min_p, seed, position);
  if (filters.top_k == 0 && filters.top_p >= 1) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > kNone) race.enter({logits[i], static_cast<std::int32_t>(i)});
    }
    return race.first();
  }
  for (const Weighted& each :
       filters.top_k > 0 ? best_of_all(logits, filters, best) : most_likely(logits, filters.top_p, best)) {
    race.enter(each.token);
  }
  return race.first();
}

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace sedge::engine
