#include "env/model_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sedge::env {
namespace {

std::optional<StackPart> part_of(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  StackPart part{std::string(text.substr(0, equals))};
  if (part.name.empty()) return {};
  if (equals == std::string_view::npos) return part;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data() + equals + 1, end, part.scale);
  if (error != std::errc() || read != end || !(std::abs(part.scale) <= kScaleMax)) return {};
  return part;
}

// What stands behind the base's hash: each adapter's, and its scale where that is not 1.
bool add_part(ModelOffer& stack, const ModelOffer& offer, const StackPart& part) {
  const std::string_view base = weights_of(offer.hash);
  if (base == offer.hash) return false;  // not an adapter
  if (stack.hash.empty()) {
    const std::string name = std::move(stack.name);
    stack = offer;
    stack.name = name;
    stack.hash = base;
    stack.bytes = 0;
  }
  if (weights_of(stack.hash) != base || stack.numeric_class != offer.numeric_class) return false;
  stack.hash += std::string_view(offer.hash).substr(base.size());
  if (part.scale != 1) stack.hash += fmt::format("={}", part.scale);
  stack.bytes += offer.bytes;
  return true;
}

}  // namespace

std::vector<StackPart> stack_of(std::string_view name) {
  if (name.find_first_of("+=") == std::string_view::npos) return {};
  std::vector<StackPart> parts;
  for (bool more = true; more;) {
    const std::size_t plus = name.find('+');
    auto part = part_of(name.substr(0, plus));
    if (!part || parts.size() == kPartsMax) return {};
    parts.push_back(*std::move(part));
    more = plus != std::string_view::npos;
    if (more) name.remove_prefix(plus + 1);
  }
  return parts;
}

std::optional<ModelOffer> find_offer(std::span<const ModelOffer> offers, std::string_view name) {
  const auto named = [&](std::string_view wanted) { return std::ranges::find(offers, wanted, &ModelOffer::name); };
  if (const auto found = named(name); found != offers.end()) return *found;
  ModelOffer stack;
  stack.name = name;
  for (const StackPart& part : stack_of(name)) {
    const auto offer = named(part.name);
    if (offer == offers.end() || !add_part(stack, *offer, part)) return {};
  }
  if (stack.hash.empty()) return {};
  return stack;
}

}  // namespace sedge::env
