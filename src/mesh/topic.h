// Topics and the filters that choose them. A topic is levels joined by '/': "robot/7/pose". In a filter '+' stands
// for one level, '#' (last level only) for the rest, none included: "robot/#" chooses "robot", "robot/7" and
// "robot/7/pose". These are MQTT's rules (MQTT 5.0, 4.7) without empty levels, which only ever come from mistakes.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace sedge::mesh {

inline constexpr std::size_t kTopicBytesMax = 255;

// Errors: InvalidArgument, naming what is wrong: empty, too long, an empty level, a control character, a wildcard in
// a topic, '#' before the end, '+' or '#' beside other characters in a level of a filter.
Status check_topic(std::string_view topic);
Status check_filter(std::string_view filter);

// Requires: both checked. Cost: one pass, no allocation.
bool matches(std::string_view filter, std::string_view topic);

}  // namespace sedge::mesh
