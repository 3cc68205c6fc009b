#include "train/heron/action.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace sedge::train::heron {
namespace {

// The order of a sentence: what, who, with what, where, how, when, what else. The last ten keys belong to conditions.
constexpr std::array<std::string_view, 38> kKeys = {
    "do",   "who", "not", "n",       "what",    "text", "as",    "state", "shape",  "lead",    "order", "from", "via",
    "at",   "to",  "alt", "speed",   "heading", "gap",  "for",   "if",    "unless", "until",   "on",    "also", "then",
    "else", "why", "see", "battery", "lost",    "done", "after", "time",  "wind",   "weather", "is",    "told"};

std::size_t place_of(std::string_view key) {
  const auto* found = std::ranges::find(kKeys, key);
  SEDGE_ASSERT(found != kKeys.end());
  return static_cast<std::size_t>(found - kKeys.begin());
}

}  // namespace

void Action::set_text(std::string_view key, std::string_view text) {
  // The sentence generator makes neither quotes nor backslashes inside a value, and `name` and `text` forbid both.
  fields_[place_of(key)] = '"' + std::string(text) + '"';
}

void Action::set_raw(std::string_view key, std::string json) { fields_[place_of(key)] = std::move(json); }

bool Action::has(std::string_view key) const { return fields_.contains(place_of(key)); }

std::string Action::raw(std::string_view key) const {
  const auto found = fields_.find(place_of(key));
  return found == fields_.end() ? "" : found->second;
}

std::string Action::text(std::string_view key) const {
  const std::string json = raw(key);
  return json.starts_with('"') ? json.substr(1, json.size() - 2) : "";
}

std::string Action::write() const {
  std::string out = "{";
  for (const auto& [place, value] : fields_) {
    if (out.size() > 1) out += ',';
    out += '"';
    out += kKeys[place];
    out += "\":";
    out += value;
  }
  return out + '}';
}

}  // namespace sedge::train::heron
