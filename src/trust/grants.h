// What a certificate allows: verbs on paths. A pattern is levels separated by '/', where '+' stands for one level and
// a final '#' for any number of them, none included ("a/#" matches "a"), as MQTT has it; one language for topics,
// entries, models and node names, so that people learn one.
// Regular expressions were rejected: whether one pattern covers another must be decidable, because an issuer may only
// hand out what its own certificate covers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sedge::trust {

enum class Verb : std::uint8_t {
  kPub,     // publish on a topic
  kSub,     // receive a topic
  kWrite,   // write a replicated entry
  kTask,    // ask for a model; the path is the model's name
  kEnrol,   // issuers: sign certificates for nodes with such names
  kRevoke,  // issuers: withdraw certificates of nodes with such names
  kModel,   // besides kWrite: make a replicated entry a tensor, such as a model's parameters
};
constexpr Verb wire_last(Verb) { return Verb::kModel; }
std::string_view verb_name(Verb verb);

inline constexpr std::size_t kGrantsMax = 64;
inline constexpr std::size_t kPatternBytesMax = 256;

struct Grant {
  Verb verb{};
  std::string pattern;
  friend bool operator==(const Grant&, const Grant&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("verb", verb);
    visit("pattern", pattern);
  }
};

// '+' and '#' stand alone in their level, '#' only in the last one; no empty pattern, no control characters.
bool valid_pattern(std::string_view pattern);
// As a pattern, without the two signs.
bool valid_path(std::string_view path);
// Both well-formed. Cost: one walk over both.
bool matches(std::string_view pattern, std::string_view path);
// True when everything that `inner` matches is matched by `outer`.
bool covers(std::string_view outer, std::string_view inner);

class Grants {
 public:
  Grants() = default;
  Grants(std::initializer_list<Grant> list) : list_(list) {}
  explicit Grants(std::vector<Grant> list) : list_(std::move(list)) {}

  static Grants of_a_node();     // pub #, sub #, write #, task #, model #
  static Grants of_an_issuer();  // all of it, to hand out, with enrol # and revoke #

  bool allows(Verb verb, std::string_view path) const;
  bool covers(const Grants& others) const;
  Status validate() const;  // InvalidArgument: names the grant that is wrong
  const std::vector<Grant>& list() const { return list_; }

  friend bool operator==(const Grants&, const Grants&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("grants", list_);
  }

 private:
  std::vector<Grant> list_;
};

// "pub:telemetry/#", as people write it. Errors: InvalidArgument, with what a right one looks like.
Result<Grant> parse_grant(std::string_view text);
std::string grant_text(const Grant& grant);

}  // namespace sedge::trust
