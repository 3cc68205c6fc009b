#include "api/embeddings.h"

#include <cstring>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/bytes.h"
#include "base/json.h"

namespace sedge::api {
namespace {

using namespace std::chrono_literals;

ApiError refusal(std::string_view body) {
  const auto request = parse_embedding(body, {});
  EXPECT_FALSE(request) << body;
  return request ? ApiError{.status = 0} : request.error();
}

EmbeddingRequest parsed(std::string_view body, RequestContext context = {}) {
  auto request = parse_embedding(body, context);
  EXPECT_TRUE(request) << (request ? "" : request.error().message);
  return request ? *request : EmbeddingRequest{};
}

node::TaskResult result_of(const std::vector<float>& numbers) {
  node::TaskResult result;
  result.outcome = node::Outcome::kAnswered;
  result.text.assign(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
  result.prompt_tokens = 9;
  return result;
}

json::Value body_of(const EmbeddingRequest& request, const std::vector<float>& numbers) {
  const auto body = embedding_body(request, result_of(numbers));
  EXPECT_TRUE(body) << (body ? "" : body.error().message);
  return json::parse(body.value_or("null"), "body").value();
}

TEST(Embeddings, a_request_becomes_one_task_for_all_its_texts) {
  const auto one = parsed(R"({"model": "bge", "input": "where is the dock?", "user": "u"})");
  EXPECT_EQ(one.task.spec.model, "bge");
  EXPECT_EQ(one.task.spec.texts, std::vector<std::string>{"where is the dock?"});
  EXPECT_EQ(one.task.spec.tokens_max, 1u);
  EXPECT_FALSE(one.base64);
  EXPECT_FALSE(one.task.deadline);
  const auto two = parsed(R"({"model": "bge", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 64})",
                          {.deadline_header = "250", .trace = {}});
  EXPECT_EQ(two.task.spec.texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(two.task.spec.tokens_max, 2u);
  EXPECT_TRUE(two.base64);
  EXPECT_EQ(two.dimensions, 64u);
  EXPECT_EQ(two.task.deadline, 250ms);
  EXPECT_EQ(parsed(R"({"model": "bge", "input": "a", "deadline_ms": 30})", {.deadline_header = "250", .trace = {}})
                .task.deadline,
            30ms);
}

TEST(Embeddings, what_is_wrong_with_a_request_names_the_member) {
  const auto param = [](std::string_view body) { return refusal(body).param; };
  EXPECT_EQ(param(R"({"input": "a"})"), "model");
  EXPECT_EQ(param(R"({"model": "bge"})"), "input");
  EXPECT_EQ(param(R"({"model": "bge", "input": ""})"), "input");
  EXPECT_EQ(param(R"({"model": "bge", "input": []})"), "input");
  EXPECT_EQ(param(R"({"model": "bge", "input": ["a", ""]})"), "input");
  EXPECT_EQ(param(R"({"model": "bge", "input": {"text": "a"}})"), "input");
  EXPECT_EQ(refusal(R"({"model": "bge", "input": [1, 2]})").code, "unsupported_parameter");
  EXPECT_EQ(refusal(R"({"model": "bge", "input": [[1, 2]]})").code, "unsupported_parameter");
  EXPECT_EQ(param(R"({"model": "bge", "input": "a", "encoding_format": "hex"})"), "encoding_format");
  EXPECT_EQ(param(R"({"model": "bge", "input": "a", "dimensions": 0})"), "dimensions");
  EXPECT_EQ(param(R"({"model": "bge", "input": "a", "dimensions": "8"})"), "dimensions");
  EXPECT_EQ(param(R"({"model": "bge", "input": "a", "deadline_ms": -1})"), "deadline_ms");
  json::Array many(257, json::Value("a"));
  EXPECT_EQ(param(json::write(json::Object{{"model", "bge"}, {"input", many}})), "input");
  EXPECT_EQ(param(json::write(json::Object{{"model", "bge"}, {"input", std::string((512u << 10) + 1, 'a')}})), "input");
  EXPECT_EQ(refusal("[]").status, 400u);
}

TEST(Embeddings, vectors_are_numbers_or_bytes_in_base64) {
  auto request = parsed(R"({"model": "bge", "input": ["a", "b"]})");
  const std::vector<float> numbers = {0.6f, 0.0f, -0.8f, 0.0f, 1.0f, 0.0f};
  const json::Value body = body_of(request, numbers);
  EXPECT_EQ(body.at("object"), "list");
  EXPECT_EQ(body.at("model"), "bge");
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens"), 9);
  EXPECT_EQ(body.at_pointer("/usage/total_tokens"), 9);
  EXPECT_EQ(body.at_pointer("/data/0/object"), "embedding");
  EXPECT_EQ(body.at_pointer("/data/1/index"), 1);
  EXPECT_EQ(body.at_pointer("/data/0/embedding").get_array().size(), 3u);
  EXPECT_EQ(body.at_pointer("/data/0/embedding/2").to_number<float>(), -0.8f);
  EXPECT_EQ(body.at_pointer("/data/1/embedding/1").to_number<float>(), 1.0f);
  request.base64 = true;
  const json::Value coded = body_of(request, numbers);
  EXPECT_EQ(coded.at_pointer("/data/1/embedding"), "AAAAAAAAgD8AAAAA");
  request.task.spec.texts.pop_back();
  EXPECT_EQ(body_of(request, {1.0f}).at_pointer("/data/0/embedding"), "AACAPw==");
}

TEST(Embeddings, fewer_dimensions_are_the_first_at_length_one_and_more_are_refused) {
  auto request = parsed(R"({"model": "bge", "input": "a", "dimensions": 2})");
  const json::Value body = body_of(request, {0.3f, 0.4f, 0.86f});
  EXPECT_EQ(body.at_pointer("/data/0/embedding").get_array().size(), 2u);
  EXPECT_NEAR(body.at_pointer("/data/0/embedding/0").to_number<double>(), 0.6, 1e-6);
  EXPECT_NEAR(body.at_pointer("/data/0/embedding/1").to_number<double>(), 0.8, 1e-6);
  request.dimensions = 4;
  const auto refused = embedding_body(request, result_of({1, 0, 0}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400u);
  EXPECT_EQ(refused.error().param, "dimensions");
}

TEST(Embeddings, an_answer_that_is_no_vectors_is_an_error_of_the_server) {
  const auto request = parsed(R"({"model": "bge", "input": ["a", "b"]})");
  node::TaskResult result = result_of({1, 0, 0});  // of two texts
  EXPECT_EQ(embedding_body(request, result).error().status, 500u);
  result.text.clear();
  EXPECT_EQ(embedding_body(request, result).error().status, 500u);
}

TEST(Embeddings, any_bytes_are_a_request_or_a_refusal) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    const auto request = parse_embedding(bytes, {});
    RC_ASSERT(request || request.error().status == 400u);
  }));
}

}  // namespace
}  // namespace sedge::api
