#include "engine/text_stream.h"

#include <algorithm>

#include "model/unicode.h"

namespace sedge::engine {
namespace {

// Bytes at the end that begin a character and miss its rest: 0 to 3.
std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto lead = static_cast<unsigned char>(text[text.size() - back]);
    if ((lead & 0xC0) == 0x80) continue;  // a continuation: its lead is further left
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return length > back && lead <= 0xF4 ? back : 0;
  }
  return 0;
}

}  // namespace

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    const model::CodePoint point = model::next_code_point(bytes, at);
    if ((point.code & model::kNotUtf8) != 0) {
      text += "\xEF\xBF\xBD";
    } else {
      text += bytes.substr(at, point.bytes);
    }
    at += point.bytes;
  }
  return text;
}

// The longest end of held_ that begins a stop string.
std::size_t TextStream::held_for_stop() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t size = std::min(stop.size() - 1, held_.size()); size > longest; --size) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, size))) longest = size;
    }
  }
  return longest;
}

std::string TextStream::emit(std::size_t count) {
  std::string text = to_valid_utf8(std::string_view(held_).substr(0, count));
  held_.erase(0, count);
  return text;
}

std::string TextStream::push(std::string_view bytes) {
  if (stopped_) return {};
  held_ += bytes;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    std::string text = emit(first);
    held_.clear();
    stopped_ = true;
    return text;
  }
  return emit(held_.size() - std::max(held_for_stop(), incomplete_tail(held_)));
}

std::string TextStream::finish() { return emit(held_.size()); }

}  // namespace sedge::engine
