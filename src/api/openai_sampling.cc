#include "api/openai_sampling.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace sedge::api {
namespace {

constexpr std::size_t kGrammarBytesMax = 128u << 10;  // the engine's limits, here and below
constexpr std::size_t kBiasesMax = 1024;
constexpr double kBiasLargest = 100;
constexpr std::uint32_t kTopChat = 20, kTopCompletion = 5;  // OpenAI's

// JSON has no place for bytes that are no UTF-8; a token may be a part of a character.
std::string shown(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[at]);
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
    const auto rest = bytes.substr(at, size).substr(std::min<std::size_t>(1, size));
    bool whole =
        size > 0 && rest.size() + 1 == size && std::ranges::all_of(rest, [](char c) { return (c & 0xC0) == 0x80; });
    if (whole && size > 2) {  // overlong forms, surrogates, beyond the last character
      const auto next = static_cast<unsigned char>(rest[0]);
      whole = !(lead == 0xE0 && next < 0xA0) && !(lead == 0xED && next > 0x9F) && !(lead == 0xF0 && next < 0x90) &&
              !(lead == 0xF4 && next > 0x8F);
    }
    text += whole ? bytes.substr(at, size) : std::string_view("\xEF\xBF\xBD");
    at += whole ? size : 1;
  }
  return text;
}

json::Object entry_of(const env::TokenLogprob& each) {
  json::Array bytes;
  for (const char c : each.bytes) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", shown(each.bytes)}, {"logprob", each.logprob}, {"bytes", std::move(bytes)}};
}

json::Value chat_logprobs(std::span<const env::Token> tokens) {
  json::Array content;
  for (const env::Token& token : tokens) {
    if (token.logprobs.empty()) continue;  // what an end flushed
    json::Object entry = entry_of(token.logprobs[0]);
    json::Array top;
    for (const env::TokenLogprob& each : std::span(token.logprobs).subspan(1)) top.push_back(entry_of(each));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return json::Object{{"content", std::move(content)}, {"refusal", nullptr}};
}

json::Value completion_logprobs(std::span<const env::Token> tokens) {
  json::Array texts, own, tops, offsets;
  std::size_t offset = 0;  // in what these tokens show
  for (const env::Token& token : tokens) {
    if (token.logprobs.empty()) continue;
    texts.push_back(json::Value(shown(token.logprobs[0].bytes)));
    own.push_back(token.logprobs[0].logprob);
    json::Object top;
    for (const env::TokenLogprob& each : std::span(token.logprobs).subspan(1)) top[shown(each.bytes)] = each.logprob;
    tops.push_back(std::move(top));
    offsets.push_back(offset);
    offset += token.bytes.size();
  }
  return json::Object{{"tokens", std::move(texts)},
                      {"token_logprobs", std::move(own)},
                      {"top_logprobs", std::move(tops)},
                      {"text_offset", std::move(offsets)}};
}

Refusal read_schema(const json::Object& format, env::Grammar& grammar) {
  const json::Value* described = find(format, "json_schema");
  const auto* object = described != nullptr ? described->if_object() : nullptr;
  const json::Value* schema = object != nullptr ? find(*object, "schema") : nullptr;
  if (schema == nullptr) {
    return invalid("'response_format.json_schema.schema' is required.", "response_format.json_schema.schema");
  }
  grammar = {env::GrammarKind::kJsonSchema, json::write(*schema)};
  return {};
}

}  // namespace

Refusal read_response_format(const json::Object& body, env::Grammar& grammar) {
  if (const json::Value* format = find(body, "response_format")) {
    const auto* object = format->if_object();
    const json::Value* type = object != nullptr ? find(*object, "type") : nullptr;
    const std::string_view name = type != nullptr && type->is_string() ? text_of(*type) : "";
    if (name == "json_object") {
      grammar = {env::GrammarKind::kJsonObject, ""};
    } else if (name == "json_schema") {
      if (auto refusal = read_schema(*object, grammar)) return refusal;
    } else if (name != "text") {
      return invalid("'response_format.type' must be text, json_object or json_schema.", "response_format");
    }
  }
  if (const json::Value* text = find(body, "grammar")) {
    if (!text->is_string()) return invalid("'grammar' must be a string.", "grammar");
    if (grammar.kind != env::GrammarKind::kNone) {
      return invalid("'grammar' and 'response_format' cannot both say what the answer must be.", "grammar");
    }
    grammar = {env::GrammarKind::kGbnf, std::string(text_of(*text))};
  }
  if (grammar.text.size() <= kGrammarBytesMax) return {};
  return invalid(
      fmt::format("the grammar or schema has {} bytes, at most {} are taken.", grammar.text.size(), kGrammarBytesMax),
      grammar.kind == env::GrammarKind::kGbnf ? "grammar" : "response_format");
}

Refusal read_logit_bias(const json::Object& body, std::vector<env::LogitBias>& biases) {
  const json::Value* value = find(body, "logit_bias");
  if (value == nullptr) return {};
  const auto* object = value->if_object();
  bool right = object != nullptr && object->size() <= kBiasesMax;
  for (const auto& member : right ? *object : json::Object()) {
    const std::string_view name = member.key();
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    const double bias = member.value().is_number() ? member.value().to_number<double>() : std::nan("");
    right =
        right && error == std::errc() && end == name.data() + name.size() && id >= 0 && std::abs(bias) <= kBiasLargest;
    biases.push_back({id, bias});
  }
  if (right) return {};
  return invalid(fmt::format("'logit_bias' must map at most {} token ids to numbers from -{} to {}.", kBiasesMax,
                             kBiasLargest, kBiasLargest),
                 "logit_bias");
}

Refusal read_logprobs(Kind kind, const json::Object& body, std::uint32_t& logprobs) {
  const json::Value* asked = find(body, "logprobs");
  const json::Value* top = find(body, "top_logprobs");
  const auto count_of = [](const json::Value& value, std::uint32_t most) -> std::optional<std::uint32_t> {
    const double count = value.is_number() ? value.to_number<double>() : -1;
    if (count < 0 || count > most || count != std::floor(count)) return std::nullopt;
    return static_cast<std::uint32_t>(count);
  };
  if (kind == Kind::kCompletion) {
    if (asked == nullptr || (asked->is_bool() && !asked->get_bool())) return {};
    const auto count = count_of(*asked, kTopCompletion);
    if (!count)
      return invalid(fmt::format("'logprobs' must be a whole number from 0 to {}.", kTopCompletion), "logprobs");
    logprobs = *count + 1;
    return {};
  }
  if (asked != nullptr && !asked->is_bool()) return invalid("'logprobs' must be true or false.", "logprobs");
  const auto count = top != nullptr ? count_of(*top, kTopChat) : std::optional<std::uint32_t>(0);
  if (!count)
    return invalid(fmt::format("'top_logprobs' must be a whole number from 0 to {}.", kTopChat), "top_logprobs");
  const bool wanted = asked != nullptr && asked->get_bool();
  if (*count > 0 && !wanted) return invalid("'top_logprobs' needs 'logprobs': true.", "top_logprobs");
  if (wanted) logprobs = *count + 1;
  return {};
}

json::Value logprobs_of(Kind kind, std::span<const env::Token> tokens) {
  if (tokens.empty()) return nullptr;
  return kind == Kind::kChat ? chat_logprobs(tokens) : completion_logprobs(tokens);
}

}  // namespace sedge::api
