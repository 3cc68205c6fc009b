#include "platform/speculation.h"

#include <algorithm>

namespace sedge::platform {
namespace {

// Of a step's time, what draft models may take to read what they have not read yet.
constexpr double kReadingPart = 0.5;
constexpr std::size_t kReadMin = 48;        // tokens: until a row is measured, and where it costs much
constexpr double kUnmeasuredPart = 0.25;    // of the model's time the draft model's, before it is known
constexpr std::size_t kAnswerTokens = 256;  // no more are counted on, whatever a text may have

}  // namespace

// Whether the draft model guesses for this text: its guesses gain more than `least_gain`, and what it has to read first
// takes less than they save. `rows` are those of the step so far, of `texts` texts.
bool Speculation::ask_draft(engine::Member& member, const engine::Pacer& pacer, std::size_t texts, std::size_t rows,
                            double least_gain, Pacers& pacers) {
  engine::Generation& text = *member.generation;
  const engine::Guessing drafted = text.drafted();
  if (drafted.most == 0) return false;
  const engine::Pacer small = pacers.of(*drafted.model);
  const double gap_s = pacer.gap_s(texts), row_s = small.reading_s(1);
  const double measured_s = small.gap_s(texts) / static_cast<double>(texts);
  const auto guesses =
      pacer.guesses(rows, drafted.most, drafted.acceptance, measured_s > 0 ? measured_s : kUnmeasuredPart * gap_s);
  if (guesses.gain <= least_gain) return false;
  const double saved_s =
      (1 - 1 / guesses.gain) * gap_s * static_cast<double>(std::min(text.tokens_left(), kAnswerTokens));
  const bool behind = drafted.unread > engine::Drafting::kFewTokens;
  if (behind && saved_s < row_s * static_cast<double>(drafted.unread)) return false;
  if (text.begin_draft() == nullptr) return false;
  if (row_s > 0) read_max_ = std::max(kReadMin, static_cast<std::size_t>(kReadingPart * gap_s / row_s));
  wishes_.push_back({&text, guesses.count});
  drafted_.push_back(&member);
  return true;
}

void Speculation::choose(std::span<engine::Member> members, Pacers& pacers) {
  const engine::Pacer pacer = pacers.of(members[0].generation->model());
  wishes_.clear(), drafted_.clear();
  read_max_ = kReadMin;
  std::size_t rows = members.size();
  for (engine::Member& member : members) {
    const engine::Guessing looked_up = member.generation->looked_up();
    const auto guesses = pacer.guesses(rows, looked_up.most, looked_up.acceptance);
    member.drafts = guesses.count;
    const bool asked = ask_draft(member, pacer, members.size(), rows, guesses.gain, pacers);
    rows += asked ? wishes_.back().guesses : member.drafts;
  }
}

Status Speculation::draft(engine::Engine& engine, Pacers& pacers, const Clock& clock, const engine::Control* control) {
  const engine::Model& model = wishes_[0].generation->draft()->model();
  drafting_.begin(wishes_, read_max_);
  for (;;) {
    const Instant begun = clock();
    SEDGE_TRY(const std::size_t rows, drafting_.pass(engine, control));
    if (rows == 0) break;
    // A text that reads on has many rows; else there is one a text, or two.
    const bool reading = rows > drafting_.texts() + engine::Drafting::kFewTokens;
    pacers.took(model, reading ? 0 : rows, reading ? rows : 0, clock() - begun);
  }
  for (engine::Member* member : drafted_) {
    if (const std::size_t guessed = member->generation->draft()->guesses().size(); guessed > 0)
      member->drafts = guessed;
  }
  return {};
}

Status Speculation::guess(engine::Engine& engine, std::span<engine::Member> members, Pacers& pacers, const Clock& clock,
                          const engine::Control* control) {
  choose(members, pacers);
  if (wishes_.empty()) return {};
  return draft(engine, pacers, clock, control);
}

}  // namespace sedge::platform
