// JSON behind one door: Boost.JSON, with our limits and our errors. Depth and size are bounded so that a
// hostile document costs at most its own length; an error names the document and the byte offset.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"

namespace sedge::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

struct Limits {
  std::size_t depth_max = 32;
  std::size_t bytes_max = 64u << 20;  // the largest tokenizer.json seen is 17 MB
};

// `what` names the document in errors ("tokenizer.json").
// Errors: ResourceExhausted (over a limit), DataLoss (not JSON): refuse the document.
Result<Value> parse(std::string_view text, std::string_view what, Limits limits = {});

// The parser keeps the last of two members with one name; where that would let a file say two things, ask first.
// Errors: DataLoss naming the second of two equal names in one object, and its offset. Requires: parse() took `text`.
Status check_unique_names(std::string_view text, std::string_view what);

std::string write(const Value& value);

// Typed access with errors that name the field. `object` must be the object itself, `key` its member.
// Errors: InvalidArgument when missing, of another type, or out of the type's range.
Result<const Object*> as_object(const Value& value, std::string_view what);
Result<const Value*> member(const Object& object, std::string_view key);
Result<std::string> get_string(const Object& object, std::string_view key);
Result<std::int64_t> get_int(const Object& object, std::string_view key);
Result<std::uint64_t> get_uint(const Object& object, std::string_view key);
Result<double> get_double(const Object& object, std::string_view key);
Result<bool> get_bool(const Object& object, std::string_view key);

}  // namespace sedge::json
