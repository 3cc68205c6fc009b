// Any text as a model's name: a stack of few parts with scales that are numbers, which written again is the same stack;
// and whoever offers its parts offers it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/assert.h"
#include "base/bytes.h"
#include "env/model_name.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string name(as_text({data, size}));
  const auto parts = env::stack_of(name);
  std::string again;
  std::vector<env::ModelOffer> offers;
  for (const env::StackPart& part : parts) {
    SEDGE_ASSERT(!part.name.empty() && !part.name.contains('+') && std::abs(part.scale) <= env::kScaleMax);
    again += fmt::format("{}{}={}", again.empty() ? "" : "+", part.name, part.scale);
    env::ModelOffer& offer = offers.emplace_back();
    offer.name = part.name, offer.hash = "base+" + part.name;
  }
  SEDGE_ASSERT(parts.size() <= env::kPartsMax && env::stack_of(again) == parts);
  const auto stack = env::find_offer(offers, name);
  SEDGE_ASSERT(stack.has_value() == !parts.empty());
  if (!stack) return 0;
  SEDGE_ASSERT(stack->name == name && env::weights_of(stack->hash) == "base");
  SEDGE_ASSERT(env::find_offer(offers, again)->hash == stack->hash);
  offers.pop_back();
  SEDGE_ASSERT(!env::find_offer(offers, again) ||
               std::ranges::count(parts, parts.back().name, &env::StackPart::name) > 1);
  return 0;
}
