// A flag that somebody else raises and a computation looks at between row blocks.
#pragma once

#include <atomic>

namespace sedge::engine {

using CancelFlag = std::atomic<bool>;

}  // namespace sedge::engine
