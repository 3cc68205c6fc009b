#include "api/embeddings.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "api/openai_fields.h"
#include "base/bytes.h"
#include "base/json.h"

namespace sedge::api {
namespace {

constexpr std::size_t kModelBytesMax = 256;
constexpr std::size_t kDimensionsMax = 1u << 14;

// A string, or a list of them.
Refusal read_input(const json::Object& body, std::vector<std::string>& texts) {
  const json::Value* value = find(body, "input");
  if (value == nullptr) return invalid("'input' is required.", "input");
  const json::Array one{*value};
  const json::Array* list = value->is_string() ? &one : value->if_array();
  if (list == nullptr || list->empty() || list->size() > kEmbeddingTextsMax) {
    return invalid(fmt::format("'input' must be a string or a list of 1 to {} strings.", kEmbeddingTextsMax), "input");
  }
  std::size_t bytes = 0;
  for (const json::Value& text : *list) {
    if (text.is_number() || text.is_array()) {
      return invalid("'input' must be text; token ids are not supported.", "input", "unsupported_parameter");
    }
    if (!text.is_string() || text_of(text).empty()) {
      return invalid(fmt::format("'input[{}]' must be a string that is not empty.", texts.size()), "input");
    }
    texts.emplace_back(text_of(text));
    bytes += texts.back().size();
  }
  if (bytes <= kEmbeddingBytesMax) return {};
  return invalid(fmt::format("'input' has {} bytes, at most {} are taken.", bytes, kEmbeddingBytesMax), "input");
}

Refusal read_format(const json::Object& body, EmbeddingRequest& request) {
  if (const json::Value* format = find(body, "encoding_format")) {
    const std::string_view name = format->is_string() ? text_of(*format) : "";
    if (name != "float" && name != "base64") {
      return invalid("'encoding_format' must be float or base64.", "encoding_format");
    }
    request.base64 = name == "base64";
  }
  const json::Value* dimensions = find(body, "dimensions");
  if (dimensions == nullptr) return {};
  const std::int64_t* number = dimensions->if_int64();
  if (number == nullptr || *number < 1 || *number > static_cast<std::int64_t>(kDimensionsMax)) {
    return invalid(fmt::format("'dimensions' must be a whole number from 1 to {}.", kDimensionsMax), "dimensions");
  }
  request.dimensions = static_cast<std::size_t>(*number);
  return {};
}

void shorten(std::vector<float>& vector, std::size_t dimensions) {
  vector.resize(dimensions);
  double square = 0;
  for (const float x : vector) square += static_cast<double>(x) * static_cast<double>(x);
  if (square == 0) return;
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) / std::sqrt(square));
}

json::Value written(const std::vector<float>& vector, bool base64) {
  if (!base64) return json::Array(vector.begin(), vector.end());
  std::string text =
      to_base64url(Bytes(reinterpret_cast<const std::uint8_t*>(vector.data()), vector.size() * sizeof(float)));
  for (char& letter : text) letter = letter == '-' ? '+' : letter == '_' ? '/' : letter;
  text.append((4 - text.size() % 4) % 4, '=');
  return json::Value(text);
}

}  // namespace

ApiResult<EmbeddingRequest> parse_embedding(std::string_view body, const RequestContext& context) {
  const auto parsed = parse_body(body);
  if (!parsed) return std::unexpected(parsed.error());
  const json::Object& object = parsed->get_object();
  EmbeddingRequest request;
  wire::TaskSpec& spec = request.task.spec;
  set_trace(context, spec);
  Refusal refusal = read_text(object, "model", kModelBytesMax, spec.model);
  if (!refusal) refusal = read_input(object, spec.texts);
  if (!refusal) refusal = read_format(object, request);
  if (!refusal) refusal = read_deadline(object, context, request.task);
  if (refusal) return std::unexpected(std::move(*refusal));
  spec.tokens_max = static_cast<std::uint32_t>(spec.texts.size());
  return request;
}

std::vector<float> vector_of(std::string_view bytes) {
  std::vector<float> vector(bytes.size() / sizeof(float));
  std::memcpy(vector.data(), bytes.data(), vector.size() * sizeof(float));
  return vector;
}

ApiResult<std::string> embedding_body(const EmbeddingRequest& request, const node::TaskResult& result) {
  const std::size_t count = request.task.spec.texts.size(), bytes = result.text.size() / count;
  const std::size_t dim = bytes / sizeof(float);
  if (dim == 0 || result.text.size() != count * dim * sizeof(float)) {
    return std::unexpected(
        ApiError{500, "server_error", "the serving node sent no vectors of one length", "", "failed", {}});
  }
  if (request.dimensions > dim) {
    return std::unexpected(
        invalid(fmt::format("'dimensions' is {}, the model has {}.", request.dimensions, dim), "dimensions"));
  }
  json::Array data;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<float> vector = vector_of(std::string_view(result.text).substr(i * bytes, bytes));
    if (request.dimensions != 0) shorten(vector, request.dimensions);
    data.push_back(json::Object{{"object", "embedding"}, {"index", i}, {"embedding", written(vector, request.base64)}});
  }
  return json::write(json::Object{
      {"object", "list"},
      {"data", std::move(data)},
      {"model", request.task.spec.model},
      {"usage", json::Object{{"prompt_tokens", result.prompt_tokens}, {"total_tokens", result.prompt_tokens}}},
      {"sedge", json::Object{{"served_by", result.served_by.hex()},
                             {"attempts", result.attempts},
                             {"deadline_met", result.deadline_met},
                             {"total_ms", to_ms(result.total)}}}});
}

}  // namespace sedge::api
