// The values of a chat template: Python's, as far as templates see them. Strings and containers are shared and never
// change, so passing one around costs nothing and no value can contain itself; a namespace is the one thing that
// changes, and it cannot be put into a container, nor can a macro or a method. All work is counted: a template is a
// stranger's program.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sedge::model::jinja {

// What a rendering may cost. A unit is a step, or 16 bytes touched.
class Budget {
 public:
  Status spend(std::uint64_t units) {
    spent_ += units;
    if (spent_ <= kUnitsMax) return {};
    return fail(Code::kResourceExhausted, "more than {} steps", kUnitsMax);
  }
  Status spend_bytes(std::uint64_t bytes) { return spend(1 + bytes / 16); }

 private:
  static constexpr std::uint64_t kUnitsMax = 2'000'000;  // 32 MiB of text, or a fraction of a second
  std::uint64_t spent_ = 0;
};

struct Value;
struct Macro;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in the order of insertion

struct Undefined {};
struct None {};
struct Container {  // a list or a dict, whole and immutable
  std::variant<List, Dict> items;
  int height = 1;  // of the tree below: bounds every recursion over it
};
struct Namespace {
  Dict members;
};
struct Method {  // `subject.name`, waiting for its call
  std::shared_ptr<const Value> subject;
  std::string name;
};

struct Moment {  // of the clock of who asks; Python's datetime, of which templates see strftime alone
  std::int64_t local_s = 0;
};

struct Value {
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Container>, std::shared_ptr<Namespace>, const Macro*, Method, Moment>
      data;

  bool is_undefined() const { return std::holds_alternative<Undefined>(data); }
  bool is_none() const { return std::holds_alternative<None>(data); }
  const std::string* string() const;
  const List* list() const;
  const Dict* dict() const;
  Namespace* space() const;
  bool is_number() const { return data.index() >= 2 && data.index() <= 4; }
  bool is_integer() const { return data.index() == 2 || data.index() == 3; }
  std::int64_t integer() const;  // of a bool or an integer
  double number() const;         // of a bool, an integer or a float
};

Value make_bool(bool value);
Value make_int(std::int64_t value);
Value make_string(std::string text);

// Errors: ResourceExhausted (nested deeper than 32); InvalidArgument (holds a namespace, macro or method).
Result<Value> make_list(List items);
Result<Value> make_dict(Dict members);

// Errors: ResourceExhausted (nested deeper than 32).
Result<Value> from_json(const json::Value& value);

const Value* find_member(const Dict& dict, std::string_view key);

bool truth(const Value& value);
const char* type_name(const Value& value);

// Each walk counts what it touches.
Result<bool> equal(const Value& a, const Value& b, Budget& budget);
Result<std::string> print(const Value& value, Budget& budget);                         // as {{ value }} shows it
Result<std::string> to_json(const Value& value, std::int64_t indent, Budget& budget);  // indent < 0: on one line

}  // namespace sedge::model::jinja
