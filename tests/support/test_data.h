// Real models and texts for tests. They live outside the project (SEDGE_TEST_DATA, or ../shared/data beside
// the checkout); a test that needs one skips with a clear message where it is absent.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace sedge::test {

inline std::filesystem::path data_dir() {
  if (const char* given = std::getenv("SEDGE_TEST_DATA")) return given;
  return std::filesystem::path(SEDGE_SOURCE_DIR).parent_path() / "shared" / "data";
}

}  // namespace sedge::test

// SEDGE_NEED_DATA(path, "llm/stories260K/stories260K.gguf"): declares `path`, or skips the test.
#define SEDGE_NEED_DATA(name, relative)                                      \
  const std::filesystem::path name = ::sedge::test::data_dir() / (relative); \
  if (!std::filesystem::exists(name))                                        \
  GTEST_SKIP() << "needs " << (name).string() << " (set SEDGE_TEST_DATA to the folder that holds it)"
