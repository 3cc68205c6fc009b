// Who hears whom, and when, as somebody has recorded it: radios in a mine, vehicles in a town. Mobility (mobility.h)
// draws such a thing; this plays one again. Text, one contact a line (docs/formats/scenario.md §2), because recorded
// traces come as text and each needs a line of awk to become it.
#pragma once

#include <cstddef>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace sedge::sim {

inline constexpr std::size_t kContactsMax = 1'000'000;

// In [from, to) `hearer` hears `speaker`. A contact of two is two of these.
struct Contact {
  Duration from{}, to{};
  std::size_t speaker = 0, hearer = 0;
  friend bool operator==(const Contact&, const Contact&) = default;
};

// Errors: InvalidArgument: names the line and what it may be.
Result<std::vector<Contact>> parse_contacts(std::string_view text, std::size_t nodes);

class Contacts {
 public:
  Contacts(const std::vector<Contact>& contacts, Instant began);

  // Lets time pass up to now; false when nothing changed.
  bool move(Instant now);
  Instant next() const { return done_ < changes_.size() ? changes_[done_].at : kNever; }
  bool hears(std::size_t speaker, std::size_t hearer) const { return open_.contains({speaker, hearer}); }

 private:
  struct Change {
    Instant at{};
    int more = 0;  // contacts of this pair: a trace may tell of one twice
    std::pair<std::size_t, std::size_t> pair;
  };
  std::vector<Change> changes_;  // by time
  std::size_t done_ = 0;
  std::map<std::pair<std::size_t, std::size_t>, int> open_;
};

}  // namespace sedge::sim
