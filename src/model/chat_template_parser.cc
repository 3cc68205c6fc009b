// Recursive descent over the tokens; one function a level of precedence, and one table for the binary levels.
// Source: the Jinja documentation, "Expressions" and "List of Control Structures".
#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <span>

#include "model/chat_template_ast.h"
#include "model/chat_template_lexer.h"

namespace sedge::model::jinja {

namespace {

constexpr auto kUnsupported = std::to_array<std::string_view>(
    {"include", "import", "from", "extends", "block", "call", "with", "do", "autoescape", "raw", "trans"});

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Block> whole() {
    SEDGE_TRY(Block block, statements({}));
    if (!at(TokenKind::kEnd)) return bad("'{}' closes nothing", tokens_[at_ + 1].text);
    return block;
  }

 private:
  // Levels of calls in progress; the counterpart of Expr::height for what nests by recursion.
  class Nesting {
   public:
    explicit Nesting(int& depth) : depth_(++depth) {}
    ~Nesting() { --depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    int& depth_;
  };

  const Token& now() const { return tokens_[at_]; }
  bool at(TokenKind kind) const { return now().kind == kind; }
  bool at(TokenKind kind, std::string_view text) const { return at(kind) && now().text == text; }
  bool op(std::string_view text) const { return at(TokenKind::kOperator, text); }
  bool word(std::string_view text) const { return at(TokenKind::kName, text); }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool take_op(std::string_view text) { return op(text) && (take(), true); }
  bool take_word(std::string_view text) { return word(text) && (take(), true); }

  template <class... Args>
  std::unexpected<Error> bad(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(Code::kDataLoss, "chat template, offset {}: {}", now().offset,
                fmt::format(format, std::forward<Args>(args)...));
  }
  std::unexpected<Error> unsupported(std::string_view what, std::size_t offset) const {
    return fail(Code::kUnimplemented, "chat template, offset {}: {} is not supported", offset, what);
  }
  Status too_deep() const {
    if (depth_ <= kTreeHeightMax) return {};
    return fail(Code::kResourceExhausted, "chat template, offset {}: nested deeper than {}", now().offset,
                kTreeHeightMax);
  }

  Status need_op(std::string_view text) {
    if (take_op(text)) return {};
    return bad("'{}' expected, found '{}'", text, now().text);
  }
  Status need(TokenKind kind, std::string_view what) {
    if (!at(kind)) return bad("{} expected, found '{}'", what, now().text);
    take();
    return {};
  }
  Result<std::string> need_name() {
    if (!at(TokenKind::kName)) return bad("a name expected, found '{}'", now().text);
    return take().text;
  }

  // ---- expressions

  static Expr node(ExprKind kind, std::size_t offset, std::string name = {}) {
    Expr expr{.kind = kind, .offset = offset, .name = std::move(name), .value = {}, .args = {}, .named = {}};
    return expr;
  }

  Result<ExprPtr> done(Expr expr) const {
    for (const ExprPtr& arg : expr.args) {
      if (arg) expr.height = std::max(expr.height, arg->height + 1);
    }
    for (const auto& [name, arg] : expr.named) expr.height = std::max(expr.height, arg->height + 1);
    if (expr.height > kTreeHeightMax) {
      return fail(Code::kResourceExhausted, "chat template, offset {}: an expression deeper than {}", expr.offset,
                  kTreeHeightMax);
    }
    return std::make_unique<Expr>(std::move(expr));
  }

  template <class... Args>
  Result<ExprPtr> make(ExprKind kind, std::size_t offset, std::string name, Args... args) const {
    Expr expr = node(kind, offset, std::move(name));
    (expr.args.push_back(std::move(args)), ...);
    return done(std::move(expr));
  }

  Result<ExprPtr> expression() {
    const Nesting nesting(depth_);
    SEDGE_CHECK(too_deep());
    SEDGE_TRY(ExprPtr value, disjunction());
    while (word("if")) {
      const std::size_t offset = take().offset;
      SEDGE_TRY(ExprPtr condition, disjunction());
      ExprPtr otherwise;
      if (take_word("else")) {
        SEDGE_TRY(otherwise, expression());
      }
      SEDGE_TRY(value,
                make(ExprKind::kChoice, offset, "if", std::move(value), std::move(condition), std::move(otherwise)));
    }
    return value;
  }

  // a, b, c is a list; where a single expression stands, it is itself.
  Result<ExprPtr> tuple() {
    SEDGE_TRY(ExprPtr first, expression());
    if (!op(",")) return first;
    Expr list = node(ExprKind::kList, first->offset);
    list.args.push_back(std::move(first));
    while (take_op(",")) {
      if (!starts_expression()) break;
      SEDGE_TRY(ExprPtr next, expression());
      list.args.push_back(std::move(next));
    }
    return done(std::move(list));
  }

  bool starts_expression() const {
    if (at(TokenKind::kOperator)) return op("(") || op("[") || op("{") || op("-") || op("+");
    return at(TokenKind::kName) || at(TokenKind::kString) || at(TokenKind::kInteger) || at(TokenKind::kFloat);
  }

  using Level = Result<ExprPtr> (Parser::*)();

  Result<ExprPtr> words(std::string_view text, Level inner) {
    SEDGE_TRY(ExprPtr left, (this->*inner)());
    while (word(text)) {
      const std::size_t offset = take().offset;
      SEDGE_TRY(ExprPtr right, (this->*inner)());
      SEDGE_TRY(left, make(ExprKind::kBinary, offset, std::string(text), std::move(left), std::move(right)));
    }
    return left;
  }
  Result<ExprPtr> disjunction() { return words("or", &Parser::conjunction); }
  Result<ExprPtr> conjunction() { return words("and", &Parser::negation); }

  Result<ExprPtr> negation() {
    if (!word("not")) return comparison();
    const Nesting nesting(depth_);
    SEDGE_CHECK(too_deep());
    const std::size_t offset = take().offset;
    SEDGE_TRY(ExprPtr value, negation());
    return make(ExprKind::kUnary, offset, "not", std::move(value));
  }

  // The operator that stands here, if it compares: "not in" is two words.
  std::string comparison_operator() const {
    for (const std::string_view each : {"==", "!=", "<", "<=", ">", ">="}) {
      if (op(each)) return std::string(each);
    }
    if (word("in")) return "in";
    return word("not") && tokens_[at_ + 1].kind == TokenKind::kName && tokens_[at_ + 1].text == "in" ? "not in" : "";
  }

  Result<ExprPtr> comparison() {
    SEDGE_TRY(ExprPtr left, sum());
    const std::string name = comparison_operator();
    if (name.empty()) return left;
    const std::size_t offset = take().offset;
    if (name == "not in") take();
    SEDGE_TRY(ExprPtr right, sum());
    if (!comparison_operator().empty()) return unsupported("a chain of comparisons", now().offset);
    return make(ExprKind::kBinary, offset, name, std::move(left), std::move(right));
  }

  Result<ExprPtr> binary(std::initializer_list<std::string_view> operators, Level inner) {
    SEDGE_TRY(ExprPtr left, (this->*inner)());
    while (at(TokenKind::kOperator) && std::ranges::find(operators, now().text) != operators.end()) {
      Token token = take();
      SEDGE_TRY(ExprPtr right, (this->*inner)());
      SEDGE_TRY(left, make(ExprKind::kBinary, token.offset, token.text, std::move(left), std::move(right)));
    }
    return left;
  }
  Result<ExprPtr> sum() { return binary({"+", "-"}, &Parser::concatenation); }
  Result<ExprPtr> concatenation() { return binary({"~"}, &Parser::product); }
  Result<ExprPtr> product() { return binary({"*", "/", "//", "%"}, &Parser::unary); }

  Result<ExprPtr> unary() {
    SEDGE_TRY(ExprPtr value, signed_value());
    return postfix(std::move(value), true);
  }

  // A sign binds closer than a filter: -1|abs is 1.
  Result<ExprPtr> signed_value() {
    if (op("-") || op("+")) {
      const Nesting nesting(depth_);
      SEDGE_CHECK(too_deep());
      const Token sign = take();
      SEDGE_TRY(ExprPtr value, signed_value());
      return make(ExprKind::kUnary, sign.offset, sign.text, std::move(value));
    }
    SEDGE_TRY(ExprPtr value, primary());
    return postfix(std::move(value), false);
  }

  Result<ExprPtr> postfix(ExprPtr value, bool filters) {
    for (;;) {
      const std::size_t offset = now().offset;
      if (op("**")) return unsupported("the operator **", offset);
      if (take_op(".")) {
        SEDGE_TRY(std::string name, need_name());
        SEDGE_TRY(value, make(ExprKind::kAttribute, offset, std::move(name), std::move(value)));
      } else if (take_op("[")) {
        SEDGE_TRY(value, subscript(std::move(value), offset));
      } else if (op("(")) {
        Expr call = node(ExprKind::kCall, offset);
        call.args.push_back(std::move(value));
        SEDGE_CHECK(arguments(call));
        SEDGE_TRY(value, done(std::move(call)));
      } else if (filters && take_op("|")) {
        SEDGE_TRY(value, filter(std::move(value)));
      } else if (filters && take_word("is")) {
        SEDGE_TRY(value, test(std::move(value), offset));
      } else {
        return value;
      }
    }
  }

  Result<ExprPtr> filter(ExprPtr subject) {
    Expr expr = node(ExprKind::kFilter, now().offset);
    SEDGE_TRY(expr.name, need_name());
    expr.args.push_back(std::move(subject));
    if (op("(")) SEDGE_CHECK(arguments(expr));
    return done(std::move(expr));
  }

  // "is divisibleby(3)" and "is divisibleby 3" are the same.
  Result<ExprPtr> test(ExprPtr subject, std::size_t offset) {
    Expr expr = node(ExprKind::kTest, offset);
    expr.negated = take_word("not");
    SEDGE_TRY(expr.name, need_name());
    expr.args.push_back(std::move(subject));
    const bool ends_here =
        word("and") || word("or") || word("if") || word("else") || word("is") || word("in") || word("not");
    if (op("(")) {
      SEDGE_CHECK(arguments(expr));
    } else if (starts_expression() && !ends_here && !op("-") && !op("+")) {
      SEDGE_TRY(ExprPtr argument, primary());
      expr.args.push_back(std::move(argument));
    }
    return done(std::move(expr));
  }

  Result<ExprPtr> subscript(ExprPtr subject, std::size_t offset) {
    std::array<ExprPtr, 3> parts;
    std::size_t colons = 0;
    while (!op("]")) {
      if (take_op(":")) {
        if (++colons > 2) return bad("a slice of more than three parts");
        continue;
      }
      if (parts[colons]) return bad("']' expected, found '{}'", now().text);
      SEDGE_TRY(parts[colons], expression());
    }
    take();
    if (colons > 0) {
      return make(ExprKind::kSlice, offset, "[:]", std::move(subject), std::move(parts[0]), std::move(parts[1]),
                  std::move(parts[2]));
    }
    if (!parts[0]) return bad("an index expected");
    return make(ExprKind::kItem, offset, "[]", std::move(subject), std::move(parts[0]));
  }

  // "(a, b, name=c)", at its opening parenthesis.
  Status arguments(Expr& call) {
    SEDGE_CHECK(need_op("("));
    while (!op(")")) {
      if (op("*") || op("**")) return unsupported("an unpacked argument", now().offset);
      const Token& next = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
      if (at(TokenKind::kName) && next.kind == TokenKind::kOperator && next.text == "=") {
        std::string name = take().text;
        take();
        SEDGE_TRY(ExprPtr value, expression());
        call.named.emplace_back(std::move(name), std::move(value));
      } else {
        SEDGE_TRY(ExprPtr value, expression());
        call.args.push_back(std::move(value));
      }
      if (!take_op(",")) break;
    }
    return need_op(")");
  }

  Result<ExprPtr> literal(Value value, std::size_t offset) const {
    Expr expr = node(ExprKind::kLiteral, offset);
    expr.value = std::move(value);
    return done(std::move(expr));
  }

  Result<ExprPtr> primary() {
    const Token token = now();
    switch (token.kind) {
      case TokenKind::kName:
        take();
        if (token.text == "true" || token.text == "True") return literal(make_bool(true), token.offset);
        if (token.text == "false" || token.text == "False") return literal(make_bool(false), token.offset);
        if (token.text == "none" || token.text == "None") return literal({None{}}, token.offset);
        return make(ExprKind::kName, token.offset, token.text);
      case TokenKind::kString: {
        std::string text;
        while (at(TokenKind::kString)) text += take().text;
        return literal(make_string(std::move(text)), token.offset);
      }
      case TokenKind::kInteger:
      case TokenKind::kFloat:
        return number();
      default:
        return bracketed();
    }
  }

  Result<ExprPtr> number() {
    const Token token = take();
    const char* const end = token.text.data() + token.text.size();
    if (token.kind == TokenKind::kFloat) {
      double value = 0;
      std::from_chars(token.text.data(), end, value);
      return literal({value}, token.offset);
    }
    std::int64_t value = 0;
    if (std::from_chars(token.text.data(), end, value).ec != std::errc{}) {
      return fail(Code::kDataLoss, "chat template, offset {}: the number {} is too large", token.offset, token.text);
    }
    return literal(make_int(value), token.offset);
  }

  Result<ExprPtr> bracketed() {
    const std::size_t offset = now().offset;
    if (take_op("(")) {
      if (take_op(")")) return done(node(ExprKind::kList, offset));
      SEDGE_TRY(ExprPtr inner, tuple());
      SEDGE_CHECK(need_op(")"));
      return inner;
    }
    if (take_op("[")) {
      Expr list = node(ExprKind::kList, offset);
      while (!op("]")) {
        SEDGE_TRY(ExprPtr item, expression());
        list.args.push_back(std::move(item));
        if (!take_op(",")) break;
      }
      SEDGE_CHECK(need_op("]"));
      return done(std::move(list));
    }
    if (!take_op("{")) return bad("a value expected, found '{}'", now().text);
    Expr dict = node(ExprKind::kDict, offset);
    while (!op("}")) {
      if (!at(TokenKind::kString)) return unsupported("a dict key that is not a string", now().offset);
      std::string key = take().text;
      SEDGE_CHECK(need_op(":"));
      SEDGE_TRY(ExprPtr item, expression());
      dict.named.emplace_back(std::move(key), std::move(item));
      if (!take_op(",")) break;
    }
    SEDGE_CHECK(need_op("}"));
    return done(std::move(dict));
  }

  // ---- statements

  // Statements up to a tag whose name is in `ends`, which is left standing at its "{%"; or to the end of the template.
  Result<Block> statements(std::span<const std::string_view> ends) {
    const Nesting nesting(depth_);
    SEDGE_CHECK(too_deep());
    Block block;
    for (;;) {
      if (at(TokenKind::kEnd)) {
        if (!ends.empty()) return bad("the template ends, '{}' is missing", ends.back());
        return block;
      }
      if (at(TokenKind::kText)) {
        Token token = take();
        block.push_back(statement(StmtKind::kText, token.offset));
        block.back()->text = std::move(token.text);
      } else if (at(TokenKind::kOutputBegin)) {
        block.push_back(statement(StmtKind::kOutput, take().offset));
        SEDGE_TRY(block.back()->expr, tuple());
        SEDGE_CHECK(need(TokenKind::kOutputEnd, "'}}'"));
      } else {
        const std::string& name = tokens_[at_ + 1].text;
        if (std::ranges::find(ends, name) != ends.end() || name.starts_with("end") || name == "else" ||
            name == "elif") {
          if (std::ranges::find(ends, name) == ends.end() && !ends.empty()) {
            return bad("'{}' where '{}' is expected", name, ends.back());
          }
          return block;
        }
        SEDGE_CHECK(tag(block));
      }
    }
  }

  static std::unique_ptr<Stmt> statement(StmtKind kind, std::size_t offset) {
    auto made = std::make_unique<Stmt>();
    made->kind = kind;
    made->offset = offset;
    return made;
  }

  void skip_tag_name() {  // "{%" and the name
    take();
    take();
  }

  Status end_tag() { return need(TokenKind::kBlockEnd, "'%}'"); }

  // "{% name %}", a closing tag.
  Status close(std::string_view name) {
    SEDGE_CHECK(need(TokenKind::kBlockBegin, "'{%'"));
    if (!take_word(name)) return bad("'{}' expected, found '{}'", name, now().text);
    return end_tag();
  }

  Status tag(Block& block) {
    take();
    const std::size_t offset = now().offset;
    SEDGE_TRY(const std::string name, need_name());
    if (name == "generation") return generation(block);
    auto made = statement(StmtKind::kText, offset);
    if (name == "if") {
      SEDGE_CHECK(if_tag(*made));
    } else if (name == "for") {
      SEDGE_CHECK(for_tag(*made));
    } else if (name == "set") {
      SEDGE_CHECK(set_tag(*made));
    } else if (name == "macro") {
      SEDGE_CHECK(macro_tag(*made));
    } else if (name == "filter") {
      SEDGE_CHECK(filter_tag(*made));
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) return fail(Code::kDataLoss, "chat template, offset {}: '{}' outside a loop", offset, name);
      made->kind = name == "break" ? StmtKind::kBreak : StmtKind::kContinue;
      SEDGE_CHECK(end_tag());
    } else if (std::ranges::find(kUnsupported, name) != kUnsupported.end()) {
      return unsupported(fmt::format("the tag '{}'", name), offset);
    } else {
      return fail(Code::kDataLoss, "chat template, offset {}: '{}' is no tag", offset, name);
    }
    block.push_back(std::move(made));
    return {};
  }

  Result<Block> body(std::initializer_list<std::string_view> ends) {
    SEDGE_CHECK(end_tag());
    return statements(std::span(ends.begin(), ends.size()));
  }

  // Marks which tokens are trained on, renders as its contents.
  Status generation(Block& block) {
    SEDGE_TRY(Block inner, body({"endgeneration"}));
    std::ranges::move(inner, std::back_inserter(block));
    return close("endgeneration");
  }

  Status if_tag(Stmt& stmt) {
    stmt.kind = StmtKind::kIf;
    for (bool last = false; !last;) {
      Branch branch;
      if (stmt.branches.empty() || tokens_[at_ + 1].text == "elif") {
        if (!stmt.branches.empty()) skip_tag_name();
        SEDGE_TRY(branch.condition, tuple());
        SEDGE_TRY(branch.body, body({"elif", "else", "endif"}));
      } else {
        last = true;
        if (tokens_[at_ + 1].text != "else") break;
        skip_tag_name();
        SEDGE_TRY(branch.body, body({"endif"}));
      }
      stmt.branches.push_back(std::move(branch));
    }
    return close("endif");
  }

  Status for_tag(Stmt& stmt) {
    stmt.kind = StmtKind::kFor;
    do {
      SEDGE_TRY(std::string name, need_name());
      stmt.names.push_back(std::move(name));
    } while (take_op(","));
    if (!take_word("in")) return bad("'in' expected, found '{}'", now().text);
    SEDGE_TRY(stmt.expr, disjunction());
    if (take_word("if")) {
      SEDGE_TRY(stmt.condition, expression());
    }
    if (word("recursive")) return unsupported("a recursive loop", now().offset);
    ++loops_;
    SEDGE_TRY(stmt.body, body({"else", "endfor"}));
    --loops_;
    if (tokens_[at_ + 1].text == "else") {
      skip_tag_name();
      SEDGE_TRY(stmt.otherwise, body({"endfor"}));
    }
    return close("endfor");
  }

  Status set_tag(Stmt& stmt) {
    stmt.kind = StmtKind::kSet;
    do {
      SEDGE_TRY(std::string name, need_name());
      stmt.names.push_back(std::move(name));
    } while (take_op(","));
    if (stmt.names.size() == 1 && take_op(".")) {
      SEDGE_TRY(std::string member, need_name());
      stmt.names.push_back(std::move(member));
      stmt.to_namespace = true;
    }
    if (take_op("=")) {
      SEDGE_TRY(stmt.expr, tuple());
      return end_tag();
    }
    if (stmt.names.size() != 1) return bad("'=' expected, found '{}'", now().text);
    stmt.kind = StmtKind::kSetBlock;
    SEDGE_TRY(stmt.body, body({"endset"}));
    return close("endset");
  }

  Status macro_tag(Stmt& stmt) {
    stmt.kind = StmtKind::kMacro;
    SEDGE_TRY(stmt.macro.name, need_name());
    SEDGE_CHECK(need_op("("));
    while (!op(")")) {
      SEDGE_TRY(std::string name, need_name());
      ExprPtr otherwise;
      if (take_op("=")) {
        SEDGE_TRY(otherwise, expression());
      }
      stmt.macro.parameters.emplace_back(std::move(name), std::move(otherwise));
      if (!take_op(",")) break;
    }
    SEDGE_CHECK(need_op(")"));
    SEDGE_TRY(stmt.macro.body, body({"endmacro"}));
    return close("endmacro");
  }

  // {% filter f | g %}: the chain has an empty subject, which the body's text takes.
  Status filter_tag(Stmt& stmt) {
    stmt.kind = StmtKind::kFilterBlock;
    SEDGE_TRY(ExprPtr subject, make(ExprKind::kName, now().offset, std::string(kFilteredName)));
    SEDGE_TRY(stmt.expr, filter(std::move(subject)));
    SEDGE_TRY(stmt.expr, postfix(std::move(stmt.expr), true));
    SEDGE_TRY(stmt.body, body({"endfilter"}));
    return close("endfilter");
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

Result<Block> parse_template(std::string_view source) {
  if (source.size() > kTemplateBytesMax) {
    return fail(Code::kResourceExhausted, "chat template: {} bytes, at most {} are read", source.size(),
                kTemplateBytesMax);
  }
  SEDGE_TRY(std::vector<Token> tokens, lex(source));
  return Parser(std::move(tokens)).whole();
}

}  // namespace sedge::model::jinja
