#include "model/chat_template_time.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <fmt/format.h>

namespace sedge::model::jinja {
namespace {

constexpr std::int64_t kYear1 = -62'135'596'800, kYear10000 = 253'402'300'800;

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

struct Moment {
  std::chrono::sys_days day;
  std::chrono::year_month_day date;
  unsigned hour, minute, second;
};

struct NumberRow {
  char name;
  int width;
  char pad;
  unsigned (*value)(const Moment& at);
};
constexpr auto kNumbers = std::to_array<NumberRow>({
    {'Y', 1, '0', [](const Moment& at) { return static_cast<unsigned>(static_cast<int>(at.date.year())); }},
    {'y', 2, '0', [](const Moment& at) { return static_cast<unsigned>(static_cast<int>(at.date.year())) % 100; }},
    {'m', 2, '0', [](const Moment& at) { return static_cast<unsigned>(at.date.month()); }},
    {'d', 2, '0', [](const Moment& at) { return static_cast<unsigned>(at.date.day()); }},
    {'e', 2, ' ', [](const Moment& at) { return static_cast<unsigned>(at.date.day()); }},
    {'j', 3, '0',
     [](const Moment& at) {
       const std::chrono::sys_days first = at.date.year() / std::chrono::January / 1;
       return static_cast<unsigned>((at.day - first).count()) + 1;
     }},
    {'H', 2, '0', [](const Moment& at) { return at.hour; }},
    {'I', 2, '0', [](const Moment& at) { return (at.hour + 11) % 12 + 1; }},
    {'M', 2, '0', [](const Moment& at) { return at.minute; }},
    {'S', 2, '0', [](const Moment& at) { return at.second; }},
});

struct TextRow {
  char name;
  std::string_view (*text)(const Moment& at);
};
std::string_view month_of(const Moment& at) { return kMonths[static_cast<unsigned>(at.date.month()) - 1]; }
std::string_view day_of(const Moment& at) { return kDays[std::chrono::weekday(at.day).c_encoding()]; }
constexpr auto kTexts = std::to_array<TextRow>({
    {'B', month_of},
    {'b', [](const Moment& at) { return month_of(at).substr(0, 3); }},
    {'A', day_of},
    {'a', [](const Moment& at) { return day_of(at).substr(0, 3); }},
    {'p', [](const Moment& at) { return std::string_view(at.hour < 12 ? "AM" : "PM"); }},
    {'%', [](const Moment&) { return std::string_view("%"); }},
});

Moment moment_of(std::int64_t local_s) {
  const std::chrono::sys_seconds at{std::chrono::seconds(local_s)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const auto second = static_cast<unsigned>((at - day).count());
  return {day, day, second / 3600, second / 60 % 60, second % 60};
}

// `bare`: as in %-d, without what fills a number up.
Status append(std::string& out, char name, bool bare, const Moment& at) {
  if (const auto row = std::ranges::find(kNumbers, name, &NumberRow::name); row != kNumbers.end()) {
    const std::string digits = fmt::format("{}", row->value(at));
    const auto width = static_cast<std::size_t>(bare ? 1 : row->width);
    out.append(width - std::min(width, digits.size()), row->pad).append(digits);
    return {};
  }
  const auto row = std::ranges::find(kTexts, name, &TextRow::name);
  if (bare || row == kTexts.end()) {
    return fail(Code::kUnimplemented, "strftime's '%{}{}' is not supported", bare ? "-" : "", name);
  }
  out += row->text(at);
  return {};
}

}  // namespace

Result<std::string> format_time(std::string_view format, std::int64_t local_s) {
  if (local_s < kYear1 || local_s >= kYear10000) {
    return fail(Code::kInvalidArgument, "{} s from 1970 are in no year of 1 to 9999", local_s);
  }
  const Moment at = moment_of(local_s);
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    const bool bare = format.substr(i + 1).starts_with('-');
    i += bare ? 2 : 1;
    if (i >= format.size())
      return fail(Code::kInvalidArgument, "a strftime format that ends in '%{}'", bare ? "-" : "");
    SEDGE_CHECK(append(out, format[i], bare, at));
  }
  return out;
}

}  // namespace sedge::model::jinja
