// One action while it is being put together: fields in any order, printed in the canonical one
// (docs/formats/action.md). A map of ready JSON snippets is all that a generator needs; json::Value was rejected
// because its objects keep the order of insertion, and a model must always see the same order.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace sedge::train::heron {

class Action {
 public:
  void set_text(std::string_view key, std::string_view text);  // stored as a JSON string
  void set_raw(std::string_view key, std::string json);        // stored as it is: a number, list or nested action
  bool has(std::string_view key) const;
  std::string raw(std::string_view key) const;   // "" if absent
  std::string text(std::string_view key) const;  // a string without its quotes, "" if absent
  std::string write() const;                     // {"do":...} without white space, keys in canonical order

 private:
  std::map<std::size_t, std::string> fields_;  // by the key's place in the canonical order
};

}  // namespace sedge::train::heron
