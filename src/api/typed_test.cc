#include "sedge/typed.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <future>
#include <mutex>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "api/testing_fleets.h"

namespace sedge::robot {
namespace {

using namespace std::chrono_literals;
using api::testing::eventually;

enum class Gait : std::uint8_t { kStand, kWalk, kTrot };
constexpr Gait last_value(Gait) { return Gait::kTrot; }
enum class Open : std::int16_t { kZero = 0, kMinus = -7 };  // says no last value: any comes through

struct Point {
  double x_m = 0;
  float y_m = 0;
  friend bool operator==(const Point&, const Point&) = default;
  template <class V>
  void fields(V& visit) {
    visit("x_m", x_m);
    visit("y_m", y_m);
  }
};

// In degrees and minutes on the wire: a form of its own.
struct Angle {
  int minutes = 0;
  friend bool operator==(const Angle&, const Angle&) = default;
};

}  // namespace

template <>
struct Codec<Angle> {
  static void encode(const Angle& angle, std::string& out) { out += std::to_string(angle.minutes); }
  static Result<Angle> decode(std::string_view bytes) {
    const std::string text(bytes);
    char* end = nullptr;
    const long minutes = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0') return std::unexpected(Error{Code::kDataLoss, "no number of minutes"});
    return Angle{static_cast<int>(minutes)};
  }
};

namespace {

struct Everything {
  bool flag = false;
  char letter = 0;
  std::int8_t tiny = 0;
  std::uint16_t port = 0;
  std::int32_t small = 0;
  std::uint64_t big = 0;
  float real = 0;
  double wide = 0;
  Gait gait = Gait::kStand;
  Open open = Open::kZero;
  std::chrono::milliseconds pause{};
  std::string text;
  std::vector<std::byte> bytes;
  std::vector<Point> points;
  std::vector<std::optional<std::int32_t>> holes;
  std::array<std::int16_t, 3> axes{};
  std::optional<Point> goal;
  Angle heading;
  std::vector<Angle> turns;
  friend bool operator==(const Everything&, const Everything&) = default;
  template <class V>
  void fields(V& visit) {
    visit("flag", flag);
    visit("letter", letter);
    visit("tiny", tiny);
    visit("port", port);
    visit("small", small);
    visit("big", big);
    visit("real", real);
    visit("wide", wide);
    visit("gait", gait);
    visit("open", open);
    visit("pause", pause);
    visit("text", text);
    visit("bytes", bytes);
    visit("points", points);
    visit("holes", holes);
    visit("axes", axes);
    visit("goal", goal);
    visit("heading", heading);
    visit("turns", turns);
  }
};

struct Nothing {};
struct Throughout {  // lists itself
  std::vector<Throughout> inner;
  template <class V>
  void fields(V& visit) {
    visit("inner", inner);
  }
};

static_assert(Encodable<Everything> && Encodable<Throughout> && Encodable<Angle> && Encodable<std::vector<Angle>>);
static_assert(Encodable<bool> && Encodable<char> && Encodable<double> && Encodable<Gait> && Encodable<std::byte>);
static_assert(!Encodable<Nothing> && !Encodable<std::vector<Nothing>> && !Encodable<std::optional<Nothing>>);
static_assert(!Encodable<const char*> && !Encodable<int*> && !Encodable<long double> && !Encodable<wchar_t>);

Everything any_value() {
  const auto point = [] {
    return Point{std::bit_cast<double>(*rc::gen::arbitrary<std::uint64_t>()), *rc::gen::arbitrary<float>()};
  };
  Everything value;
  value.flag = *rc::gen::arbitrary<bool>();
  value.letter = *rc::gen::arbitrary<char>();
  value.tiny = *rc::gen::arbitrary<std::int8_t>();
  value.port = *rc::gen::arbitrary<std::uint16_t>();
  value.small = *rc::gen::arbitrary<std::int32_t>();
  value.big = *rc::gen::arbitrary<std::uint64_t>();
  value.real = *rc::gen::arbitrary<float>();
  value.wide = std::bit_cast<double>(*rc::gen::arbitrary<std::uint64_t>());
  value.gait = static_cast<Gait>(*rc::gen::inRange(0, 3));
  value.open = static_cast<Open>(*rc::gen::arbitrary<std::int16_t>());
  value.pause = std::chrono::milliseconds(*rc::gen::arbitrary<std::int64_t>());
  value.text = *rc::gen::arbitrary<std::string>();
  for (const auto byte : *rc::gen::arbitrary<std::vector<std::uint8_t>>()) value.bytes.push_back(std::byte{byte});
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) value.points.push_back(point());
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    value.holes.push_back(*rc::gen::arbitrary<bool>() ? std::optional(*rc::gen::arbitrary<std::int32_t>())
                                                      : std::nullopt);
  }
  value.axes = {*rc::gen::arbitrary<std::int16_t>(), -1, std::numeric_limits<std::int16_t>::min()};
  if (*rc::gen::arbitrary<bool>()) value.goal = point();
  value.heading.minutes = *rc::gen::arbitrary<int>();
  for (const int turn : *rc::gen::arbitrary<std::vector<int>>()) value.turns.push_back({turn});
  return value;
}

bool has_nan(const Everything& value) {
  return std::isnan(value.wide) || (value.goal && std::isnan(value.goal->x_m)) ||
         std::ranges::any_of(value.points, [](const Point& point) { return std::isnan(point.x_m); });
}

TEST(Codec, any_value_comes_back) {
  EXPECT_TRUE(rc::check([] {
    const Everything value = any_value();
    const auto back = decode<Everything>(encode(value));
    RC_ASSERT(back.has_value());
    RC_ASSERT(encode(*back) == encode(value));  // bit for bit, NaNs as well
    RC_ASSERT(has_nan(value) || *back == value);
  }));
}

TEST(Codec, a_message_that_was_cut_short_is_no_value) {
  EXPECT_TRUE(rc::check([] {
    const std::string whole = encode(any_value());
    const auto size = *rc::gen::inRange<std::size_t>(0, whole.size());
    const auto cut = decode<Everything>(whole.substr(0, size));
    RC_ASSERT(!cut.has_value());
    RC_ASSERT(cut.error().code == Code::kDataLoss);
  }));
}

TEST(Codec, any_bytes_are_a_value_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    const auto value = decode<Everything>(bytes);
    RC_ASSERT(value.has_value() || value.error().code == Code::kDataLoss);
    const auto list = decode<std::vector<std::string>>(bytes);
    if (list) RC_ASSERT(encode(*list) == bytes);
  }));
}

std::string bytes_of(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

TEST(Codec, the_bytes_are_those_of_the_grammar) {
  EXPECT_EQ(encode(std::uint32_t{0x01020304}), bytes_of({4, 3, 2, 1}));
  EXPECT_EQ(encode(std::int16_t{-2}), bytes_of({0xfe, 0xff}));
  EXPECT_EQ(encode(1.0f), bytes_of({0, 0, 0x80, 0x3f}));
  EXPECT_EQ(encode(Open::kMinus), bytes_of({0xf9, 0xff}));
  EXPECT_EQ(encode(true), bytes_of({1}));
  EXPECT_EQ(encode(std::string("as it is")), "as it is");
  EXPECT_EQ(encode(std::vector<std::byte>{std::byte{7}, std::byte{0}}), bytes_of({7, 0}));
  EXPECT_EQ(encode(std::vector<std::string>{"a", ""}), bytes_of({2, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 0}));
  EXPECT_EQ(encode(std::optional<std::uint8_t>{9}), bytes_of({1, 9}));
  EXPECT_EQ(encode(std::array<std::uint16_t, 2>{1, 2}), bytes_of({1, 0, 2, 0}));
  EXPECT_EQ(encode(2ms), bytes_of({2, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(encode(Point{0, 1.0f}), bytes_of({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f}));
  EXPECT_EQ(encode(std::optional(Point{0, 1.0f})),
            bytes_of({1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f}));
  EXPECT_EQ(encode(std::vector<Angle>{{12}}), bytes_of({1, 0, 0, 0, 2, 0, 0, 0, '1', '2'}));
}

TEST(Codec, an_error_names_the_field_and_the_offset) {
  const auto cut = decode<Point>(std::string(9, '\0'));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().message, "field 'y_m' at byte 8: cut short");
}

TEST(Codec, what_no_value_has_is_refused) {
  EXPECT_FALSE(decode<bool>(bytes_of({2})));
  EXPECT_TRUE(decode<Gait>(bytes_of({2})));
  EXPECT_FALSE(decode<Gait>(bytes_of({3}))) << "beyond its last_value";
  EXPECT_TRUE(decode<Open>(bytes_of({5, 0})));
  EXPECT_FALSE(decode<std::uint16_t>(bytes_of({1, 2, 3}))) << "bytes after the end";
  EXPECT_FALSE(decode<std::vector<Angle>>(bytes_of({1, 0, 0, 0, 1, 0, 0, 0, 'x'})));
  EXPECT_FALSE(decode<std::optional<Point>>(bytes_of({1, 200, 0, 0, 0})));
  // A count is not believed before its items are there.
  EXPECT_FALSE(decode<std::vector<Everything>>(bytes_of({0xff, 0xff, 0xff, 0xff})));
  EXPECT_TRUE(decode<std::vector<std::byte>>(std::string_view()).value().empty());
}

TEST(Codec, nesting_has_a_bound) {
  Throughout deep;
  for (int i = 0; i < Decoder::kDepthMax; ++i) deep = Throughout{{deep}};
  EXPECT_TRUE(decode<Throughout>(encode(deep)));
  EXPECT_FALSE(decode<Throughout>(encode(Throughout{{deep}})));
}

// Three versions of one type, and of a struct within it.
struct PartOf1 {
  std::uint8_t wheel = 0;
  friend bool operator==(const PartOf1&, const PartOf1&) = default;
  template <class V>
  void fields(V& visit) {
    visit("wheel", wheel);
  }
};
struct Version1 {
  std::int32_t speed = 0;
  std::vector<PartOf1> parts;
  template <class V>
  void fields(V& visit) {
    visit("speed", speed);
    visit("parts", parts);
  }
};
struct PartOf2 {
  std::uint8_t wheel = 0;
  std::uint16_t worn_percent = 50;
  friend bool operator==(const PartOf2&, const PartOf2&) = default;
  template <class V>
  void fields(V& visit) {
    visit("wheel", wheel);
    visit.added("worn_percent", worn_percent);
  }
};
struct Version2 {
  std::int32_t speed = 0;
  std::vector<PartOf2> parts;
  std::uint8_t battery = 100;
  template <class V>
  void fields(V& visit) {
    visit("speed", speed);
    visit("parts", parts);
    visit.added("battery", battery);
  }
};
struct Version3 : Version2 {
  std::string note = "none";
  template <class V>
  void fields(V& visit) {
    Version2::fields(visit);
    visit.added("note", note);
  }
};

TEST(Evolution, an_older_reader_skips_what_a_newer_writer_appended) {
  Version3 newer;
  newer.speed = 3;
  newer.parts = {{1, 7}, {2, 8}};
  newer.note = "mud";
  const auto old = decode<Version1>(encode(newer));
  ASSERT_TRUE(old) << old.error().message;
  EXPECT_EQ(old->speed, 3);
  EXPECT_EQ(old->parts, (std::vector<PartOf1>{{1}, {2}}));
}

TEST(Evolution, a_newer_reader_keeps_the_defaults_of_what_an_older_writer_did_not_know) {
  const auto from_1 = decode<Version3>(encode(Version1{.speed = 3, .parts = {{1}, {2}}}));
  ASSERT_TRUE(from_1) << from_1.error().message;
  EXPECT_EQ(from_1->speed, 3);
  EXPECT_EQ(from_1->parts, (std::vector<PartOf2>{{1, 50}, {2, 50}}));
  EXPECT_EQ(from_1->battery, 100);
  EXPECT_EQ(from_1->note, "none");
  const auto from_2 = decode<Version3>(encode(Version2{.speed = 3, .parts = {}, .battery = 40}));
  ASSERT_TRUE(from_2) << from_2.error().message;
  EXPECT_EQ(from_2->battery, 40);
  EXPECT_EQ(from_2->note, "none");
}

TEST(Evolution, a_field_that_was_always_there_is_never_made_up) {
  EXPECT_FALSE(decode<Version3>(""));
  EXPECT_FALSE(decode<Version3>(encode(std::int32_t{3})));
  std::string half = encode(Version2{.speed = 3, .parts = {}, .battery = 40});
  half += bytes_of({9, 0});  // of the note's length
  EXPECT_FALSE(decode<Version3>(half));
}

class Typed : public testing::Test, protected api::testing::TwoFleets {
 protected:
  void SetUp() override {
    const Status started = start();
    ASSERT_TRUE(started) << started.error().message;
  }
};

TEST_F(Typed, a_message_of_one_fleet_node_is_a_value_in_another) {
  std::promise<Everything> heard;
  std::string topic;
  std::string origin;
  auto value = heard.get_future();
  ASSERT_TRUE(subscribe<Everything>(*base, "robot/+/all",
                                    [&, open = true](const Everything& all, const Message& message) mutable {
                                      if (!std::exchange(open, false)) return;
                                      topic = message.topic;
                                      origin = message.origin;
                                      heard.set_value(all);
                                    }));
  const Publisher<Everything> publisher(*rover, "robot/rover/all", {.retain = true});
  Everything all;
  all.text = "dry";
  all.gait = Gait::kTrot;
  all.goal = Point{3, 4};
  all.heading = {90};
  ASSERT_TRUE(publisher.publish(all));
  EXPECT_EQ(value.get(), all);
  ASSERT_TRUE(base->close());
  EXPECT_EQ(topic, publisher.topic());
  EXPECT_EQ(origin, rover->id());
  EXPECT_EQ(Publisher<bool>(*rover, "robot/#").publish(true).error().code, Code::kInvalidArgument);
}

TEST_F(Typed, a_live_message_comes_too) {
  std::atomic<int> sum = 0;
  ASSERT_TRUE(subscribe<std::int32_t>(*base, "n", [&](std::int32_t n, const Message&) { sum += n; }));
  const Publisher<std::int32_t> numbers(*rover, "n");
  // The subscription may be on its way to the publisher still.
  EXPECT_TRUE(eventually([&] { return numbers.publish(5).has_value() && sum >= 5; }));
  ASSERT_TRUE(base->close());
}

TEST_F(Typed, what_is_no_value_is_told_and_never_heard) {
  std::vector<std::string> seen;  // written on the loop, read after close() has joined it
  std::promise<void> last;
  auto came = last.get_future();
  const auto on_malformed = [&](const Malformed& malformed) {
    seen.push_back(std::string(malformed.where) + " " + std::to_string(malformed.bytes.size()) + " " +
                   malformed.error.message + (malformed.origin == rover->id() ? "" : " of somebody else"));
  };
  ASSERT_TRUE(subscribe<Gait>(*base, "robot/+/gait",
                              [&](Gait gait, const Message& message) {
                                seen.push_back(std::string(message.topic) + " is " +
                                               std::to_string(static_cast<int>(gait)));
                                last.set_value();
                              },
                              {.on_malformed = on_malformed}));
  ASSERT_TRUE(subscribe<Gait>(*base, "robot/+/gait", [](Gait, const Message&) {})) << "nobody to tell: dropped";
  const Publish kept{.retain = true, .depth = 3};
  ASSERT_TRUE(rover->publish("robot/a/gait", "x", kept));
  ASSERT_TRUE(rover->publish("robot/a/gait", "", kept));
  ASSERT_TRUE(Publisher<Gait>(*rover, "robot/a/gait", kept).publish(Gait::kWalk));
  came.wait();
  ASSERT_TRUE(base->close());
  EXPECT_EQ(seen, (std::vector<std::string>{"robot/a/gait 1 field 'value' at byte 1: unknown value",
                                            "robot/a/gait 0 field 'value' at byte 0: cut short", "robot/a/gait is 1"}));
}

TEST_F(Typed, a_register_holds_a_value_for_the_whole_fleet) {
  const Register<Point> here(*rover, "mission/goal");
  const Register<Point> there(*base, "mission/goal");
  EXPECT_EQ(there.get().error().code, Code::kNotFound);
  std::mutex mutex;
  std::vector<std::optional<Point>> changes;
  std::vector<std::string> malformed;
  ASSERT_TRUE(there.watch(
      [&](const std::optional<Point>& goal) {
        const std::lock_guard lock(mutex);
        changes.push_back(goal);
      },
      [&](const Malformed& told) {
        const std::lock_guard lock(mutex);
        malformed.emplace_back(told.where);
      }));
  const auto heard = [&](std::size_t count, std::size_t bad) {
    return eventually([&] {
      const std::lock_guard lock(mutex);
      return changes.size() == count && malformed.size() == bad;
    });
  };
  ASSERT_TRUE(here.set({3, 4}));
  ASSERT_TRUE(heard(1, 0));
  EXPECT_EQ(there.get(), (Point{3, 4}));
  ASSERT_TRUE(rover->set("mission/goal", "nowhere"));
  ASSERT_TRUE(heard(1, 1));
  EXPECT_EQ(there.get().error().code, Code::kDataLoss);
  ASSERT_TRUE(rover->erase("mission/goal"));
  ASSERT_TRUE(heard(2, 1));
  ASSERT_TRUE(base->close());
  EXPECT_EQ(changes, (std::vector<std::optional<Point>>{Point{3, 4}, std::nullopt}));
  ASSERT_TRUE(rover->add("mission/count", 1));
  EXPECT_EQ(Register<Point>(*rover, "mission/count").get().error().code, Code::kFailedPrecondition);
}

}  // namespace
}  // namespace sedge::robot
