#include "serve/forecast.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace sedge::serve {
namespace {

constexpr double kRateSmoothing = 0.2;  // weight of the newest step, or piece of a prompt
constexpr double kRateMin = 1e-3;       // tokens a second: slower than this is no measurement

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(std::clamp(value, 0.0, 1e6) * 1e9)); }

// Those who share steps, and how.
struct Team {
  std::span<const Load* const> members;  // most urgent first, of one model
  std::size_t models;                    // that step now
  const ForecastOptions& options;

  std::size_t workers() const { return std::max<std::size_t>(options.workers / models, 1); }
  // Of `count` texts.
  std::size_t per_worker(std::size_t count) const {
    return std::clamp<std::size_t>((count + workers() - 1) / workers(), 1, options.batch_max);
  }
  bool any_decodes_beside(const Load& load) const {
    return std::ranges::any_of(members, [&](const Load* other) { return other != &load && other->prompt_s <= 0; });
  }
};

// When `members[which]` ends if nobody joins. Prompts go one after the other; while others generate they get the part
// of each step that stretches it, and those who generate are held up by no more than that.
double end_s(const Team& team, std::size_t which) {
  const Load& load = *team.members[which];
  const double stretch = team.options.stretch,
               decode = load.tokens * load.rates->step_s(team.per_worker(team.members.size()));
  double ahead = 0, others = 0;
  for (std::size_t i = 0; i < team.members.size(); ++i) {
    if (i < which) ahead += team.members[i]->prompt_s;
    if (i != which) others += team.members[i]->prompt_s;
  }
  if (load.prompt_s <= 0) return decode + std::min(others, (stretch - 1) * decode);
  const bool shared = ahead > 0 || team.any_decodes_beside(load);
  const double prompt = (ahead + load.prompt_s) * (shared ? stretch / (stretch - 1) : 1);
  return prompt + decode + std::min(others - ahead, (stretch - 1) * decode);
}

// Whether company would make one of the first `count` of `team` late. Who could not make it alone either is not waited
// for: with a tenth to spare, so that nobody is given up for an estimate's last digit.
bool hurts(const Team& team, std::size_t count, Instant now) {
  if (team.members.size() <= team.workers()) return false;
  for (std::size_t i = 0; i < count; ++i) {
    const Load& load = *team.members[i];
    if (load.deadline == kNever) continue;
    const Team alone{team.members.subspan(i, 1), team.models, team.options};
    if (now + seconds(end_s(alone, 0) * 0.9) > load.deadline) continue;
    if (now + seconds(end_s(team, i) * team.options.margin) > load.deadline) return true;
  }
  return false;
}

std::vector<const Load*> of_model(const Rates* model, std::span<const Load> loads, std::span<const std::size_t> taken) {
  std::vector<const Load*> members;
  for (const std::size_t each : taken) {
    if (loads[each].rates == model) members.push_back(&loads[each]);
  }
  return members;
}

// One task being played to its end.
struct Player {
  Load load;
  std::size_t index;
};

// Seconds of prompt and tokens that each of `team` gets done in a second. Together at least what one alone would: half
// of a step that is stretched to its double goes to a prompt, and the other half to tokens, at the step's own rate.
struct Pace {
  double prompt = 0, tokens = 0;
};

std::vector<Pace> paces(const Team& team) {
  std::vector<Pace> all(team.members.size());
  std::size_t reading = 0;
  for (const Load* each : team.members) reading += each->prompt_s > 0 ? 1 : 0;
  const bool mixed = reading > 0 && reading < team.members.size();
  const double stretch = mixed ? team.options.stretch : 1;
  std::size_t readers = team.workers();  // each worker reads one prompt at a time
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Load& load = *team.members[i];
    if (load.prompt_s <= 0) {
      all[i].tokens = 1 / (load.rates->step_s(team.per_worker(team.members.size() - reading)) * stretch);
    } else if (readers > 0) {
      all[i].prompt = mixed ? (stretch - 1) / stretch : 1;
      --readers;
    }
  }
  return all;
}

}  // namespace

double Rates::prefill_s(double tokens) const { return tokens / std::max(prefill_tok_s_, kRateMin); }

double Rates::step_s(std::size_t batch) const {
  batch = std::clamp<std::size_t>(batch, 1, kBatchMax);
  const double one = step_s_[1] > 0 ? step_s_[1] : 1 / kRateMin;
  double best = one * static_cast<double>(batch);
  for (std::size_t n = 2; n <= kBatchMax; ++n) {
    if (step_s_[n] == 0) continue;
    // A smaller batch several times over, or a larger one with some places empty.
    const double times = std::max(1.0, static_cast<double>(batch) / static_cast<double>(n));
    best = std::min(best, step_s_[n] * times);
  }
  return std::max(best, one);
}

void Rates::read(double tokens, double seconds) {
  if (tokens <= 0 || seconds <= 0) return;
  prefill_tok_s_ += kRateSmoothing * (tokens / seconds - prefill_tok_s_);
}

void Rates::stepped(std::size_t batch, double seconds) {
  if (batch == 0 || seconds <= 0) return;
  double& step = step_s_[std::min(batch, kBatchMax)];
  const double rate = step > 0 ? 1 / step : 1 / seconds;
  step = 1 / (rate + kRateSmoothing * (1 / seconds - rate));
}

std::vector<std::size_t> together(std::span<const Load> loads, Instant now, const ForecastOptions& options) {
  std::vector<std::size_t> taken;
  std::vector<const Rates*> models;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if (taken.size() == std::size_t{options.workers} * options.batch_max) break;
    // Whoever has a deadline and must wait closes the door: those behind it would make it wait longer.
    const bool known = std::ranges::find(models, loads[i].rates) != models.end();
    if (!known && models.size() == options.workers) {
      if (loads[i].deadline != kNever) break;
      continue;
    }
    if (!known) models.push_back(loads[i].rates);
    // It comes into its own team; where that is a new one, the others have fewer workers.
    const bool late = std::ranges::any_of(models, [&](const Rates* model) {
      if (known && model != loads[i].rates) return false;
      std::vector<const Load*> team = of_model(model, loads, taken);
      const std::size_t before = team.size();
      if (model == loads[i].rates) team.push_back(&loads[i]);
      return hurts({team, models.size(), options}, before, now);
    });
    if (late) break;
    taken.push_back(i);
  }
  return taken;
}

std::vector<Outlook> forecast(std::span<const Load> loads, Instant now, const ForecastOptions& options) {
  std::vector<Outlook> outlook(loads.size());
  std::vector<Player> left;
  for (std::size_t i = 0; i < loads.size(); ++i) left.push_back({loads[i], i});
  // Each round ends a prompt or a text; a few more for what rounding leaves. What is left then ends never.
  for (std::size_t round = 0; !left.empty() && round < 4 * loads.size(); ++round) {
    std::vector<Load> now_left;
    for (const Player& player : left) now_left.push_back(player.load);
    const std::vector<std::size_t> chosen = together(now_left, now, options);
    double time = 1e6;
    std::set<const Rates*> models;
    for (const std::size_t each : chosen) models.insert(now_left[each].rates);
    std::vector<Pace> pace(left.size());
    for (const Rates* model : models) {
      std::vector<const Load*> members;
      std::vector<std::size_t> places;
      for (const std::size_t each : chosen) {
        if (now_left[each].rates == model) members.push_back(&now_left[each]), places.push_back(each);
      }
      const std::vector<Pace> of_team = paces({members, models.size(), options});
      for (std::size_t i = 0; i < places.size(); ++i) {
        pace[places[i]] = of_team[i];
        if (of_team[i].prompt > 0) time = std::min(time, members[i]->prompt_s / of_team[i].prompt);
        if (of_team[i].tokens > 0) time = std::min(time, members[i]->tokens / of_team[i].tokens);
      }
    }
    now += seconds(time * options.margin);
    std::vector<Player> after;
    for (std::size_t i = 0; i < left.size(); ++i) {
      Player player = left[i];
      const bool reading = player.load.prompt_s > 0;
      if (reading) {
        player.load.prompt_s -= pace[i].prompt * time;
        if (player.load.prompt_s < 1e-9) player.load.prompt_s = 0, outlook[player.index].first_token = now;
      } else {
        player.load.tokens -= pace[i].tokens * time;
        if (outlook[player.index].first_token == kNever && pace[i].tokens > 0) outlook[player.index].first_token = now;
      }
      if (player.load.prompt_s <= 0 && player.load.tokens < 1e-6) {
        outlook[player.index].end = now;
      } else {
        after.push_back(player);
      }
    }
    left = std::move(after);
  }
  return outlook;
}

}  // namespace sedge::serve
