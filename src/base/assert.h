// Assertions for what we control. They stay on in release: a robot that stops is safer than one that
// goes on with a broken invariant. What the world sends (peers, files, clients) never reaches one of
// these: it is decoded into a Result first (base/result.h).
#pragma once

namespace sedge {

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace sedge

#define SEDGE_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::sedge::assertion_failed(#expression, __FILE__, __LINE__))
