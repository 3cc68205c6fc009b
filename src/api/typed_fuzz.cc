// Any bytes as values of a program's types (include/sedge/codec.h): a value that comes back from its own bytes, or an
// error.
#include "base/assert.h"
#include "sedge/codec.h"

namespace {

enum class Gait : std::uint8_t { kStand, kWalk };
[[maybe_unused]] constexpr Gait last_value(Gait) { return Gait::kWalk; }

struct Part {
  std::vector<Part> parts;
  std::optional<double> weight_kg;
  std::string note = "none";
  template <class V>
  void fields(V& visit) {
    visit("parts", parts);
    visit("weight_kg", weight_kg);
    visit.added("note", note);
  }
};

struct Report {
  bool moving = false;
  Gait gait = Gait::kStand;
  std::int32_t steps = 0;
  std::vector<Part> parts;
  std::array<float, 2> axes{};
  std::vector<std::byte> picture;
  std::vector<std::optional<std::chrono::milliseconds>> pauses;
  template <class V>
  void fields(V& visit) {
    visit("moving", moving);
    visit("gait", gait);
    visit("steps", steps);
    visit("parts", parts);
    visit.added("axes", axes);
    visit.added("picture", picture);
    visit.added("pauses", pauses);
  }
};

template <class T>
void check(std::string_view bytes) {
  const auto value = sedge::robot::decode<T>(bytes);
  if (!value) return;
  const std::string written = sedge::robot::encode(*value);
  const auto again = sedge::robot::decode<T>(written);
  SEDGE_ASSERT(again.has_value());
  SEDGE_ASSERT(sedge::robot::encode(*again) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check<Report>(bytes);
  check<Part>(bytes);
  check<std::vector<std::string>>(bytes);
  return 0;
}
