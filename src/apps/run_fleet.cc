#include "apps/run_fleet.h"

#include <cstdio>

#include "apps/control_client.h"

namespace sedge::apps {
namespace {

Status print_json(const json::Object& result) {
  // The same fields as a local run; what only a fleet knows comes on top.
  json::Object report = result;
  report["load_ms"] = 0.0;  // the node had it loaded
  report["threads"] = nullptr;
  fmt::print("{}\n", json::write(report));
  return {};
}

}  // namespace

std::string offered_name(const std::filesystem::path& model) {
  return (model.extension() == ".gguf" ? model.stem() : model.filename()).string();
}

Status judge(const json::Object& result) {
  SEDGE_TRY(const std::string outcome, json::get_string(result, "outcome"));
  if (outcome == "answered") return {};
  std::string reason = result.contains("reason") ? std::string(result.at("reason").as_string()) : "";
  if (outcome == "fallback") {
    fmt::print(stderr, "sedge: this is the fallback: {}\n", reason);
    return {};
  }
  if (result.contains("retry_after_ms")) {
    reason += fmt::format("; retry in {:.0f} ms", result.at("retry_after_ms").to_number<double>());
  }
  return fail(outcome == "refused" ? Code::kResourceExhausted : Code::kDeadlineExceeded, "{}: {}", outcome, reason);
}

Status run_fleet(const RunOptions& options) {
  json::Object request{{"op", "run"},
                       {"model", offered_name(options.model)},
                       {"prompt", options.prompt},
                       {"chat", options.chat},
                       {"max_tokens", options.tokens_max},
                       {"temperature", options.sampling.temperature},
                       {"top_k", options.sampling.top_k},
                       {"top_p", options.sampling.top_p},
                       {"min_p", options.sampling.min_p},
                       {"repeat_penalty", options.sampling.repeat_penalty},
                       {"seed", options.sampling.seed}};
  if (!options.stops.empty()) request["stops"] = json::Array(options.stops.begin(), options.stops.end());
  if (options.sampling.frequency_penalty != 0) request["frequency_penalty"] = options.sampling.frequency_penalty;
  if (options.sampling.presence_penalty != 0) request["presence_penalty"] = options.sampling.presence_penalty;
  if (options.grammar.kind == env::GrammarKind::kGbnf) request["grammar"] = options.grammar.text;
  if (options.grammar.kind == env::GrammarKind::kJsonSchema) request["json_schema"] = options.grammar.text;
  if (!options.publish.empty()) request["publish"] = json::Array(options.publish.begin(), options.publish.end());
  if (options.deadline_ms > 0) request["deadline_ms"] = options.deadline_ms;
  if (options.fallback) request["fallback"] = *options.fallback;
  json::Object result;
  bool newline = true;
  SEDGE_CHECK(ask(options.home, request, [&](const json::Object& line) {
    if (const auto* done = line.if_contains("result"); done != nullptr && done->is_object())
      result = done->get_object();
    const auto* text = line.if_contains("text");
    if (options.json || text == nullptr || !text->is_string()) return true;
    const std::string_view piece(text->get_string());
    fmt::print("{}", piece);
    std::fflush(stdout);
    if (!piece.empty()) newline = piece.ends_with('\n');
    return true;
  }));
  if (!newline) fmt::print("\n");
  if (options.json) SEDGE_CHECK(print_json(result));
  if (!options.json && result.contains("outcome") && result.at("outcome") == "fallback") {
    SEDGE_TRY(const std::string text, json::get_string(result, "text"));
    fmt::print("{}\n", text);
  }
  return judge(result);
}

}  // namespace sedge::apps
