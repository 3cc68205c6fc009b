#include "engine/grammar/call_grammar.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/json_text.h"

namespace sedge::engine {
namespace {

using Expr = GrammarBuilder::Expr;
using Rule = GrammarBuilder::Rule;

class Writer {
 public:
  Writer(const CallForm& form, const CallRules& rules) : form_(form), rules_(rules) {}

  Result<std::shared_ptr<const Grammar>> write(std::span<const Callable> functions) {
    const Rule root = builder_.declare("root");
    std::vector<Expr> ways;
    for (const Callable& each : functions) {
      auto arguments = add_json_schema(each.parameters, builder_, text_);
      if (!arguments) return in_context(fmt::format("function '{}'", each.name), arguments.error());
      ways.push_back(call(each.name, *arguments));
    }
    const Expr one = builder_.shared("call", builder_.choice(std::move(ways)));
    const Expr more = builder_.sequence({builder_.literal(form_.between), one});
    const auto further = static_cast<std::uint32_t>(rules_.calls_max - 1);
    const auto from = [&](std::string_view begin) {
      return builder_.sequence(
          {builder_.literal(begin), one, builder_.repeat(more, 0, further), builder_.literal(form_.end)});
    };
    if (rules_.trigger.empty()) {
      builder_.define(root, from(form_.begin));
    } else if (rules_.at_start) {
      builder_.define(root, builder_.choice({from(form_.begin), text_before(std::nullopt)}));
    } else {
      SEDGE_ASSERT(form_.begin.starts_with(rules_.trigger));
      builder_.define(root, text_before(from(form_.begin.substr(rules_.trigger.size()))));
    }
    return builder_.build();
  }

 private:
  Expr quoted(std::string_view text) { return builder_.literal(json::write(json::Value(text))); }

  Expr call(std::string_view name, Expr arguments) {
    return text_.object(builder_.sequence({quoted("name"), text_.colon(), quoted(name), text_.comma(),
                                           quoted(form_.arguments), text_.colon(), arguments}));
  }

  // Any text, until `then` follows the trigger; with none the trigger does not come. Rule i: what may come when i
  // characters of the trigger stand at the end; the one behind them: whatever does.
  Expr text_before(std::optional<Expr> then) {
    const std::string_view trigger = rules_.trigger;
    const std::size_t free = trigger.size();
    std::vector<Rule> states;
    for (std::size_t i = 0; i <= free; ++i) states.push_back(builder_.declare(fmt::format("text before calls {}", i)));
    for (std::size_t i = 0; i <= free; ++i) {
      const std::size_t otherwise = rules_.at_start ? free : 0;
      CodeSet rest = CodeSet::any();
      std::map<std::size_t, CodeSet> to;
      for (const char c : i < free ? trigger : std::string_view()) {
        const auto code = static_cast<char32_t>(c);
        rest = rest.without({{code, code}});
        if (c != trigger[i]) to[rules_.at_start ? free : left_of(trigger, i, c)].add(code);
      }
      to[i < free ? otherwise : free].add(rest);
      std::vector<Expr> ways = {builder_.nothing()};
      for (const auto& [state, set] : to) {
        ways.push_back(builder_.sequence({builder_.characters(set), builder_.call(states[state])}));
      }
      if (i + 1 < free)
        ways.push_back(builder_.sequence({builder_.literal(trigger.substr(i, 1)), builder_.call(states[i + 1])}));
      if (i + 1 == free && then) ways.push_back(builder_.sequence({builder_.literal(trigger.substr(i, 1)), *then}));
      builder_.define(states[i], builder_.choice(std::move(ways)));
    }
    return builder_.call(states[0]);
  }

  // How many characters of the trigger stand at the end when `c` follows the first i of them and is not the next.
  static std::size_t left_of(std::string_view trigger, std::size_t i, char c) {
    const std::string text = std::string(trigger.substr(0, i)) + c;
    std::size_t left = i;
    while (!text.ends_with(trigger.substr(0, left))) --left;
    return left;
  }

  const CallForm& form_;
  const CallRules& rules_;
  GrammarBuilder builder_;
  JsonText text_{builder_};
};

}  // namespace

Result<std::shared_ptr<const Grammar>> call_grammar(std::span<const Callable> functions, const CallForm& form,
                                                    const CallRules& rules) {
  SEDGE_ASSERT(!functions.empty() && rules.calls_max > 0);
  return Writer(form, rules).write(functions);
}

}  // namespace sedge::engine
