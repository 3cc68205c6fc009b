// What a request calls a model: an offer's name, or a stack of offered adapters and how much of each is added.
//
//   name  = offer | stack
//   stack = part *("+" part)          at most kPartsMax
//   part  = offer ["=" scale]         an offer with adapters; how many times as much of them as it offers: 1, and from
//                                     -kScaleMax to kScaleMax
//
// The problem: a request may want any stack at any scale, and a node cannot offer them all by name. The idea: the stack
// is the name. Who offers its parts, of one base, offers it; its hash is made of theirs, so that placing, going on
// elsewhere, the audit and the cache of prompts' beginnings take it as any model. An offer whose own name looks like a
// stack is that offer.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "env/compute.h"

namespace sedge::env {

inline constexpr std::size_t kPartsMax = 8;
inline constexpr float kScaleMax = 1000;

struct StackPart {
  std::string name;
  float scale = 1;
  friend bool operator==(const StackPart&, const StackPart&) = default;
};

// Empty where the name says no stack: neither a '+' nor a scale in it, an empty part, a scale that is none.
std::vector<StackPart> stack_of(std::string_view name);

// The offer of that name, or the one that a stack of them makes; none: not offered.
std::optional<ModelOffer> find_offer(std::span<const ModelOffer> offers, std::string_view name);

}  // namespace sedge::env
