// The language of OpenAI's embeddings, as values: a JSON request in, a task out; a task's result in, JSON out.
// One request is one task, whatever the number of its texts: it is placed, queued, resumed elsewhere and cancelled like
// any other. Grammar: docs/formats/http.md §5. Source: platform.openai.com/docs/api-reference/embeddings.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "api/openai.h"
#include "node/task_owner.h"

namespace sedge::api {

inline constexpr std::size_t kEmbeddingTextsMax = 256;         // of one request
inline constexpr std::size_t kEmbeddingBytesMax = 512u << 10;  // together: half of the largest frame between nodes

struct EmbeddingRequest {
  node::TaskRequest task;
  bool base64 = false;         // vectors as bytes of little-endian binary32 in base64, else as lists of numbers
  std::size_t dimensions = 0;  // the first so many, scaled to length 1 again; 0: all
};

// Any bytes give a request or an error with status 400.
ApiResult<EmbeddingRequest> parse_embedding(std::string_view body, const RequestContext& context);

// Of the bytes of one token of such a task.
std::vector<float> vector_of(std::string_view bytes);

// `text`: of the result of such a task, vectors of equal length one behind the other.
// Errors: 400 for more dimensions than they have; 500 where this is no such text.
ApiResult<std::string> embedding_body(const EmbeddingRequest& request, const node::TaskResult& result);

}  // namespace sedge::api
