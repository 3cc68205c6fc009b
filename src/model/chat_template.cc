// The evaluator: walks the tree with a stack of scopes. A loop's body and a macro's are scopes of their own, as in
// Jinja, where an assignment inside a loop is forgotten at its next turn and only a namespace carries values out.
#include "model/chat_template.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "model/chat_template_ast.h"
#include "model/chat_template_builtins.h"
#include "model/chat_template_time.h"

namespace sedge::model {

namespace jinja {
namespace {

constexpr int kDepthMax = 400;  // calls in progress: two trees of full height; a macro that calls itself ends here

using Scope = std::map<std::string, Value, std::less<>>;
enum class Flow { kNext, kBreak, kContinue };

template <class T>
Result<T> located(std::size_t offset, Result<T> result) {
  if (result) return result;
  return fail(result.error().code, "chat template, offset {}: {}", offset, result.error().message);
}

class Evaluator {
 public:
  explicit Evaluator(Scope globals) { scopes_.push_back(std::move(globals)); }

  Result<std::string> run(const Block& block) {
    SEDGE_TRY(const Flow flow, exec(block));
    (void)flow;
    return std::move(out_);
  }

 private:
  template <class... Args>
  static std::unexpected<Error> wrong(std::size_t offset, fmt::format_string<Args...> format, Args&&... args) {
    return fail(Code::kInvalidArgument, "chat template, offset {}: {}", offset,
                fmt::format(format, std::forward<Args>(args)...));
  }

  class Depth {
   public:
    explicit Depth(int& depth) : depth_(++depth) {}
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    int& depth_;
  };
  Status step(std::size_t offset) {
    if (depth_ > kDepthMax) {
      return fail(Code::kResourceExhausted, "chat template, offset {}: calls nested deeper than {}", offset, kDepthMax);
    }
    return located(offset, budget_.spend(1));
  }

  // ---- names

  const Value* find(std::string_view name) const {
    for (std::size_t i = scopes_.size(); i-- > 0;) {
      if (i < frame_) i = 0;  // a macro sees its own scopes and the outermost one
      if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return &found->second;
    }
    return nullptr;
  }

  // ---- statements

  Result<Flow> exec(const Block& block) {
    for (const auto& stmt : block) {
      SEDGE_TRY(const Flow flow, exec(*stmt));
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Result<Flow> exec(const Stmt& stmt) {
    const Depth depth(depth_);
    SEDGE_CHECK(step(stmt.offset));
    switch (stmt.kind) {
      case StmtKind::kText:
        return write(stmt.offset, stmt.text);
      case StmtKind::kOutput: {
        SEDGE_TRY(const Value value, eval(*stmt.expr));
        SEDGE_TRY(const std::string text, located(stmt.offset, print(value, budget_)));
        return write(stmt.offset, text);
      }
      case StmtKind::kIf:
        return exec_if(stmt);
      case StmtKind::kFor:
        return exec_for(stmt);
      case StmtKind::kSet:
        return exec_set(stmt);
      case StmtKind::kSetBlock: {
        SEDGE_TRY(std::string text, capture(stmt.body));
        scopes_.back()[stmt.names[0]] = make_string(std::move(text));
        return Flow::kNext;
      }
      case StmtKind::kMacro:
        scopes_.back()[stmt.macro.name] = Value{&stmt.macro};
        return Flow::kNext;
      case StmtKind::kFilterBlock:
        return exec_filter(stmt);
      case StmtKind::kBreak:
        return Flow::kBreak;
      case StmtKind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  Result<Flow> write(std::size_t offset, std::string_view text) {
    SEDGE_CHECK(located(offset, budget_.spend_bytes(text.size())));
    out_ += text;
    return Flow::kNext;
  }

  // What `block` renders, in a scope of its own, instead of writing it.
  Result<std::string> capture(const Block& block) {
    std::string outer = std::exchange(out_, {});
    scopes_.emplace_back();
    const auto flow = exec(block);
    scopes_.pop_back();
    if (!flow) return std::unexpected(flow.error());
    return std::exchange(out_, std::move(outer));
  }

  Result<Flow> exec_if(const Stmt& stmt) {
    for (const Branch& branch : stmt.branches) {
      if (branch.condition) {
        SEDGE_TRY(const Value condition, eval(*branch.condition));
        if (!truth(condition)) continue;
      }
      return exec(branch.body);
    }
    return Flow::kNext;
  }

  Result<Flow> exec_filter(const Stmt& stmt) {
    SEDGE_TRY(std::string text, capture(stmt.body));
    scopes_.push_back({{std::string(kFilteredName), make_string(std::move(text))}});
    const auto filtered = eval(*stmt.expr);
    scopes_.pop_back();
    if (!filtered) return std::unexpected(filtered.error());
    SEDGE_TRY(const std::string shown, located(stmt.offset, print(*filtered, budget_)));
    return write(stmt.offset, shown);
  }

  Result<Flow> exec_set(const Stmt& stmt) {
    SEDGE_TRY(Value value, eval(*stmt.expr));
    if (!stmt.to_namespace) {
      SEDGE_CHECK(bind(stmt.names, std::move(value), scopes_.back(), stmt.offset));
      return Flow::kNext;
    }
    const Value* owner = find(stmt.names[0]);
    Namespace* space = owner != nullptr ? owner->space() : nullptr;
    if (space == nullptr) return wrong(stmt.offset, "'{}' is no namespace", stmt.names[0]);
    if (value.space() != nullptr) return wrong(stmt.offset, "a namespace inside a namespace");
    SEDGE_CHECK(located(stmt.offset, budget_.spend(space->members.size())));
    for (auto& [name, member] : space->members) {
      if (name == stmt.names[1]) {
        member = std::move(value);
        return Flow::kNext;
      }
    }
    space->members.emplace_back(stmt.names[1], std::move(value));
    return Flow::kNext;
  }

  // One name takes the value; several take its items.
  Status bind(const std::vector<std::string>& names, Value value, Scope& scope, std::size_t offset) {
    if (names.size() == 1) {
      scope[names[0]] = std::move(value);
      return {};
    }
    SEDGE_TRY(const List items, located(offset, items_of(value, budget_)));
    if (items.size() != names.size()) return wrong(offset, "{} values for {} names", items.size(), names.size());
    for (std::size_t i = 0; i < names.size(); ++i) scope[names[i]] = items[i];
    return {};
  }

  Result<Flow> exec_for(const Stmt& stmt) {
    SEDGE_TRY(const Value walked, eval(*stmt.expr));
    SEDGE_TRY(List items, located(stmt.offset, items_of(walked, budget_)));
    if (stmt.condition) SEDGE_CHECK(keep_matching(stmt, items));
    if (items.empty()) return exec(stmt.otherwise);
    for (std::size_t i = 0; i < items.size(); ++i) {
      Scope scope;
      SEDGE_TRY(scope["loop"], located(stmt.offset, loop_value(items, i)));
      SEDGE_CHECK(bind(stmt.names, items[i], scope, stmt.offset));
      scopes_.push_back(std::move(scope));
      const auto flow = exec(stmt.body);
      scopes_.pop_back();
      if (!flow) return flow;
      if (*flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  Status keep_matching(const Stmt& stmt, List& items) {
    List kept;
    for (Value& item : items) {
      Scope scope;
      SEDGE_CHECK(bind(stmt.names, item, scope, stmt.offset));
      scopes_.push_back(std::move(scope));
      const auto holds = eval(*stmt.condition);
      scopes_.pop_back();
      if (!holds) return std::unexpected(holds.error());
      if (truth(*holds)) kept.push_back(std::move(item));
    }
    items = std::move(kept);
    return {};
  }

  static Result<Value> loop_value(const List& items, std::size_t i) {
    const auto at = static_cast<std::int64_t>(i), length = static_cast<std::int64_t>(items.size());
    Dict loop = {{"index", make_int(at + 1)},         {"index0", make_int(at)},
                 {"revindex", make_int(length - at)}, {"revindex0", make_int(length - at - 1)},
                 {"first", make_bool(at == 0)},       {"last", make_bool(at + 1 == length)},
                 {"length", make_int(length)}};
    if (i > 0) loop.emplace_back("previtem", items[i - 1]);
    if (i + 1 < items.size()) loop.emplace_back("nextitem", items[i + 1]);
    return make_dict(std::move(loop));
  }

  // ---- expressions

  Result<Value> eval(const Expr& expr) {
    const Depth depth(depth_);
    SEDGE_CHECK(step(expr.offset));
    switch (expr.kind) {
      case ExprKind::kLiteral:
        return expr.value;
      case ExprKind::kName: {
        const Value* found = find(expr.name);
        return found != nullptr ? *found : Value{};
      }
      case ExprKind::kAttribute:
        return attribute(expr);
      case ExprKind::kItem:
        return item(expr);
      case ExprKind::kSlice:
        return slice(expr);
      case ExprKind::kCall:
        return call(expr);
      case ExprKind::kFilter: {
        SEDGE_TRY(const Arguments arguments, evaluate(expr, 0));
        return located(expr.offset, call_filter(expr.name, arguments, budget_));
      }
      case ExprKind::kTest: {
        SEDGE_TRY(const Arguments arguments, evaluate(expr, 0));
        SEDGE_TRY(const bool holds, located(expr.offset, call_test(expr.name, arguments, budget_)));
        return make_bool(holds != expr.negated);
      }
      case ExprKind::kUnary:
        return unary(expr);
      case ExprKind::kBinary:
        return expr.name == "and" || expr.name == "or" ? short_circuit(expr) : binary(expr);
      case ExprKind::kChoice: {
        SEDGE_TRY(const Value condition, eval(*expr.args[1]));
        if (truth(condition)) return eval(*expr.args[0]);
        return expr.args[2] ? eval(*expr.args[2]) : Value{};
      }
      case ExprKind::kList: {
        SEDGE_TRY(Arguments arguments, evaluate(expr, 0));
        return located(expr.offset, make_list(std::move(arguments.values)));
      }
      case ExprKind::kDict: {
        SEDGE_TRY(Arguments arguments, evaluate(expr, 0));
        return located(expr.offset, make_dict(std::move(arguments.named)));
      }
    }
    return Value{};
  }

  Result<Arguments> evaluate(const Expr& expr, std::size_t from) {
    Arguments arguments;
    for (std::size_t i = from; i < expr.args.size(); ++i) {
      SEDGE_TRY(Value value, eval(*expr.args[i]));
      arguments.values.push_back(std::move(value));
    }
    for (const auto& [name, arg] : expr.named) {
      SEDGE_TRY(Value value, eval(*arg));
      arguments.named.emplace_back(name, std::move(value));
    }
    return arguments;
  }

  Result<Value> attribute(const Expr& expr) {
    SEDGE_TRY(Value subject, eval(*expr.args[0]));
    if (subject.is_undefined()) return wrong(expr.offset, "'.{}' of something undefined", expr.name);
    if (is_method(subject, expr.name)) return Value{Method{std::make_shared<Value>(std::move(subject)), expr.name}};
    const Namespace* space = subject.space();
    const Dict* dict = space != nullptr ? &space->members : subject.dict();
    if (dict == nullptr) return Value{};
    SEDGE_CHECK(located(expr.offset, budget_.spend(dict->size())));
    const Value* found = find_member(*dict, expr.name);
    return found != nullptr ? *found : Value{};
  }

  Result<Value> item(const Expr& expr) {
    SEDGE_TRY(const Value subject, eval(*expr.args[0]));
    SEDGE_TRY(const Value key, eval(*expr.args[1]));
    if (subject.is_undefined()) return wrong(expr.offset, "an item of something undefined");
    if (const Dict* dict = subject.dict(); dict != nullptr && key.string() != nullptr) {
      SEDGE_CHECK(located(expr.offset, budget_.spend(dict->size())));
      const Value* found = find_member(*dict, *key.string());
      return found != nullptr ? *found : Value{};
    }
    if (subject.dict() != nullptr || !key.is_integer()) return Value{};
    if (const List* list = subject.list()) return at(*list, key.integer());
    if (subject.string() == nullptr) return Value{};
    SEDGE_TRY(const List characters, located(expr.offset, items_of(subject, budget_)));
    return at(characters, key.integer());
  }

  static Value at(const List& list, std::int64_t index) {
    if (index < 0) index += static_cast<std::int64_t>(list.size());
    const bool inside = index >= 0 && index < static_cast<std::int64_t>(list.size());
    return inside ? list[static_cast<std::size_t>(index)] : Value{};
  }

  // Python's slices: bounds that are out of range are the nearest end.
  Result<Value> slice(const Expr& expr) {
    SEDGE_TRY(const Value subject, eval(*expr.args[0]));
    if (subject.list() == nullptr && subject.string() == nullptr) {
      return wrong(expr.offset, "a slice of {}", type_name(subject));
    }
    SEDGE_TRY(const List items, located(expr.offset, items_of(subject, budget_)));
    const auto size = static_cast<std::int64_t>(items.size());
    SEDGE_TRY(const std::int64_t step, bound(expr, 3, 1));
    if (step == 0) return wrong(expr.offset, "a slice with step 0");
    const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    SEDGE_TRY(std::int64_t from, bound(expr, 1, step > 0 ? 0 : size));
    SEDGE_TRY(std::int64_t to, bound(expr, 2, step > 0 ? size : -size - 1));
    from = std::clamp(from < 0 ? from + size : from, low, high);
    to = std::clamp(to < 0 ? to + size : to, low, high);
    List kept;
    for (std::int64_t i = from; step > 0 ? i < to : i > to; i += step) {
      kept.push_back(items[static_cast<std::size_t>(i)]);
    }
    if (subject.list() != nullptr) return located(expr.offset, make_list(std::move(kept)));
    std::string text;
    for (const Value& each : kept) text += *each.string();
    return make_string(std::move(text));
  }

  // A bound of a slice, near enough to zero that sums with sizes cannot overflow.
  Result<std::int64_t> bound(const Expr& expr, std::size_t index, std::int64_t otherwise) {
    if (!expr.args[index]) return otherwise;
    SEDGE_TRY(const Value value, eval(*expr.args[index]));
    if (value.is_none()) return otherwise;
    if (!value.is_integer()) return wrong(expr.offset, "a slice bound that is {}", type_name(value));
    constexpr std::int64_t kFar = std::int64_t{1} << 40;
    return std::clamp(value.integer(), -kFar, kFar);
  }

  Result<Value> call(const Expr& expr) {
    const Expr& callee = *expr.args[0];
    SEDGE_TRY(const Value target, eval(callee));
    SEDGE_TRY(const Arguments arguments, evaluate(expr, 1));
    if (const auto* macro = std::get_if<const Macro*>(&target.data)) return call_macro(**macro, arguments, expr.offset);
    if (const auto* method = std::get_if<Method>(&target.data)) {
      return located(expr.offset, call_method(*method->subject, method->name, arguments, budget_));
    }
    if (target.is_undefined() && callee.kind == ExprKind::kName) {
      return located(expr.offset, call_function(callee.name, arguments, budget_));
    }
    const char* what = callee.kind == ExprKind::kAttribute ? "the method" : "calling";
    return fail(Code::kUnimplemented, "chat template, offset {}: {} '{}' is not supported", expr.offset, what,
                callee.name);
  }

  Result<Value> call_macro(const Macro& macro, const Arguments& arguments, std::size_t offset) {
    if (arguments.values.size() > macro.parameters.size()) {
      return wrong(offset, "{} arguments, the macro '{}' takes {}", arguments.values.size(), macro.name,
                   macro.parameters.size());
    }
    const std::size_t outer = std::exchange(frame_, scopes_.size());
    scopes_.emplace_back();
    auto text = call_body(macro, arguments);
    scopes_.pop_back();
    frame_ = outer;
    if (!text) return std::unexpected(text.error());
    return make_string(std::move(*text));
  }

  Result<std::string> call_body(const Macro& macro, const Arguments& arguments) {
    for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
      const auto& [name, otherwise] = macro.parameters[i];
      Value value = arguments.get(i, name);
      if (value.is_undefined() && otherwise) {
        SEDGE_TRY(value, eval(*otherwise));
      }
      scopes_.back()[name] = std::move(value);
    }
    return capture(macro.body);
  }

  Result<Value> unary(const Expr& expr) {
    SEDGE_TRY(Value value, eval(*expr.args[0]));
    if (expr.name == "not") return make_bool(!truth(value));
    if (!value.is_number()) return wrong(expr.offset, "'{}' of {}", expr.name, type_name(value));
    if (expr.name == "+") return value;
    if (!value.is_integer()) return Value{-value.number()};
    if (value.integer() == INT64_MIN) return wrong(expr.offset, "the number is too large");
    return make_int(-value.integer());
  }

  Result<Value> short_circuit(const Expr& expr) {
    SEDGE_TRY(Value left, eval(*expr.args[0]));
    if (truth(left) == (expr.name == "or")) return left;
    return eval(*expr.args[1]);
  }

  Result<Value> binary(const Expr& expr) {
    SEDGE_TRY(const Value left, eval(*expr.args[0]));
    SEDGE_TRY(const Value right, eval(*expr.args[1]));
    const std::string& op = expr.name;
    if (op == "==" || op == "!=") {
      SEDGE_TRY(const bool same, located(expr.offset, equal(left, right, budget_)));
      return make_bool(same == (op == "=="));
    }
    if (op == "in" || op == "not in") {
      SEDGE_TRY(const bool inside, located(expr.offset, contains(right, left, budget_)));
      return make_bool(inside == (op == "in"));
    }
    if (op == "~") {
      SEDGE_TRY(std::string text, located(expr.offset, print(left, budget_)));
      SEDGE_TRY(const std::string more, located(expr.offset, print(right, budget_)));
      return make_string(text.append(more));
    }
    if (left.string() != nullptr && right.string() != nullptr) return strings(expr, *left.string(), *right.string());
    if (op == "+" && left.list() != nullptr && right.list() != nullptr) {
      SEDGE_TRY(List items, located(expr.offset, items_of(left, budget_)));
      SEDGE_TRY(const List more, located(expr.offset, items_of(right, budget_)));
      items.insert(items.end(), more.begin(), more.end());
      return located(expr.offset, make_list(std::move(items)));
    }
    if (left.is_number() && right.is_number()) {
      if (op[0] == '<' || op[0] == '>') return make_bool(ordered(op, left.number(), right.number()));
      return op != "/" && left.is_integer() && right.is_integer() ? integers(expr, left.integer(), right.integer())
                                                                  : floats(expr, left.number(), right.number());
    }
    return wrong(expr.offset, "{} {} {}", type_name(left), op, type_name(right));
  }

  template <class T>
  static bool ordered(std::string_view op, const T& left, const T& right) {
    if (op == "<") return left < right;
    if (op == "<=") return left <= right;
    return op == ">" ? left > right : left >= right;
  }

  Result<Value> strings(const Expr& expr, const std::string& left, const std::string& right) {
    SEDGE_CHECK(located(expr.offset, budget_.spend_bytes(left.size() + right.size())));
    if (expr.name == "+") return make_string(left + right);
    if (expr.name[0] == '<' || expr.name[0] == '>') return make_bool(ordered(expr.name, left, right));
    return fail(Code::kUnimplemented, "chat template, offset {}: '{}' between strings is not supported", expr.offset,
                expr.name);
  }

  Result<Value> integers(const Expr& expr, std::int64_t left, std::int64_t right) {
    std::int64_t result = 0;
    bool overflow = false;
    if (expr.name == "+") {
      overflow = __builtin_add_overflow(left, right, &result);
    } else if (expr.name == "-") {
      overflow = __builtin_sub_overflow(left, right, &result);
    } else if (expr.name == "*") {
      overflow = __builtin_mul_overflow(left, right, &result);
    } else if (right == 0 || (left == INT64_MIN && right == -1)) {
      overflow = true;
    } else {  // Python's // and % round towards minus infinity
      const std::int64_t remainder = left % right;
      const bool below = remainder != 0 && (remainder < 0) != (right < 0);
      result = expr.name == "%" ? remainder + (below ? right : 0) : left / right - (below ? 1 : 0);
    }
    if (overflow) return wrong(expr.offset, "{} {} {} is not a number", left, expr.name, right);
    return make_int(result);
  }

  Result<Value> floats(const Expr& expr, double left, double right) {
    if (expr.name == "+") return Value{left + right};
    if (expr.name == "-") return Value{left - right};
    if (expr.name == "*") return Value{left * right};
    if (right == 0) return wrong(expr.offset, "division by zero");
    if (expr.name == "/") return Value{left / right};
    if (expr.name == "//") return Value{std::floor(left / right)};
    return Value{left - std::floor(left / right) * right};
  }

  Budget budget_;
  std::vector<Scope> scopes_;
  std::size_t frame_ = 0;  // the first scope of the running macro
  std::string out_;
  int depth_ = 0;
};

// What a client gave too deep is its own to correct.
Result<Value> value_of(const json::Value& given, std::string_view what) {
  auto value = from_json(given);
  if (!value) return fail(Code::kInvalidArgument, "{}: {}", what, value.error().message);
  return value;
}

// Under the two names that templates have for it: a function, and FireFunction's text.
Status add_date(std::int64_t local_s, Scope& globals) {
  globals["strftime_now"] = {Method{std::make_shared<Value>(Value{Moment{local_s}}), "strftime"}};
  SEDGE_TRY(std::string text, format_time("%Y-%m-%d %H:%M:%S", local_s));
  globals["datetime"] = make_string(std::move(text));
  return {};
}

}  // namespace
}  // namespace jinja

Status check_chat_template(std::string_view jinja) {
  SEDGE_TRY(const jinja::Block block, jinja::parse_template(jinja));
  (void)block;
  return {};
}

Result<std::string> render_chat(std::string_view jinja, std::span<const ChatMessage> messages,
                                const ChatOptions& options) {
  using namespace jinja;
  SEDGE_TRY(const Block block, parse_template(jinja));
  List list;
  for (const ChatMessage& message : messages) {
    json::Object whole = {{"role", message.role}, {"content", message.content}};
    for (const auto& member : message.more) whole.insert(member);
    SEDGE_TRY(list.emplace_back(), value_of(whole, "a message"));
  }
  SEDGE_TRY(Value all, make_list(std::move(list)));
  Value tools{None{}};  // defined, as templates are published for a renderer that always names them
  if (!options.tools.empty()) {
    SEDGE_TRY(tools, value_of(options.tools, "the tools"));
  }
  Scope globals = {{"messages", std::move(all)},
                   {"bos_token", make_string(options.bos_token)},
                   {"eos_token", make_string(options.eos_token)},
                   {"tools", std::move(tools)},
                   {"documents", Value{None{}}},
                   {"add_generation_prompt", make_bool(options.add_generation_prompt)}};
  if (!options.tools.empty()) globals["xml_tools"] = globals["tools"];  // SmolLM3's name
  if (options.asked_local_s) SEDGE_CHECK(add_date(*options.asked_local_s, globals));
  // FireFunction v2 appends it unasked. With tools there is none: templates disagree on whether it is a text or a list.
  if (options.tools.empty()) globals["functions"] = make_string("");
  return Evaluator(std::move(globals)).run(block);
}

}  // namespace sedge::model
