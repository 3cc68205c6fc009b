// A context-free grammar over bytes, compiled to a pushdown automaton: each rule is a small non-deterministic machine
// whose edges take a byte of a range, call another rule, or nothing. Readers of grammar texts (gbnf.h, json_schema.h)
// say what they read to a GrammarBuilder; a matcher (matcher.h) runs the result.
//
// What could run away is refused here, so that a matcher needs to ask no more: a rule that can reach itself before a
// byte was taken (left recursion), a root that no finite text satisfies, a grammar over a bound. Rejected: one
// automaton without a stack, which cannot say JSON, and LR tables, which cannot say ambiguous grammars as people write
// them. Source: Thompson 1968 (the machine of an expression); Dong et al. 2024, arXiv 2411.15100 (a machine a rule).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/grammar/code_set.h"

namespace sedge::engine {

inline constexpr std::size_t kGrammarBytesMax = 128u << 10;  // of a grammar's or schema's text
inline constexpr std::size_t kGrammarNodesMax = 1u << 17;    // a schema of a hundred fields takes some 5,000
inline constexpr std::size_t kGrammarRulesMax = 1u << 14;
inline constexpr std::size_t kStackDepthMax = 256;     // of calls within calls, in a text: brackets within brackets
inline constexpr std::size_t kGrammarDepthMax = 192;   // of expressions within each other; bounds our recursion
inline constexpr std::size_t kRuleNameBytesMax = 128;  // 2 MB of names; a schema's rules are named by their places

class Grammar {
 public:
  enum class Kind : std::uint8_t { kBytes, kCall, kNothing };
  struct Edge {
    std::uint32_t target;
    std::uint32_t rule;  // of a call
    Kind kind;
    std::uint8_t low, high;  // of a range of bytes, inclusive
    friend auto operator<=>(const Edge&, const Edge&) = default;
  };
  struct Node {
    std::uint32_t edges_begin = 0, edges_end = 0;
    std::uint32_t depth_to_end = 0;  // of calls within calls, at least, until the rule's end
    bool final = false;
    bool takes_bytes = false;
  };

  std::uint32_t root() const { return rule_starts_[0]; }
  std::uint32_t rule_start(std::uint32_t rule) const { return rule_starts_[rule]; }
  const Node& node(std::uint32_t id) const { return nodes_[id]; }
  std::span<const Edge> edges(std::uint32_t id) const {
    return std::span(edges_).subspan(nodes_[id].edges_begin, nodes_[id].edges_end - nodes_[id].edges_begin);
  }
  // A call that its rule ends with: it needs no return.
  bool is_last(const Edge& call) const {
    return nodes_[call.target].final && nodes_[call.target].edges_begin == nodes_[call.target].edges_end;
  }
  std::size_t nodes() const { return nodes_.size(); }
  std::size_t rules() const { return rule_starts_.size(); }

  // Bytes that no edge tells apart are of one class: 0 to classes() - 1.
  std::size_t classes() const { return classes_; }
  std::uint8_t class_of(std::uint8_t byte) const { return class_of_[byte]; }

 private:
  friend class GrammarBuilder;
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::vector<std::uint32_t> rule_starts_;  // the root's first
  std::array<std::uint8_t, 256> class_of_{};
  std::size_t classes_ = 1;
};

// Expressions are made from the leaves up; one may stand in several places, and is written out in each. After a bound
// was passed everything is a no-op and build() says which.
class GrammarBuilder {
 public:
  struct Expr {
    std::uint32_t id = 0;
  };
  struct Rule {
    std::uint32_t id = 0;
  };
  static constexpr std::uint32_t kNoLimit = ~0u;

  GrammarBuilder();

  Expr nothing() const { return {0}; }
  Expr literal(std::string_view bytes);
  Expr characters(const CodeSet& set);
  Expr sequence(std::vector<Expr> parts);
  Expr choice(std::vector<Expr> ways);
  Expr repeat(Expr what, std::uint32_t min, std::uint32_t max);
  Expr optional(Expr what) { return choice({nothing(), what}); }
  Expr call(Rule rule);

  // The first rule declared is the root. `name` is for errors; of a long one its end is kept.
  Rule declare(std::string_view name);
  void define(Rule rule, Expr expr);
  bool defined(Rule rule) const { return rules_[rule.id].defined; }
  // One expression as a rule of its own, so that using it often costs a node each.
  Expr shared(std::string_view name, Expr expr);

  // A bound that was passed: a reader that goes on reads for nothing.
  const Status& status() const { return status_; }

  // Errors: InvalidArgument naming the rule: not defined, left-recursive, a root that no finite text satisfies;
  //         ResourceExhausted (a bound). All are the grammar's author's to correct.
  Result<std::shared_ptr<const Grammar>> build();

 private:
  enum class Type : std::uint8_t { kNothing, kNever, kLiteral, kSet, kSequence, kChoice, kRepeat, kCall };
  struct Node {
    Type type = Type::kNothing;
    std::uint32_t depth = 1;
    std::string bytes;
    std::vector<ByteSequence> sequences;
    std::vector<Expr> parts;
    std::uint32_t min = 0, max = 0;
    Rule rule;
  };
  struct RuleText {
    std::string name;
    Expr expr;
    bool defined = false;
  };
  struct Draft;  // of the automaton

  Expr add(Node node);
  void refuse(std::string_view what, std::size_t most);
  Status check_left_recursion(const Grammar& grammar) const;
  Status check_endings(const Grammar& grammar, const std::vector<std::uint32_t>& depths) const;

  std::vector<Node> exprs_;
  std::vector<RuleText> rules_;
  Status status_;
};

}  // namespace sedge::engine
