// A date as a chat template writes it: what Python's strftime gives in the C locale, of the specifiers that templates
// use. The C library's own was rejected: it spells months in the process's locale, and a task that goes on at another
// node must find the same prompt there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sedge::model::jinja {

// `local_s`: seconds since 1970 on the clock of who asks, in its time zone.
// Errors: Unimplemented (a specifier that is none of the table's, named), InvalidArgument (no year of 1 to 9999).
Result<std::string> format_time(std::string_view format, std::int64_t local_s);

}  // namespace sedge::model::jinja
