// A recursive descent over patterns, which are compiled in and tested, so a bad one is our bug and asserts. Each nested
// action is expanded to its end before it is printed into its parent; "on" collects its handlers in a list.
#include "train/heron/expand.h"

#include <array>
#include <map>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "train/heron/grammar.h"
#include "train/heron/lexicon.h"

namespace sedge::train::heron {
namespace {

constexpr int kHeldOutBoost = 4;  // makes about every second draw contain a held-out row, so few are thrown away

const std::map<std::string_view, std::vector<int>>& tables() {
  static const auto kTables = [] {
    std::map<std::string_view, std::vector<int>> by_name;
    const auto rows = grammar();
    for (std::size_t i = 0; i < rows.size(); ++i) by_name[rows[i].table].push_back(static_cast<int>(i));
    return by_name;
  }();
  return kTables;
}

const Row& row_at(int id) { return grammar()[static_cast<std::size_t>(id)]; }

// The end of the group that opens at `begin`: the place of its closing bracket.
std::size_t closing(std::string_view pattern, std::size_t begin) {
  const char open = pattern[begin];
  const char close = open == '(' ? ')' : open == '[' ? ']' : open == '<' ? '>' : '}';
  int depth = 0;
  for (std::size_t i = begin; i < pattern.size(); ++i) {
    if (pattern[i] == open) ++depth;
    if (pattern[i] == close && --depth == 0) return i;
  }
  SEDGE_ASSERT(begin == pattern.npos);  // the pattern is unbalanced
  return begin;
}

std::vector<std::string_view> alternatives(std::string_view inside) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= inside.size(); ++i) {
    if (i == inside.size() || inside[i] == '|') {
      parts.push_back(inside.substr(begin, i - begin));
      begin = i + 1;
    } else if (inside[i] == '(' || inside[i] == '[' || inside[i] == '<' || inside[i] == '{') {
      i = closing(inside, i);
    }
  }
  return parts;
}

class Expander {
 public:
  Expander(Prng& prng, bool with_held_out) : prng_(prng), with_held_out_(with_held_out) {}

  Expansion run() {
    Action action;
    table("top", action);
    out_.action = action.write();
    return std::move(out_);
  }
  bool contradicts() const { return contradicts_; }

 private:
  void table(std::string_view name, Action& action) {
    const auto found = tables().find(name);
    SEDGE_ASSERT(found != tables().end());
    const int id = pick(found->second);
    const Row& row = row_at(id);
    std::string_view text = row.pattern;
    if (is_held_out(row)) {
      out_.held_out = true;
      text.remove_prefix(1);
    }
    if (out_.template_id < 0 && is_clause(row)) out_.template_id = id;
    pattern(text, action);
  }

  int weight(const Row& row) const {
    if (!is_held_out(row)) return row.weight;
    return with_held_out_ ? row.weight * kHeldOutBoost : 0;
  }

  int pick(const std::vector<int>& rows) {
    int total = 0;
    for (const int id : rows) total += weight(row_at(id));
    auto left = static_cast<int>(prng_.below(static_cast<std::uint64_t>(total)));
    for (const int id : rows) {
      left -= weight(row_at(id));
      if (left < 0) return id;
    }
    return rows.back();
  }

  void pattern(std::string_view text, Action& action) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c != '(' && c != '[' && c != '<' && c != '{') {
        speak(text.substr(i, 1), 't');
        continue;
      }
      const std::size_t end = closing(text, i);
      const std::string_view inside = text.substr(i + 1, end - i - 1);
      i = end;
      switch (c) {
        case '(': {
          const auto parts = alternatives(inside);
          pattern(parts[prng_.below(parts.size())], action);
          break;
        }
        case '[':
          if (prng_.chance(0.4)) pattern(inside, action);
          break;
        case '<':
          slot(inside, action);
          break;
        default:
          store(inside, action);
          break;
      }
    }
  }

  void speak(std::string_view text, char from) {
    for (const char c : text) {
      const bool space = c == ' ' && (out_.text.empty() || out_.text.back() == ' ');
      if (space) continue;  // an alternative may be empty
      out_.text += c;
      out_.mask += from;
    }
  }

  void slot(std::string_view inside, Action& action) {
    if (inside[0] == '#') return table(inside.substr(1), action);
    if (inside[0] == '&') return addressee(inside.substr(1), action);
    const std::size_t cut = inside.find(':');
    SEDGE_ASSERT(cut != inside.npos);
    if (inside[0] == '+') return nested(inside.substr(1, cut - 1), inside.substr(cut + 1), action);
    const Phrase phrase = make_phrase(inside.substr(0, cut), prng_);
    speak(phrase.spoken, 's');
    const std::string_view field = inside.substr(cut + 1);
    if (field == "-") return;
    if (field == "n") return put_raw(field, phrase.canon, action);
    const std::string sign = action.text(field);  // {alt=+}<length:alt> makes "+10 m"
    if (sign == "+" || sign == "-") return action.set_text(field, sign + phrase.canon);
    put_raw(field, '"' + phrase.canon + '"', action);
  }

  void addressee(std::string_view kind, Action& action) {
    const Addressee who = kind.ends_with("one") ? make_single_agent(prng_) : make_addressee(prng_);
    speak(who.spoken, 's');
    if (kind.starts_with('-')) return;
    put_raw("who", who.json, action);
    if (!who.except.empty()) put_raw("not", who.except, action);
  }

  void nested(std::string_view field, std::string_view name, Action& action) {
    Action inner;
    table(name, inner);
    std::string json = inner.write();
    if (inner.text("do") == "none") contradicts_ = true;
    if (field == "then" && action.text("do") == "takeoff" && inner.text("do") == "set" && inner.has("alt")) {
      contradicts_ = true;  // "take off and climb to 30 m" is one action, not two
    }
    if (field != "on") return put_raw(field, std::move(json), action);
    std::string list = action.raw("on");
    if (!list.empty()) list.back() = ',';
    action.set_raw("on", (list.empty() ? "[" : list) + json + "]");
  }

  // {field=value}, {field!=json}, {field+=suffix}
  void store(std::string_view inside, Action& action) {
    const std::size_t cut = inside.find('=');
    SEDGE_ASSERT(cut != inside.npos && cut > 0);
    const std::string_view value = inside.substr(cut + 1);
    const std::string_view field = inside.substr(0, inside[cut - 1] == '!' || inside[cut - 1] == '+' ? cut - 1 : cut);
    if (inside[cut - 1] == '+') return action.set_text(field, action.text(field) + std::string(value));
    if (inside[cut - 1] == '!' || field == "told") return put_raw(field, std::string(value), action);
    put_raw(field, '"' + std::string(value) + '"', action);
  }

  void put_raw(std::string_view field, std::string json, Action& action) {
    if (action.has(field)) contradicts_ = true;
    action.set_raw(field, std::move(json));
  }

  Prng& prng_;
  bool with_held_out_;
  bool contradicts_ = false;
  Expansion out_;
};

}  // namespace

Expansion expand(Prng& prng, bool with_held_out) {
  for (;;) {
    Expander expander(prng, with_held_out);
    Expansion out = expander.run();
    if (!expander.contradicts()) return out;
  }
}

}  // namespace sedge::train::heron
