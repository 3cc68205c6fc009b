// The filters, tests, functions and methods that a chat template may call: one table each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/chat_template_value.h"

namespace sedge::model::jinja {

struct Arguments {
  std::vector<Value> values;  // of a filter or test: the subject first
  std::vector<std::pair<std::string, Value>> named;

  // The argument at `index`, or called `name`; `otherwise` where neither was given.
  Value get(std::size_t index, std::string_view name, Value otherwise = {}) const;
};

// Errors: Unimplemented (no such name), InvalidArgument (a value of the wrong type). Without offsets: the caller adds
// them.
Result<Value> call_filter(std::string_view name, const Arguments& arguments, Budget& budget);
Result<bool> call_test(std::string_view name, const Arguments& arguments, Budget& budget);
Result<Value> call_method(const Value& subject, std::string_view name, const Arguments& arguments, Budget& budget);
Result<Value> call_function(std::string_view name, const Arguments& arguments, Budget& budget);
bool is_function(std::string_view name);
bool is_method(const Value& subject, std::string_view name);

// `item in container`. Errors: InvalidArgument for what contains nothing.
Result<bool> contains(const Value& container, const Value& item, Budget& budget);

// What a for loop or a filter walks: a list's items, a dict's keys, a string's characters.
// Errors: InvalidArgument for what cannot be walked.
Result<List> items_of(const Value& value, Budget& budget);

}  // namespace sedge::model::jinja
