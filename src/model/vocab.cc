// What a vocabulary must satisfy, whichever file it came from.
#include "model/vocab.h"

#include <cmath>
#include <utility>

namespace sedge::model {

namespace {

Status check_token(const Vocab& vocab, std::size_t id) {
  const std::string& token = vocab.tokens[id];
  if (token.size() > kTokenBytesMax) {
    return fail(Code::kResourceExhausted, "token {} has {} bytes, at most {} are read", id, token.size(),
                kTokenBytesMax);
  }
  const auto type = static_cast<std::int32_t>(vocab.type(id));
  if (type < 1 || type > 6) return fail(Code::kInvalidArgument, "token {} has the unknown type {}", id, type);
  const bool special = vocab.type(id) != TokenType::kNormal && vocab.type(id) != TokenType::kUnused;
  if ((special || vocab.model == "bert") && token.size() > kSpecialTokenBytesMax) {
    return fail(Code::kResourceExhausted, "{} token {} has {} bytes, at most {} are read",
                special ? "special" : "WordPiece", id, token.size(), kSpecialTokenBytesMax);
  }
  if (!vocab.scores.empty() && std::isnan(vocab.scores[id])) {
    return fail(Code::kInvalidArgument, "token {} has a score that is not a number", id);
  }
  return {};
}

Status check_ids(const Vocab& vocab) {
  const auto count = static_cast<std::int64_t>(vocab.tokens.size());
  const auto in_range = [&](std::int32_t id) { return id >= 0 && id < count; };
  using Named = std::pair<const char*, std::optional<std::int32_t>>;
  for (const auto& [name, id] :
       {Named("bos", vocab.bos), {"eos", vocab.eos}, {"unk", vocab.unk}, {"eot", vocab.eot}, {"sep", vocab.sep}}) {
    if (id && !in_range(*id)) {
      return fail(Code::kInvalidArgument, "{} is token {} of a vocabulary of {}", name, *id, count);
    }
  }
  for (const auto* ids : {&vocab.strip_left, &vocab.strip_right}) {
    for (const std::int32_t id : *ids) {
      if (!in_range(id)) return fail(Code::kInvalidArgument, "strip list: token {} of a vocabulary of {}", id, count);
    }
  }
  return {};
}

}  // namespace

Status check_vocab(const Vocab& vocab) {
  const std::size_t count = vocab.tokens.size();
  if (vocab.model != "llama" && vocab.model != "gpt2" && vocab.model != "bert") {
    return fail(Code::kUnimplemented,
                "tokenizer model '{}': llama (SentencePiece BPE), gpt2 (byte-level BPE) and bert (WordPiece) are read",
                vocab.model);
  }
  if (count == 0) return fail(Code::kInvalidArgument, "the vocabulary has no tokens");
  if (count > kVocabTokensMax) {
    return fail(Code::kResourceExhausted, "{} tokens, at most {} are read", count, kVocabTokensMax);
  }
  if (!vocab.scores.empty() && vocab.scores.size() != count) {
    return fail(Code::kInvalidArgument, "{} scores for {} tokens", vocab.scores.size(), count);
  }
  if (!vocab.types.empty() && vocab.types.size() != count) {
    return fail(Code::kInvalidArgument, "{} token types for {} tokens", vocab.types.size(), count);
  }
  for (std::size_t id = 0; id < count; ++id) SEDGE_CHECK(check_token(vocab, id));
  return check_ids(vocab);
}

}  // namespace sedge::model
