// Metadata values, decoded when somebody asks for one.
#include <cmath>
#include <cstring>
#include <limits>

#include "model/gguf.h"
#include "model/gguf_types.h"

namespace sedge::model {
namespace {

__extension__ using Int128 = __int128;  // holds every u64 and every i64

template <class T>
T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::optional<Int128> integer_at(GgufType type, const std::uint8_t* at) {
  switch (type) {
    case GgufType::kU8:
      return load<std::uint8_t>(at);
    case GgufType::kI8:
      return load<std::int8_t>(at);
    case GgufType::kU16:
      return load<std::uint16_t>(at);
    case GgufType::kI16:
      return load<std::int16_t>(at);
    case GgufType::kU32:
      return load<std::uint32_t>(at);
    case GgufType::kI32:
      return load<std::int32_t>(at);
    case GgufType::kU64:
      return load<std::uint64_t>(at);
    case GgufType::kI64:
      return load<std::int64_t>(at);
    default:
      return std::nullopt;
  }
}

std::optional<double> real_at(GgufType type, const std::uint8_t* at) {
  if (type == GgufType::kF32) return load<float>(at);
  if (type == GgufType::kF64) return load<double>(at);
  return std::nullopt;
}

std::string type_text(const GgufEntry& entry) {
  if (entry.type != GgufType::kArray) return std::string(row_of(entry.type).name);
  return fmt::format("array of {}", row_of(entry.element).name);
}

Result<const GgufEntry*> entry_of(const GgufFile& file, std::string_view key) {
  if (const GgufEntry* entry = file.find(key)) return entry;
  return fail(Code::kNotFound, "metadata key '{}' is missing", key);
}

std::unexpected<Error> wrong_type(const GgufEntry& entry, std::string_view wanted) {
  return fail(Code::kInvalidArgument, "value of '{}' at offset {}: is {}, should be {}", entry.key, entry.offset,
              type_text(entry), wanted);
}

std::unexpected<Error> out_of_range(const GgufEntry& entry, std::string_view wanted) {
  return fail(Code::kInvalidArgument, "value of '{}' at offset {}: is not {}", entry.key, entry.offset, wanted);
}

// Calls `visit(text)` for the strings of a checked string array until it returns false.
template <class Visit>
void for_each_string(Bytes payload, Visit visit) {
  while (!payload.empty()) {
    const auto length = static_cast<std::size_t>(load<std::uint64_t>(payload.data()));
    payload = payload.subspan(sizeof(std::uint64_t));
    if (!visit(as_text(payload.first(length)))) return;
    payload = payload.subspan(length);
  }
}

// Quoted, with what a terminal could take for a command escaped.
std::string quoted(std::string_view text, std::size_t width) {
  std::string out = "\"";
  for (const char letter : text.substr(0, width)) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += letter;
    } else if (letter == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += letter;
    }
  }
  if (text.size() > width) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();  // half a letter
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
    out += "…";
  }
  return out + '"';
}

std::string element_text(GgufType type, const std::uint8_t* at) {
  if (type == GgufType::kBool) return *at != 0 ? "true" : "false";
  if (const auto real = real_at(type, at)) return fmt::format("{:g}", *real);
  if (type == GgufType::kU64) return fmt::format("{}", load<std::uint64_t>(at));
  return fmt::format("{}", static_cast<std::int64_t>(integer_at(type, at).value_or(0)));
}

}  // namespace

bool GgufEntry::operator==(const GgufEntry& other) const {
  return key == other.key && type == other.type && element == other.element && count == other.count &&
         as_text(payload) == as_text(other.payload);
}

std::string GgufEntry::describe(std::size_t width) const {
  if (type == GgufType::kString) return quoted(as_text(payload), width);
  if (type != GgufType::kArray) return element_text(type, payload.data());
  std::string list;
  std::uint64_t shown = 0;
  const auto add = [&](const std::string& item) {
    if (list.size() + item.size() > width) return false;
    list += (shown++ == 0 ? " " : ", ") + item;
    return true;
  };
  if (element == GgufType::kString) {
    for_each_string(payload, [&](std::string_view text) { return add(quoted(text, width)); });
  } else {
    const std::size_t bytes = row_of(element).bytes;
    for (std::size_t at = 0; at < payload.size(); at += bytes) {
      if (!add(element_text(element, payload.data() + at))) break;
    }
  }
  return fmt::format("[{} × {}]{}{}", count, row_of(element).name, list, shown < count ? ", …" : "");
}

Result<std::string> GgufFile::get_string(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  if (entry->type != GgufType::kString) return wrong_type(*entry, "a string");
  return std::string(as_text(entry->payload));
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  const auto value = integer_at(entry->type, entry->payload.data());
  if (!value) return wrong_type(*entry, "an integer");
  if (*value < 0) return out_of_range(*entry, "0 or more");
  return static_cast<std::uint64_t>(*value);
}

Result<std::int64_t> GgufFile::get_int(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  const auto value = integer_at(entry->type, entry->payload.data());
  if (!value) return wrong_type(*entry, "an integer");
  if (*value > std::numeric_limits<std::int64_t>::max()) return out_of_range(*entry, "a signed 64-bit number");
  return static_cast<std::int64_t>(*value);
}

Result<double> GgufFile::get_float(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  if (const auto value = real_at(entry->type, entry->payload.data())) return *value;
  return wrong_type(*entry, "a floating-point number");
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  if (entry->type != GgufType::kBool) return wrong_type(*entry, "true or false");
  return entry->payload[0] != 0;
}

Result<std::vector<std::string>> GgufFile::get_strings(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  if (entry->type != GgufType::kArray || entry->element != GgufType::kString) {
    return wrong_type(*entry, "an array of strings");
  }
  std::vector<std::string> strings;
  strings.reserve(static_cast<std::size_t>(entry->count));
  for_each_string(entry->payload, [&](std::string_view text) {
    strings.emplace_back(text);
    return true;
  });
  return strings;
}

Result<std::vector<std::int64_t>> GgufFile::get_ints(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  std::vector<std::int64_t> numbers;
  if (entry->type != GgufType::kArray || entry->element == GgufType::kString) {
    return wrong_type(*entry, "an array of integers");
  }
  const std::size_t bytes = row_of(entry->element).bytes;
  for (std::size_t at = 0; at < entry->payload.size(); at += bytes) {
    const auto value = integer_at(entry->element, entry->payload.data() + at);
    if (!value) return wrong_type(*entry, "an array of integers");
    if (*value > std::numeric_limits<std::int64_t>::max()) return out_of_range(*entry, "signed 64-bit numbers");
    numbers.push_back(static_cast<std::int64_t>(*value));
  }
  return numbers;
}

Result<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  SEDGE_TRY(const GgufEntry* entry, entry_of(*this, key));
  std::vector<float> numbers;
  if (entry->type != GgufType::kArray || entry->element == GgufType::kString) {
    return wrong_type(*entry, "an array of floating-point numbers");
  }
  const std::size_t bytes = row_of(entry->element).bytes;
  for (std::size_t at = 0; at < entry->payload.size(); at += bytes) {
    const auto value = real_at(entry->element, entry->payload.data() + at);
    if (!value) return wrong_type(*entry, "an array of floating-point numbers");
    numbers.push_back(static_cast<float>(*value));
  }
  return numbers;
}

}  // namespace sedge::model
