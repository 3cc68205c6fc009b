#include "engine/grammar/grammar.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace sedge::engine {

using Edge = Grammar::Edge;
using Kind = Grammar::Kind;

// The automaton while it is written: edges in any order, put in place at the end.
struct GrammarBuilder::Draft {
  struct From {
    std::uint32_t node;
    Edge edge;
    friend auto operator<=>(const From&, const From&) = default;
  };

  std::uint32_t node() { return nodes++; }
  // What is written makes a node or an edge, so that this bounds the work too: choices hold nothing that does not.
  bool full() const { return nodes > kGrammarNodesMax || edges.size() > 4 * kGrammarNodesMax; }
  void byte(std::uint32_t from, std::uint32_t to, std::uint8_t low, std::uint8_t high) {
    edges.push_back({from, {to, 0, Kind::kBytes, low, high}});
  }
  void skip(std::uint32_t from, std::uint32_t to) { edges.push_back({from, {to, 0, Kind::kNothing, 0, 0}}); }

  void write(const std::vector<Node>& exprs, Expr expr, std::uint32_t from, std::uint32_t to);
  void write_sequence(const std::vector<Node>& exprs, std::span<const Expr> parts, std::uint32_t from,
                      std::uint32_t to);
  void write_repeat(const std::vector<Node>& exprs, const Node& repeat, std::uint32_t from, std::uint32_t to);

  std::uint32_t nodes = 0;
  std::vector<From> edges;
  std::vector<std::uint32_t> finals;
};

void GrammarBuilder::Draft::write_sequence(const std::vector<Node>& exprs, std::span<const Expr> parts,
                                           std::uint32_t from, std::uint32_t to) {
  if (parts.empty()) return skip(from, to);
  for (std::size_t i = 0; i < parts.size() && !full(); ++i) {
    const std::uint32_t next = i + 1 == parts.size() ? to : node();
    write(exprs, parts[i], std::exchange(from, next), next);
  }
}

void GrammarBuilder::Draft::write_repeat(const std::vector<Node>& exprs, const Node& repeat, std::uint32_t from,
                                         std::uint32_t to) {
  const Expr what = repeat.parts[0];
  for (std::uint32_t i = 0; i < repeat.min && !full(); ++i) {
    const std::uint32_t next = node();
    write(exprs, what, std::exchange(from, next), next);
  }
  if (repeat.max == kNoLimit) {  // the loop has a node of its own: edges of its neighbours must not lead into it
    const std::uint32_t loop = node();
    skip(from, loop);
    write(exprs, what, loop, loop);
    return skip(loop, to);
  }
  for (std::uint32_t i = repeat.min; i < repeat.max && !full(); ++i) {
    const std::uint32_t next = node();
    skip(from, to);
    write(exprs, what, std::exchange(from, next), next);
  }
  skip(from, to);
}

void GrammarBuilder::Draft::write(const std::vector<Node>& exprs, Expr expr, std::uint32_t from, std::uint32_t to) {
  const Node& it = exprs[expr.id];
  switch (it.type) {
    case Type::kNever:
      return;
    case Type::kNothing:
      return skip(from, to);
    case Type::kLiteral:
      for (std::size_t i = 0; i < it.bytes.size(); ++i) {
        const std::uint32_t next = i + 1 == it.bytes.size() ? to : node();
        const auto value = static_cast<std::uint8_t>(it.bytes[i]);
        byte(std::exchange(from, next), next, value, value);
      }
      return;
    case Type::kSet:
      for (const ByteSequence& sequence : it.sequences) {
        std::uint32_t at = from;
        for (std::size_t i = 0; i < sequence.length; ++i) {
          const std::uint32_t next = i + 1 == sequence.length ? to : node();
          byte(std::exchange(at, next), next, sequence.bytes[i].low, sequence.bytes[i].high);
        }
      }
      return;
    case Type::kSequence:
      return write_sequence(exprs, it.parts, from, to);
    case Type::kChoice:
      for (const Expr way : it.parts) {
        if (!full()) write(exprs, way, from, to);
      }
      return;
    case Type::kRepeat:
      return write_repeat(exprs, it, from, to);
    case Type::kCall:
      edges.push_back({from, {to, it.rule.id, Kind::kCall, 0, 0}});
      return;
  }
}

namespace {

constexpr std::uint32_t kNever = ~0u;

// A call that its rule ends with needs no return, so lists told by recursion take no stack.
std::uint32_t return_cost(const Grammar& grammar, const Edge& call) { return grammar.is_last(call) ? 0 : 1; }

// How deep calls must nest at least from each node to its rule's end, or kNever. Settled from the least on, from final
// nodes backwards (Dijkstra's order): a way is as deep as the deepest call on it. `through` says which edges count. An
// edge is looked at when what it leads to settles, and a call when the rule that it calls does: twice at most.
template <class Through>
std::vector<std::uint32_t> depths_to_end(const Grammar& grammar, Through through) {
  struct Before {
    std::uint32_t from;
    const Edge* edge;
  };
  std::vector<std::vector<Before>> before(grammar.nodes());  // who leads here, or calls the rule that starts here
  std::vector<std::uint32_t> depth(grammar.nodes(), kNever), settled(grammar.nodes(), kNever);
  std::priority_queue<std::pair<std::uint32_t, std::uint32_t>, std::vector<std::pair<std::uint32_t, std::uint32_t>>,
                      std::greater<>>
      open;
  for (std::uint32_t from = 0; from < grammar.nodes(); ++from) {
    for (const Edge& edge : grammar.edges(from)) {
      if (!through(edge)) continue;
      before[edge.target].push_back({from, &edge});
      if (edge.kind == Kind::kCall) before[grammar.rule_start(edge.rule)].push_back({from, &edge});
    }
    if (grammar.node(from).final) open.emplace(depth[from] = 0, from);
  }
  const auto through_edge = [&](const Edge& edge) {
    if (edge.kind != Kind::kCall || settled[edge.target] == kNever) return settled[edge.target];
    const std::uint32_t inside = settled[grammar.rule_start(edge.rule)];
    return inside == kNever ? kNever : std::max(settled[edge.target], inside + return_cost(grammar, edge));
  };
  while (!open.empty()) {
    const auto [now, at] = open.top();
    open.pop();
    if (settled[at] != kNever) continue;
    settled[at] = now;
    for (const auto& [from, edge] : before[at]) {
      const std::uint32_t found = through_edge(*edge);
      if (found < depth[from]) open.emplace(depth[from] = found, from);
    }
  }
  return settled;
}

// The name's end, which says most of a place in a schema, from the beginning of a character on.
std::string cut_name(std::string_view name) {
  if (name.size() <= kRuleNameBytesMax) return std::string(name);
  name.remove_prefix(name.size() - kRuleNameBytesMax);
  while (!name.empty() && (static_cast<unsigned char>(name[0]) & 0xC0) == 0x80) name.remove_prefix(1);
  return fmt::format("...{}", name);
}

}  // namespace

GrammarBuilder::GrammarBuilder() { exprs_.emplace_back(); }

void GrammarBuilder::refuse(std::string_view what, std::size_t most) {
  if (status_) status_ = fail(Code::kResourceExhausted, "the grammar has {}, at most {} are taken", what, most);
}

GrammarBuilder::Expr GrammarBuilder::add(Node node) {
  for (const Expr part : node.parts) node.depth = std::max(node.depth, exprs_[part.id].depth + 1);
  if (node.depth > kGrammarDepthMax) refuse("expressions within expressions", kGrammarDepthMax);
  if (exprs_.size() >= kGrammarNodesMax) refuse("too many expressions", kGrammarNodesMax);
  if (!status_) return nothing();
  exprs_.push_back(std::move(node));
  return {static_cast<std::uint32_t>(exprs_.size() - 1)};
}

GrammarBuilder::Expr GrammarBuilder::literal(std::string_view bytes) {
  if (bytes.empty()) return nothing();
  return add({.type = Type::kLiteral, .bytes = std::string(bytes)});
}

GrammarBuilder::Expr GrammarBuilder::characters(const CodeSet& set) {
  auto sequences = utf8_sequences(set);
  return add({.type = sequences.empty() ? Type::kNever : Type::kSet, .sequences = std::move(sequences)});
}

GrammarBuilder::Expr GrammarBuilder::sequence(std::vector<Expr> parts) {
  std::erase_if(parts, [](Expr part) { return part.id == 0; });
  if (parts.empty()) return nothing();
  if (parts.size() == 1) return parts[0];
  return add({.type = Type::kSequence, .parts = std::move(parts)});
}

GrammarBuilder::Expr GrammarBuilder::choice(std::vector<Expr> ways) {
  std::erase_if(ways, [&](Expr way) { return exprs_[way.id].type == Type::kNever; });
  if (ways.size() == 1) return ways[0];
  return add({.type = ways.empty() ? Type::kNever : Type::kChoice, .parts = std::move(ways)});
}

GrammarBuilder::Expr GrammarBuilder::repeat(Expr what, std::uint32_t min, std::uint32_t max) {
  if (what.id == 0 || max == 0) return nothing();
  if (min == 1 && max == 1) return what;
  return add({.type = Type::kRepeat, .parts = {what}, .min = min, .max = max});
}

GrammarBuilder::Expr GrammarBuilder::call(Rule rule) { return add({.type = Type::kCall, .rule = rule}); }

GrammarBuilder::Rule GrammarBuilder::declare(std::string_view name) {
  if (rules_.size() >= kGrammarRulesMax) {
    refuse("too many rules", kGrammarRulesMax);
    return {0};
  }
  rules_.push_back({.name = cut_name(name)});
  return {static_cast<std::uint32_t>(rules_.size() - 1)};
}

void GrammarBuilder::define(Rule rule, Expr expr) {
  rules_[rule.id].expr = expr;
  rules_[rule.id].defined = true;
}

GrammarBuilder::Expr GrammarBuilder::shared(std::string_view name, Expr expr) {
  const Rule rule = declare(name);
  if (status_) define(rule, expr);
  return call(rule);
}

Result<std::shared_ptr<const Grammar>> GrammarBuilder::build() {
  SEDGE_CHECK(status_);
  Draft draft;
  Grammar grammar;
  for (const RuleText& rule : rules_) {
    if (!rule.defined) return fail(Code::kInvalidArgument, "rule '{}' is used and not defined", rule.name);
    const std::uint32_t start = draft.node(), end = draft.node();
    grammar.rule_starts_.push_back(start);
    draft.finals.push_back(end);
    draft.write(exprs_, rule.expr, start, end);
    if (draft.full()) {
      return fail(Code::kResourceExhausted,
                  "the grammar has over {} steps at rule '{}': bound strings and lists less widely", kGrammarNodesMax,
                  rule.name);
    }
  }
  const auto place = [&](std::vector<Draft::From>& edges) {
    grammar.nodes_.assign(draft.nodes, {});
    grammar.edges_.clear();
    for (const std::uint32_t end : draft.finals) grammar.nodes_[end].final = true;
    std::ranges::sort(edges);
    const auto equal = std::ranges::unique(edges);  // one of them is as good as all, and others would look at each
    edges.erase(equal.begin(), equal.end());
    for (std::size_t i = 0; i < edges.size(); ++i) {
      auto& node = grammar.nodes_[edges[i].node];
      if (node.edges_end == 0) node.edges_begin = static_cast<std::uint32_t>(i);
      node.edges_end = static_cast<std::uint32_t>(i + 1);
      node.takes_bytes |= edges[i].edge.kind == Kind::kBytes;
      grammar.edges_.push_back(edges[i].edge);
    }
  };
  place(draft.edges);
  SEDGE_CHECK(check_left_recursion(grammar));
  // Ways that never come to an end are cut, so that whoever is on a way can always finish.
  const auto depths = depths_to_end(grammar, [](const Edge&) { return true; });
  SEDGE_CHECK(check_endings(grammar, depths));
  std::erase_if(draft.edges, [&](const Draft::From& each) {
    const Edge& edge = each.edge;
    const bool calls = edge.kind == Kind::kCall;
    return depths[edge.target] == kNever || (calls && depths[grammar.rule_starts_[edge.rule]] == kNever);
  });
  place(draft.edges);
  for (std::size_t i = 0; i < depths.size(); ++i) grammar.nodes_[i].depth_to_end = depths[i];

  std::array<bool, 257> begins{};  // a byte that some edge tells from the one before
  for (const Edge& edge : grammar.edges_) {
    if (edge.kind == Kind::kBytes) begins[edge.low] = begins[edge.high + 1u] = true;
  }
  std::uint8_t index = 0;
  for (std::size_t byte = 1; byte < 256; ++byte)
    grammar.class_of_[byte] = index = static_cast<std::uint8_t>(index + begins[byte]);
  grammar.classes_ = std::size_t{index} + 1;
  return std::make_shared<const Grammar>(std::move(grammar));
}

// Rules called before a byte was taken, removed as soon as they call none such themselves; a cycle is left over.
Status GrammarBuilder::check_left_recursion(const Grammar& grammar) const {
  const auto empty = depths_to_end(grammar, [](const Edge& edge) { return edge.kind != Kind::kBytes; });
  std::vector<std::vector<std::uint32_t>> callers(rules_.size());
  std::vector<std::size_t> calls(rules_.size());
  std::vector<std::uint32_t> seen(grammar.nodes(), ~0u), work;
  for (std::uint32_t rule = 0; rule < rules_.size(); ++rule) {
    work = {grammar.rule_start(rule)};
    while (!work.empty()) {
      const std::uint32_t at = work.back();
      work.pop_back();
      if (std::exchange(seen[at], rule) == rule) continue;
      for (const Edge& edge : grammar.edges(at)) {
        if (edge.kind == Kind::kCall) callers[edge.rule].push_back(rule), ++calls[rule];
        const bool passes =
            edge.kind == Kind::kNothing || (edge.kind == Kind::kCall && empty[grammar.rule_start(edge.rule)] != kNever);
        if (passes) work.push_back(edge.target);
      }
    }
  }
  std::vector<std::uint32_t> free;
  for (std::uint32_t rule = 0; rule < rules_.size(); ++rule) {
    if (calls[rule] == 0) free.push_back(rule);
  }
  for (std::size_t i = 0; i < free.size(); ++i) {
    for (const std::uint32_t caller : callers[free[i]]) {
      if (--calls[caller] == 0) free.push_back(caller);
    }
  }
  const auto bad = std::ranges::find_if(calls, [](std::size_t count) { return count > 0; });
  if (bad == calls.end()) return {};
  return fail(Code::kInvalidArgument, "rule '{}' comes back to itself before anything was said (left recursion)",
              rules_[static_cast<std::size_t>(bad - calls.begin())].name);
}

// Of the root alone: elsewhere a way that nothing satisfies is one that is never taken.
Status GrammarBuilder::check_endings(const Grammar& grammar, const std::vector<std::uint32_t>& depths) const {
  const std::uint32_t depth = depths[grammar.root()];
  if (depth == kNever) return fail(Code::kInvalidArgument, "nothing finite satisfies rule '{}'", rules_[0].name);
  if (depth <= kStackDepthMax) return {};
  return fail(Code::kInvalidArgument, "a text has calls within calls, {} deep at least, at most {} are taken", depth,
              kStackDepthMax);
}

}  // namespace sedge::engine
