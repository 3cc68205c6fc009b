#include "sim/contacts.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

namespace sedge::sim {

namespace {

constexpr double kSecondsMax = 1e6;

// Takes the next word off the line; empty at its end.
std::string_view take_word(std::string_view& line) {
  const auto first = std::min(line.find_first_not_of(" \t\r"), line.size());
  line.remove_prefix(first);
  const auto end = std::min(line.find_first_of(" \t\r"), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

template <class T>
std::optional<T> number(std::string_view word) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::optional<Duration> moment(std::string_view word) {
  const auto seconds = number<double>(word);
  if (!seconds || !(*seconds >= 0 && *seconds <= kSecondsMax)) return std::nullopt;
  return Duration(static_cast<std::int64_t>(*seconds * 1e9));
}

}  // namespace

Result<std::vector<Contact>> parse_contacts(std::string_view text, std::size_t nodes) {
  std::vector<Contact> contacts;
  for (std::size_t at = 0, row = 1; at < text.size(); ++row) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    line = line.substr(0, line.find('#'));
    const std::string_view first = take_word(line);
    if (first.empty()) continue;
    const auto from = moment(first), to = moment(take_word(line));
    const auto one = number<std::size_t>(take_word(line));
    const std::string_view way = take_word(line);
    const auto other = number<std::size_t>(take_word(line));
    const bool good = from && to && *from < *to && one && other && *one != *other && *one < nodes && *other < nodes &&
                      (way == "-" || way == ">") && take_word(line).empty();
    if (!good) {
      return fail(Code::kInvalidArgument,
                  "contacts, line {}: a contact is FROM_S TO_S NODE - NODE, or > where only the second hears the "
                  "first; FROM_S below TO_S, two nodes from 0 to {}",
                  row, nodes - 1);
    }
    if (contacts.size() + 2 > kContactsMax) {
      return fail(Code::kInvalidArgument, "contacts, line {}: more than {} of them", row, kContactsMax);
    }
    contacts.push_back({*from, *to, *one, *other});
    if (way == "-") contacts.push_back({*from, *to, *other, *one});
  }
  return contacts;
}

Contacts::Contacts(const std::vector<Contact>& contacts, Instant began) {
  for (const Contact& contact : contacts) {
    const std::pair pair(contact.speaker, contact.hearer);
    changes_.push_back({began + contact.from, 1, pair});
    changes_.push_back({began + contact.to, -1, pair});
  }
  // Of one moment the beginnings first: a contact that goes on in the next line is not broken.
  std::ranges::sort(changes_, [](const Change& a, const Change& b) {
    return std::tie(a.at, b.more, a.pair) < std::tie(b.at, a.more, b.pair);
  });
  move(began);
}

bool Contacts::move(Instant now) {
  const std::size_t before = done_;
  for (; done_ < changes_.size() && changes_[done_].at <= now; ++done_) {
    const Change& change = changes_[done_];
    const auto open = open_.try_emplace(change.pair, 0).first;
    open->second += change.more;
    if (open->second == 0) open_.erase(open);
  }
  return done_ > before;
}

}  // namespace sedge::sim
