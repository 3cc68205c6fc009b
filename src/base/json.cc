#include "base/json.h"

#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>

namespace sedge::json {

Result<Value> parse(std::string_view text, std::string_view what, Limits limits) {
  if (text.size() > limits.bytes_max) {
    return fail(Code::kResourceExhausted, "{}: {} bytes of JSON, at most {} are read", what, text.size(),
                limits.bytes_max);
  }
  boost::json::parse_options options;
  options.max_depth = limits.depth_max;
  boost::json::stream_parser parser({}, options);
  boost::system::error_code error;
  const std::size_t read = parser.write_some(text.data(), text.size(), error);
  if (!error && parser.done()) {
    const auto rest = text.find_first_not_of(" \t\r\n", read);
    if (rest == std::string_view::npos) return parser.release();
    return fail(Code::kDataLoss, "{}: more than one JSON value, the second at offset {}", what, rest);
  }
  if (!error) parser.finish(error);
  if (!error) return parser.release();  // a bare number ends only with its document
  if (read == text.size()) return fail(Code::kOutOfRange, "{}: JSON ends too early, at offset {}", what, text.size());
  return fail(Code::kDataLoss, "{}: bad JSON at offset {}: {}", what, read, error.message());
}

namespace {

// The string whose opening quote stands at `at`, unescaped; `at` moves past its closing quote.
std::string read_string(std::string_view text, std::size_t& at) {
  const std::size_t start = at++;
  bool escaped = false;
  while (at < text.size() && text[at] != '"') {
    escaped = escaped || text[at] == '\\';
    at += text[at] == '\\' ? 2 : 1;
  }
  const std::string_view literal = text.substr(start, ++at - start);
  if (!escaped) return std::string(literal.substr(1, literal.size() - 2));
  const auto value = parse(literal, "name");
  return value && value->is_string() ? std::string(value->get_string()) : std::string(literal);
}

}  // namespace

Status check_unique_names(std::string_view text, std::string_view what) {
  struct Open {
    bool object;
    std::set<std::string> names;
  };
  std::vector<Open> open;
  bool name_next = false;
  for (std::size_t at = 0; at < text.size();) {
    const char letter = text[at];
    if (letter == '"') {
      const std::size_t start = at;
      const std::string name = read_string(text, at);
      if (name_next && !open.back().names.insert(name).second) {
        return fail(Code::kDataLoss, "{}: '{}' stands twice, the second at offset {}", what, name, start);
      }
      name_next = false;
      continue;
    }
    if (letter == '{' || letter == '[') open.push_back({letter == '{', {}});
    if ((letter == '}' || letter == ']') && !open.empty()) open.pop_back();
    if (letter == '{' || letter == ',') name_next = !open.empty() && open.back().object;
    if (letter == '}' || letter == ']' || letter == '[') name_next = false;
    ++at;
  }
  return {};
}

std::string write(const Value& value) { return boost::json::serialize(value); }

Result<const Object*> as_object(const Value& value, std::string_view what) {
  if (const Object* object = value.if_object()) return object;
  return fail(Code::kInvalidArgument, "{} is not a JSON object", what);
}

Result<const Value*> member(const Object& object, std::string_view key) {
  if (const Value* value = object.if_contains(key)) return value;
  return fail(Code::kInvalidArgument, "field '{}' is missing", key);
}

Result<std::string> get_string(const Object& object, std::string_view key) {
  SEDGE_TRY(const Value* value, member(object, key));
  if (const auto* text = value->if_string()) return std::string(text->data(), text->size());
  return fail(Code::kInvalidArgument, "field '{}' is not a string", key);
}

Result<std::int64_t> get_int(const Object& object, std::string_view key) {
  SEDGE_TRY(const Value* value, member(object, key));
  if (const auto* number = value->if_int64()) return *number;
  return fail(Code::kInvalidArgument, "field '{}' is not an integer", key);
}

Result<std::uint64_t> get_uint(const Object& object, std::string_view key) {
  SEDGE_TRY(const Value* value, member(object, key));
  if (const auto* number = value->if_uint64()) return *number;
  const auto* number = value->if_int64();
  if (number != nullptr && *number >= 0) return static_cast<std::uint64_t>(*number);
  return fail(Code::kInvalidArgument, "field '{}' is not a non-negative integer", key);
}

Result<double> get_double(const Object& object, std::string_view key) {
  SEDGE_TRY(const Value* value, member(object, key));
  if (value->is_number()) return value->to_number<double>();
  return fail(Code::kInvalidArgument, "field '{}' is not a number", key);
}

Result<bool> get_bool(const Object& object, std::string_view key) {
  SEDGE_TRY(const Value* value, member(object, key));
  if (const auto* flag = value->if_bool()) return *flag;
  return fail(Code::kInvalidArgument, "field '{}' is neither true nor false", key);
}

}  // namespace sedge::json
