// Noise that hides one value among its neighbours: whole numbers y with probability proportional to exp(-|y| s / t).
//
// Problem: differential privacy by the textbook, a uniform double through a logarithm, leaks: which doubles such a
// sampler can give depends on the value it is added to (Mironov 2012). Idea: whole numbers, and coins whose probability
// is exact, made from random words by comparison alone (Canonne, Kamath, Steinke 2020, algorithms 1 and 2). No floating
// point takes part. Rejected: snapping doubles (sound, and harder to see that it is); Gaussian noise (its budget adds
// up better over many messages, and has two numbers that nobody can explain to the farmer). How long it takes depends
// on what is drawn; who can time it to microseconds learns something of the noise.
#pragma once

#include <cstdint>
#include <functional>

namespace sedge {

inline constexpr std::uint64_t kLaplaceMax = std::uint64_t{1} << 40;  // t and s: X below stays in 64 bits

// `word` gives 64 bits that nobody can guess. Requires: t and s are 1 to kLaplaceMax.
// Cost: about 12 words; each loop ends with probability over a half at each turn.
std::int64_t discrete_laplace(std::uint64_t t, std::uint64_t s, const std::function<std::uint64_t()>& word);

}  // namespace sedge
