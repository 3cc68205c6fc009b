// The members of a request that say which tokens may come, and how likely they were: response_format, grammar,
// logit_bias, logprobs; and the logprobs in an answer.
// Grammar: docs/formats/http.md §2 and §3.
#pragma once

#include <span>

#include "api/openai_fields.h"

namespace sedge::api {

Refusal read_response_format(const json::Object& body, env::Grammar& grammar);
Refusal read_logit_bias(const json::Object& body, std::vector<env::LogitBias>& biases);
Refusal read_logprobs(Kind kind, const json::Object& body, std::uint32_t& logprobs);

// The `logprobs` of a choice; null where none were asked for. Tokens with the text that is shown of them.
json::Value logprobs_of(Kind kind, std::span<const env::Token> tokens);

}  // namespace sedge::api
