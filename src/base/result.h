// Errors as values. Every function that can be refused by the world returns Result<T>: a value, or an
// Error with a code for the caller's next move and a message for the person who reads it. Exceptions
// were rejected: they would cross the sans-IO cores invisibly, and a peer's bytes must never unwind us.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sedge {

// The canonical codes (the gRPC set), each with what a caller does about it.
enum class Code {
  kCancelled = 1,           // the asker gave up: stop, say nothing more
  kUnknown = 2,             // a library failed without a reason: report it
  kInvalidArgument = 3,     // the request is wrong: correct it, do not retry
  kDeadlineExceeded = 4,    // too late: use the fallback
  kNotFound = 5,            // name another thing
  kAlreadyExists = 6,       // use what is there
  kPermissionDenied = 7,    // a grant is missing: ask the issuer
  kResourceExhausted = 8,   // full: retry after the time in the message
  kFailedPrecondition = 9,  // do the other thing first
  kAborted = 10,            // lost a race: start again
  kOutOfRange = 11,         // past the end: a truncated file or message
  kUnimplemented = 12,      // this build or version cannot: the message says which can
  kInternal = 13,           // our bug: report it
  kUnavailable = 14,        // nobody there now: retry
  kDataLoss = 15,           // malformed or corrupted bytes: drop them, count them
  kUnauthenticated = 16,    // not proved to be who it says: close
};

std::string_view code_name(Code code);

struct Error {
  Code code = Code::kUnknown;
  std::string message;  // names the thing, the place and the way out
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// Passes an error up with the place it happened in front: "models/a.gguf: tensor 3: ...".
[[nodiscard]] inline std::unexpected<Error> in_context(std::string_view where, Error error) {
  return std::unexpected(Error{error.code, fmt::format("{}: {}", where, error.message)});
}

}  // namespace sedge

#define SEDGE_CONCAT_INNER(a, b) a##b
#define SEDGE_CONCAT(a, b) SEDGE_CONCAT_INNER(a, b)

// SEDGE_TRY(const Header header, decode_header(payload)); declares `header`, or returns the error.
#define SEDGE_TRY(declaration, ...) SEDGE_TRY_IMPL(SEDGE_CONCAT(sedge_try_, __COUNTER__), declaration, __VA_ARGS__)
#define SEDGE_TRY_IMPL(result, declaration, ...)                  \
  auto result = (__VA_ARGS__);                                    \
  if (!result) return std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

// SEDGE_CHECK(expression): for a Status.
#define SEDGE_CHECK(...) SEDGE_CHECK_IMPL(SEDGE_CONCAT(sedge_check_, __COUNTER__), __VA_ARGS__)
#define SEDGE_CHECK_IMPL(status, ...) \
  if (auto status = (__VA_ARGS__); !status) return std::unexpected(std::move(status).error())
