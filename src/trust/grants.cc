#include "trust/grants.h"

#include <algorithm>
#include <array>

namespace sedge::trust {
namespace {

constexpr std::array<std::string_view, 7> kVerbNames = {"pub", "sub", "write", "task", "enrol", "revoke", "model"};

// Walks the levels of a path. "" has one empty level, as "a/" has two.
struct Levels {
  std::string_view rest;
  bool done = false;

  std::string_view next() {
    const auto slash = rest.find('/');
    const std::string_view level = rest.substr(0, slash);
    done = slash == std::string_view::npos;
    if (!done) rest.remove_prefix(slash + 1);
    return level;
  }
};

bool well_formed(std::string_view text, bool signs) {
  if (text.empty() || text.size() > kPatternBytesMax) return false;
  Levels levels{text};
  while (!levels.done) {
    const std::string_view level = levels.next();
    for (const char c : level) {
      const bool sign = c == '+' || c == '#';
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || (sign && (!signs || level.size() != 1))) return false;
    }
    if (level == "#" && !levels.done) return false;
  }
  return true;
}

// One walk serves both questions: a path is a pattern without signs.
bool walk(std::string_view outer, std::string_view inner) {
  Levels outer_levels{outer};
  Levels inner_levels{inner};
  for (;;) {
    const std::string_view wanted = outer_levels.next();
    if (wanted == "#") return true;
    const std::string_view given = inner_levels.next();
    if (given == "#" || (wanted != "+" && wanted != given)) return false;
    if (inner_levels.done) return outer_levels.done || outer_levels.rest == "#";
    if (outer_levels.done) return false;
  }
}

}  // namespace

std::string_view verb_name(Verb verb) { return kVerbNames[static_cast<std::size_t>(verb)]; }

bool valid_pattern(std::string_view pattern) { return well_formed(pattern, true); }
bool valid_path(std::string_view path) { return well_formed(path, false); }
bool matches(std::string_view pattern, std::string_view path) { return walk(pattern, path); }
bool covers(std::string_view outer, std::string_view inner) { return walk(outer, inner); }

Grants Grants::of_a_node() {
  return {{Verb::kPub, "#"}, {Verb::kSub, "#"}, {Verb::kWrite, "#"}, {Verb::kTask, "#"}, {Verb::kModel, "#"}};
}

Grants Grants::of_an_issuer() {
  Grants grants = of_a_node();
  grants.list_.push_back({Verb::kEnrol, "#"});
  grants.list_.push_back({Verb::kRevoke, "#"});
  return grants;
}

bool Grants::allows(Verb verb, std::string_view path) const {
  return std::any_of(list_.begin(), list_.end(),
                     [&](const Grant& grant) { return grant.verb == verb && matches(grant.pattern, path); });
}

bool Grants::covers(const Grants& others) const {
  return std::all_of(others.list_.begin(), others.list_.end(), [&](const Grant& other) {
    return std::any_of(list_.begin(), list_.end(), [&](const Grant& own) {
      return own.verb == other.verb && trust::covers(own.pattern, other.pattern);
    });
  });
}

Status Grants::validate() const {
  if (list_.size() > kGrantsMax) {
    return fail(Code::kInvalidArgument, "{} grants; a certificate holds at most {}", list_.size(), kGrantsMax);
  }
  for (const Grant& grant : list_) {
    if (!valid_pattern(grant.pattern)) {
      return fail(Code::kInvalidArgument, "the grant '{}' is no pattern: write {}:telemetry/+/battery or {}:orders/#",
                  grant_text(grant), verb_name(grant.verb), verb_name(grant.verb));
    }
  }
  return {};
}

Result<Grant> parse_grant(std::string_view text) {
  const auto colon = text.find(':');
  const auto verb = std::find(kVerbNames.begin(), kVerbNames.end(), text.substr(0, colon));
  if (colon == std::string_view::npos || verb == kVerbNames.end() || !valid_pattern(text.substr(colon + 1))) {
    return fail(Code::kInvalidArgument, "'{}' is not a grant: write pub:telemetry/#, with one of {}", text,
                fmt::join(kVerbNames, ", "));
  }
  return Grant{static_cast<Verb>(verb - kVerbNames.begin()), std::string(text.substr(colon + 1))};
}

std::string grant_text(const Grant& grant) { return fmt::format("{}:{}", verb_name(grant.verb), grant.pattern); }

}  // namespace sedge::trust
