#include "crdt/sketch.h"

#include <cmath>

#include "base/prng.h"
#include "trust/short_hash.h"

namespace sedge::crdt {
namespace {

// The symbol after `at` that a name falls into. That none of at+1..j does has probability
// (at+1)(at+2) / ((j+1)(j+2)): a uniform number is held against it. The square root only guesses; integers decide.
std::uint64_t next_symbol(std::uint64_t at, std::uint32_t random) {
  const std::uint64_t upto = ((at + 1) * (at + 2) << 32) / (std::uint64_t{random} + 1);
  auto j = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(upto)));
  while ((j + 1) * (j + 2) <= upto) ++j;
  while (j > at + 1 && j * (j + 1) > upto) --j;
  return j;
}

// One name in, or out: XOR does not tell which.
void toggle(Symbol& symbol, std::uint64_t count, std::uint64_t name, std::uint32_t check) {
  symbol.count += count;
  symbol.names ^= name;
  symbol.checks ^= check;
}

}  // namespace

SketchCode::SketchCode(const wire::SessionKey& key) : salt_(trust::short_hash(key, as_bytes("sedge.sketch"))) {}

std::uint32_t SketchCode::check_of(std::uint64_t name) const {
  std::uint64_t state = name ^ salt_[0];
  return static_cast<std::uint32_t>(splitmix64(state) >> 32);
}

template <class Each>
void SketchCode::walk(std::uint64_t name, std::size_t last, Each&& each) const {
  std::uint64_t state = name ^ salt_[1];
  for (std::uint64_t at = 0; at < last; at = next_symbol(at, static_cast<std::uint32_t>(splitmix64(state) >> 32))) {
    each(static_cast<std::size_t>(at));
  }
}

std::vector<Symbol> SketchCode::encode(const ItemSet& set, std::size_t first, std::size_t last) const {
  std::vector<Symbol> symbols(last - first);
  for (const ItemSet::Item& item : set.items()) {
    const std::uint32_t check = check_of(item.name());
    walk(item.name(), last, [&](std::size_t at) {
      if (at >= first) toggle(symbols[at - first], 1, item.name(), check);
    });
  }
  return symbols;
}

std::optional<SketchCode::Difference> SketchCode::decode(std::vector<Symbol> symbols) const {
  Difference out;
  const auto pure = [&](const Symbol& s) {
    return (s.count == 1 || s.count == ~std::uint64_t{0}) && check_of(s.names) == s.checks;
  };
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (pure(symbols[i])) ready.push_back(i);
  }
  std::size_t names_left = symbols.size();
  while (!ready.empty() && names_left > 0) {
    const Symbol one = symbols[ready.back()];
    ready.pop_back();
    if (!pure(one)) continue;  // read off by way of another symbol
    --names_left;
    (one.count == 1 ? out.added : out.removed).push_back(one.names);
    walk(one.names, symbols.size(), [&](std::size_t at) {
      toggle(symbols[at], 0 - one.count, one.names, one.checks);
      if (pure(symbols[at])) ready.push_back(at);
    });
  }
  for (const Symbol& symbol : symbols) {
    if (!symbol.empty()) return std::nullopt;
  }
  return out;
}

Symbol operator-(const Symbol& a, const Symbol& b) {
  return {a.count - b.count, a.names ^ b.names, a.checks ^ b.checks};
}

wire::SketchSymbol to_wire(const Symbol& symbol) {
  wire::SketchSymbol out{static_cast<std::int64_t>(symbol.count), to_wire(symbol.names), {}};
  for (std::size_t i = 0; i < out.checks.size(); ++i) out.checks[i] = static_cast<std::uint8_t>(symbol.checks >> 8 * i);
  return out;
}

Symbol from_wire(const wire::SketchSymbol& symbol) {
  Symbol out{static_cast<std::uint64_t>(symbol.count), from_wire(symbol.ids), 0};
  for (std::size_t i = 0; i < symbol.checks.size(); ++i) out.checks |= std::uint32_t{symbol.checks[i]} << 8 * i;
  return out;
}

}  // namespace sedge::crdt
