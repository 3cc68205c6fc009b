#include "mesh/topic.h"

#include <algorithm>

#include "trust/grants.h"

namespace sedge::mesh {

namespace {

Status check(std::string_view text, bool filter) {
  const std::string_view what = filter ? "filter" : "topic";
  if (text.empty()) return fail(Code::kInvalidArgument, "a {} must not be empty", what);
  if (text.size() > kTopicBytesMax) {
    return fail(Code::kInvalidArgument, "a {} has at most {} bytes, this has {}", what, kTopicBytesMax, text.size());
  }
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find('/', start), text.size());
    const std::string_view level = text.substr(start, end - start);
    if (level.empty()) return fail(Code::kInvalidArgument, "{} '{}' has an empty level at byte {}", what, text, start);
    for (const char c : level) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
        return fail(Code::kInvalidArgument, "a {} with a control character at byte {}", what, start);
      }
      const bool wildcard = c == '+' || c == '#';
      if (wildcard && !filter) return fail(Code::kInvalidArgument, "topic '{}' has a wildcard: publish to one", text);
      if (wildcard && level.size() > 1) {
        return fail(Code::kInvalidArgument, "filter '{}': '{}' must be a whole level", text, c);
      }
    }
    if (level == "#" && end != text.size()) {
      return fail(Code::kInvalidArgument, "filter '{}': '#' must be the last level", text);
    }
    start = end + 1;
  }
  return {};
}

}  // namespace

Status check_topic(std::string_view topic) { return check(topic, false); }
Status check_filter(std::string_view filter) { return check(filter, true); }

bool matches(std::string_view filter, std::string_view topic) { return trust::matches(filter, topic); }

}  // namespace sedge::mesh
