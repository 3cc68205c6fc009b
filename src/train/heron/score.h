// Scores a model's actions against expected ones: exact match after parsing, the order of keys ignored. No partial
// credit: a robot that flies to the right field at the wrong height has not understood.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sedge::train::heron {

// Equal as JSON with the order of object keys ignored; the order of lists counts. Text that is not JSON equals nothing.
bool same_action(std::string_view expected, std::string_view got);

// The canonical form of an action: keys sorted, no white space. Errors: as json::parse.
Result<std::string> sorted_json(std::string_view text);

struct Case {
  std::string sentence;
  std::string action;
};

// Reads an evaluation file, one JSON object a line, in either form: {"prompt":"<sentence>\n","completion":"<action>"}
// or, easier to write by hand, {"sentence":"...","action":{...}}.
// Errors: NotFound, or the line's number and what is wrong with it.
Result<std::vector<Case>> read_cases(const std::string& path);

class Score {
 public:
  void add(const Case& expected, std::string_view got);
  std::size_t total() const { return total_; }
  std::size_t right() const { return right_; }
  double exact_match() const { return total_ == 0 ? 0 : static_cast<double>(right_) / static_cast<double>(total_); }

  // A row for each action (the expected one) and the first `mistakes_max` mistakes as sentence, expected, got.
  std::string table(std::size_t mistakes_max = 0) const;

 private:
  struct Row {
    std::size_t total = 0;
    std::size_t right = 0;
  };
  struct Mistake {
    Case expected;
    std::string got;
  };
  std::size_t total_ = 0;
  std::size_t right_ = 0;
  std::map<std::string, Row> rows_;
  std::vector<Mistake> mistakes_;
};

}  // namespace sedge::train::heron
