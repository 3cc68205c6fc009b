// Truth, equality and the three spellings of a value: as text, as Python's repr inside containers, as JSON.
#include "model/chat_template_value.h"

#include <cmath>

#include <fmt/format.h>

namespace sedge::model::jinja {

namespace {

constexpr int kHeightMax = 32;
constexpr std::size_t kContainerIndex = 6;  // of Value::data; what follows it could make a value contain itself

Result<int> height_over(const Value& item) {
  if (item.data.index() > kContainerIndex) {
    return fail(Code::kInvalidArgument, "a {} inside a container", type_name(item));
  }
  const auto* inner = std::get_if<std::shared_ptr<const Container>>(&item.data);
  const int height = inner != nullptr ? (*inner)->height + 1 : 1;
  if (height > kHeightMax) {
    return fail(Code::kResourceExhausted, "values nested deeper than {}", kHeightMax);
  }
  return height;
}

std::string float_text(double number) {
  std::string text = fmt::format("{}", number);
  if (std::isfinite(number) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string python_quoted(std::string_view text) {
  const char quote = text.contains('\'') && !text.contains('"') ? '"' : '\'';
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') quoted += '\\';
    if (c == '\n' || c == '\t' || c == '\r') {
      quoted += c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r";
    } else {
      quoted += c;
    }
  }
  return quoted + quote;
}

std::string json_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    constexpr std::string_view kFrom = "\"\\\n\r\t\b\f", kTo = "\"\\nrtbf";
    if (const std::size_t at = kFrom.find(c); at != std::string_view::npos) {
      quoted += '\\';
      quoted += kTo[at];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// One walk for repr and JSON: they differ in words, quotes and line breaks.
class Speller {
 public:
  Speller(bool json, std::int64_t indent, Budget& budget) : json_(json), indent_(indent), budget_(budget) {}

  Status put(const Value& value, std::int64_t level) {
    SEDGE_CHECK(budget_.spend_bytes(value.string() != nullptr ? value.string()->size() : 0));
    if (const std::string* text = value.string()) {
      out_ += json_ ? json_quoted(*text) : python_quoted(*text);
    } else if (const List* list = value.list()) {
      return put_items(*list, '[', ']', level, [&](const Value& item) { return put(item, level + 1); });
    } else if (const Dict* dict = value.dict()) {
      return put_items(*dict, '{', '}', level, [&](const auto& member) {
        out_ += json_ ? json_quoted(member.first) : python_quoted(member.first);
        out_ += ": ";
        return put(member.second, level + 1);
      });
    } else if (value.is_none()) {
      out_ += json_ ? "null" : "None";
    } else if (const bool* flag = std::get_if<bool>(&value.data)) {
      out_ += json_ ? (*flag ? "true" : "false") : (*flag ? "True" : "False");
    } else if (value.is_integer()) {
      out_ += fmt::format("{}", value.integer());
    } else if (value.is_number()) {
      out_ += float_text(value.number());
    } else if (json_ || !value.is_undefined()) {
      return fail(Code::kInvalidArgument, "a value of type {} cannot be spelled", type_name(value));
    } else {
      out_ += "Undefined";
    }
    return {};
  }

  std::string take() { return std::move(out_); }

 private:
  template <class Items, class PutItem>
  Status put_items(const Items& items, char open, char close, std::int64_t level, const PutItem& put_item) {
    const bool lines = indent_ >= 0 && !items.empty();
    const auto new_line = [&](std::int64_t depth) -> Status {
      if (!lines) return {};
      const auto spaces = static_cast<std::size_t>(depth * indent_);
      SEDGE_CHECK(budget_.spend_bytes(spaces));
      out_ += '\n';
      out_.append(spaces, ' ');
      return {};
    };
    out_ += open;
    bool first = true;
    for (const auto& item : items) {
      if (!first) out_ += lines ? "," : ", ";
      first = false;
      SEDGE_CHECK(new_line(level + 1));
      SEDGE_CHECK(put_item(item));
    }
    SEDGE_CHECK(new_line(level));
    out_ += close;
    return {};
  }

  bool json_;
  std::int64_t indent_;
  Budget& budget_;
  std::string out_;
};

}  // namespace

const std::string* Value::string() const {
  const auto* text = std::get_if<std::shared_ptr<const std::string>>(&data);
  return text != nullptr ? text->get() : nullptr;
}
const List* Value::list() const {
  const auto* container = std::get_if<std::shared_ptr<const Container>>(&data);
  return container != nullptr ? std::get_if<List>(&(*container)->items) : nullptr;
}
const Dict* Value::dict() const {
  const auto* container = std::get_if<std::shared_ptr<const Container>>(&data);
  return container != nullptr ? std::get_if<Dict>(&(*container)->items) : nullptr;
}
Namespace* Value::space() const {
  const auto* space = std::get_if<std::shared_ptr<Namespace>>(&data);
  return space != nullptr ? space->get() : nullptr;
}
std::int64_t Value::integer() const {
  const bool* flag = std::get_if<bool>(&data);
  return flag != nullptr ? *flag : std::get<std::int64_t>(data);
}
double Value::number() const {
  const double* number = std::get_if<double>(&data);
  return number != nullptr ? *number : static_cast<double>(integer());
}

Value make_bool(bool value) { return {value}; }
Value make_int(std::int64_t value) { return {value}; }
Value make_string(std::string text) { return {std::make_shared<const std::string>(std::move(text))}; }

Result<Value> make_list(List items) {
  int height = 1;
  for (const Value& item : items) {
    SEDGE_TRY(const int over, height_over(item));
    height = std::max(height, over);
  }
  return Value{std::make_shared<const Container>(Container{std::move(items), height})};
}

Result<Value> make_dict(Dict members) {
  int height = 1;
  for (const auto& [key, item] : members) {
    SEDGE_TRY(const int over, height_over(item));
    height = std::max(height, over);
  }
  return Value{std::make_shared<const Container>(Container{std::move(members), height})};
}

Result<Value> from_json(const json::Value& value) {
  if (const auto* array = value.if_array()) {
    List items;
    for (const json::Value& each : *array) {
      SEDGE_TRY(items.emplace_back(), from_json(each));
    }
    return make_list(std::move(items));
  }
  if (const auto* object = value.if_object()) {
    Dict members;
    for (const auto& member : *object) {
      SEDGE_TRY(Value item, from_json(member.value()));
      members.emplace_back(std::string(member.key()), std::move(item));
    }
    return make_dict(std::move(members));
  }
  if (const auto* text = value.if_string()) return make_string(std::string(*text));
  if (value.is_bool()) return make_bool(value.get_bool());
  if (value.is_int64()) return make_int(value.get_int64());
  return value.is_number() ? Value{value.to_number<double>()} : Value{None{}};
}

const Value* find_member(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_number()) return value.number() != 0;
  if (const std::string* text = value.string()) return !text->empty();
  if (const List* list = value.list()) return !list->empty();
  if (const Dict* dict = value.dict()) return !dict->empty();
  return true;
}

const char* type_name(const Value& value) {
  if (value.list() != nullptr) return "list";
  if (value.dict() != nullptr) return "dict";
  constexpr const char* kNames[] = {"undefined", "none",      "bool",  "integer", "float", "string",
                                    "container", "namespace", "macro", "method",  "moment"};
  return kNames[value.data.index()];
}

Result<bool> equal(const Value& a, const Value& b, Budget& budget) {
  SEDGE_CHECK(budget.spend_bytes(a.string() != nullptr ? a.string()->size() : 0));
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() == *b.string();
  if (const List *x = a.list(), *y = b.list(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    for (std::size_t i = 0; i < x->size(); ++i) {
      SEDGE_TRY(const bool same, equal((*x)[i], (*y)[i], budget));
      if (!same) return false;
    }
    return true;
  }
  if (const Dict *x = a.dict(), *y = b.dict(); x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    for (const auto& [key, value] : *x) {
      SEDGE_CHECK(budget.spend(y->size()));
      const Value* other = find_member(*y, key);
      if (other == nullptr) return false;
      SEDGE_TRY(const bool same, equal(value, *other, budget));
      if (!same) return false;
    }
    return true;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

Result<std::string> print(const Value& value, Budget& budget) {
  if (value.is_undefined()) return std::string();
  if (const std::string* text = value.string()) {
    SEDGE_CHECK(budget.spend_bytes(text->size()));
    return *text;
  }
  Speller speller(false, -1, budget);
  SEDGE_CHECK(speller.put(value, 0));
  return speller.take();
}

Result<std::string> to_json(const Value& value, std::int64_t indent, Budget& budget) {
  if (indent > 64) return fail(Code::kInvalidArgument, "tojson indents by {}", indent);
  Speller speller(true, indent, budget);
  SEDGE_CHECK(speller.put(value, 0));
  return speller.take();
}

}  // namespace sedge::model::jinja
