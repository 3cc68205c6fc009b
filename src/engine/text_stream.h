// Bytes of tokens to text that may be shown. A token may end inside a character or inside what turns out to be a
// stop string: what could still become either waits. What comes out is valid UTF-8, always: bytes that no
// continuation can mend become U+FFFD. At most the longest stop string and three bytes are held back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sedge::engine {

class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stops = {}) : stops_(std::move(stops)) {}

  // Text that is now certain. After a stop string nothing comes any more.
  std::string push(std::string_view bytes);
  // What was held back, at the end of a text.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::string emit(std::size_t count);
  std::size_t held_for_stop() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

// Valid UTF-8 of any bytes: each that belongs to no character becomes U+FFFD.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace sedge::engine
