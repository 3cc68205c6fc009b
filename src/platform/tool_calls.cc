#include "platform/tool_calls.h"

#include <algorithm>

#include "base/json.h"

namespace sedge::platform {
namespace {

constexpr std::string_view kWhite = " \t\r\n";

// Qwen2.5, Qwen3 and SmolLM3 write as Hermes does; Qwen3-Coder, whose template has the mark too, writes arguments as
// tags. Later Mistrals put the name outside of the JSON, behind the same mark.
constexpr CallSyntax kSyntaxes[] = {
    {"hermes", "<tool_call>", "<function=", "<tool_call>", "</tool_call>", "\n", "\n</tool_call>\n<tool_call>\n", "\n",
     "arguments", kCallsMax},
    {"mistral", "[TOOL_CALLS]", "[ARGS]", "[TOOL_CALLS]", "", "[", ", ", "]", "arguments", kCallsMax},
    {"llama3", "\"parameters\": dictionary", "", "", "", "", "", "", "parameters", 1},
};

// Goes through a text by what is expected there.
class Reader {
 public:
  Reader(std::string_view text, std::span<const std::string> names) : text_(text), names_(names) {}

  std::optional<std::vector<ToolCall>> calls() {
    do {
      const CallSyntax* mark = take_open();
      if (!list_or_call()) return std::nullopt;
      skip_white();
      if (mark != nullptr && !mark->close.empty() && !take(mark->close)) return std::nullopt;
      skip_white();
    } while (at_ < text_.size());
    return std::move(calls_);
  }

 private:
  void skip_white() { at_ = std::min(text_.find_first_not_of(kWhite, at_), text_.size()); }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  const CallSyntax* take_open() {
    skip_white();
    for (const CallSyntax& each : kSyntaxes) {
      if (!each.open.empty() && take(each.open)) return &each;
    }
    return nullptr;
  }

  bool list_or_call() {
    skip_white();
    if (!take("[")) return call();
    do {
      if (!call()) return false;
      skip_white();
    } while (take(","));
    return take("]");
  }

  // The value's text, from here to its end. Whether it is JSON is asked of the whole call.
  std::string_view value() {
    const std::size_t begin = at_;
    std::size_t depth = 0;
    for (bool quoted = false; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (quoted && c == '\\') {
        ++at_;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (!quoted && (c == '{' || c == '[')) {
        ++depth;
      } else if (!quoted && (c == '}' || c == ']')) {
        if (depth == 0) break;
        --depth;
      } else if (!quoted && depth == 0 && (c == ',' || c == ':')) {
        break;
      }
      if (!quoted && depth == 0 && (c == '}' || c == ']' || c == '"')) {
        ++at_;
        break;
      }
    }
    at_ = std::min(at_, text_.size());
    return text_.substr(begin, at_ - begin);
  }

  bool call() {
    skip_white();
    if (calls_.size() == kCallsMax || !text_.substr(at_).starts_with('{')) return false;
    const std::string_view whole = value();
    const auto parsed = json::parse(whole, "a call", {.depth_max = 128});
    if (!parsed || !json::check_unique_names(whole, "a call")) return false;
    const json::Object& object = parsed->get_object();
    const auto* name = object.if_contains("name");
    if (name == nullptr || !name->is_string()) return false;
    ToolCall call{.name = std::string(name->get_string()), .arguments = {}};
    if (std::ranges::find(names_, call.name) == names_.end()) return false;
    for (const CallSyntax& each : kSyntaxes) {
      const auto* arguments = object.if_contains(each.arguments);
      if (arguments == nullptr || !arguments->is_object()) continue;
      call.arguments = Reader(whole.substr(1), names_).member(each.arguments);
      calls_.push_back(std::move(call));
      return true;
    }
    return false;
  }

  // The value of the member of that name, as it is spelled. Requires: the inside of an object that has it.
  std::string member(std::string_view name) {
    for (;;) {
      skip_white();
      const auto key = json::parse(value(), "a name");
      skip_white();
      take(":");
      skip_white();
      const std::string_view found = value();
      if (key && key->is_string() && std::string_view(key->get_string()) == name) return std::string(found);
      skip_white();
      if (!take(",")) return "{}";
    }
  }

  std::string_view text_;
  std::span<const std::string> names_;
  std::size_t at_ = 0;
  std::vector<ToolCall> calls_;
};

// Where the first mark stands; npos: there is none.
std::size_t find_open(std::string_view text) {
  std::size_t first = std::string_view::npos;
  for (const CallSyntax& each : kSyntaxes) {
    if (!each.open.empty()) first = std::min(first, text.find(each.open));
  }
  return first;
}

bool begins_bare(std::string_view text) {
  const std::size_t at = text.find_first_not_of(kWhite);
  return at == std::string_view::npos || text[at] == '{' || text[at] == '[';
}

}  // namespace

std::span<const CallSyntax> call_syntaxes() { return kSyntaxes; }

const CallSyntax* call_syntax_of(std::string_view chat_template) {
  if (!chat_template.contains("tools")) return nullptr;
  for (const CallSyntax& each : kSyntaxes) {
    const bool other = !each.not_in_template.empty() && chat_template.contains(each.not_in_template);
    if (chat_template.contains(each.in_template) && !other) return &each;
  }
  return nullptr;
}

std::optional<CalledText> read_calls(std::string_view text, std::span<const std::string> names) {
  for (const std::size_t begin : {std::size_t{0}, find_open(text)}) {
    if (begin >= text.size()) continue;
    auto calls = Reader(text.substr(begin), names).calls();
    if (!calls) continue;
    const std::string_view before = text.substr(0, begin);
    return CalledText{std::string(before.substr(0, before.find_last_not_of(kWhite) + 1)), *std::move(calls)};
  }
  return std::nullopt;
}

std::string write_calls(const CallSyntax& syntax, std::span<const ToolCall> calls) {
  std::string text;
  for (const ToolCall& call : calls) {
    text += text.empty() ? fmt::format("{}{}", syntax.open, syntax.first) : std::string(syntax.between);
    text += fmt::format(R"({{"name": {}, "{}": {}}})", json::write(json::Value(call.name)), syntax.arguments,
                        call.arguments);
  }
  return fmt::format("{}{}{}", text, syntax.last, syntax.close);
}

std::size_t calls_may_begin(std::string_view text, bool begins) {
  if (begins && begins_bare(text)) return 0;
  std::size_t from = std::min(find_open(text), text.size());
  for (const CallSyntax& each : kSyntaxes) {  // what the end has of a mark
    for (std::size_t size = std::min(each.open.size(), text.size()); size > 0; --size) {
      if (text.ends_with(each.open.substr(0, size))) from = std::min(from, text.size() - size);
    }
  }
  return from;
}

}  // namespace sedge::platform
