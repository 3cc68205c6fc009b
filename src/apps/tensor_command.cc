// sedge tensor put, get, info: model parameters at a path, through the running node. Chunks go over the socket one by
// one, and only those that the node lacks.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>

#include "apps/command.h"
#include "apps/control_client.h"
#include "mesh/manifest.h"
#include "model/mapped_file.h"

namespace sedge::apps {
namespace {

constexpr auto kPollPause = std::chrono::milliseconds(200);
constexpr auto kDiskPause = std::chrono::milliseconds(20);
constexpr auto kDiskPatience = std::chrono::seconds(30);  // with one chunk

struct TensorOptions {
  std::string home = default_home();
  std::string path;
  std::string file;
  double wait_s = 0;
  bool newest = false;
  bool json = false;
};

// Of a line that may lack it.
std::string text_at(const json::Object& line, std::string_view key) { return json::get_string(line, key).value_or(""); }
const json::Object& version_at(const json::Object& line, std::string_view key) {
  static const json::Object kNone;
  const json::Value* value = line.if_contains(key);
  return value != nullptr && value->is_object() ? value->get_object() : kNone;
}

void progress(const char* what, std::uint64_t done, std::uint64_t of) {
  if (on_terminal()) fmt::print(stderr, "\r{} {} of {} chunks{}", what, done, of, done == of ? "\n" : "");
}

// Again while the node's disk is behind.
Status give(const TensorOptions& options, std::uint64_t upload, std::size_t chunk, Bytes bytes) {
  const json::Object request{
      {"op", "tensor_give"}, {"upload", upload}, {"chunk", chunk}, {"bytes", to_base64url(bytes)}};
  const auto until = std::chrono::steady_clock::now() + kDiskPatience;
  for (;;) {
    const auto given = ask_once(options.home, request);
    if (given) return {};
    const bool full = given.error().code == Code::kResourceExhausted;
    if (!full || std::chrono::steady_clock::now() >= until) return std::unexpected(given.error());
    std::this_thread::sleep_for(kDiskPause);
  }
}

Status put(const TensorOptions& options) {
  SEDGE_TRY(const auto file, model::MappedFile::open(options.file));
  SEDGE_TRY(const mesh::Manifest manifest, mesh::make_manifest(file->bytes()));
  SEDGE_TRY(
      const json::Object begun,
      ask_once(options.home, {{"op", "tensor_begin"}, {"manifest", to_base64url(mesh::encode_manifest(manifest))}}));
  SEDGE_TRY(const std::uint64_t upload, json::get_uint(begun, "upload"));
  const auto* const lacking = begun.contains("lacking") ? begun.at("lacking").if_array() : nullptr;
  if (lacking == nullptr) return fail(Code::kInternal, "the node's answer names no chunks");
  std::uint64_t given = 0;
  std::uint64_t bytes = 0;
  for (const json::Value& number : *lacking) {
    const std::int64_t* const asked = number.if_int64();
    const auto chunk = asked == nullptr ? ~std::size_t{0} : static_cast<std::size_t>(*asked);
    if (chunk >= manifest.chunks.size()) return fail(Code::kInternal, "the node asks for a chunk that is not there");
    const Bytes part = mesh::chunk_of(file->bytes(), manifest, chunk);
    SEDGE_CHECK(give(options, upload, chunk, part));
    bytes += part.size();
    progress("given", ++given, lacking->size());
  }
  SEDGE_TRY(const json::Object done,
            ask_once(options.home, {{"op", "tensor_put"}, {"path", options.path}, {"upload", upload}}));
  if (options.json) {
    fmt::print("{}\n", json::write(json::Object{{"path", options.path},
                                                {"bytes", manifest.bytes},
                                                {"chunks", manifest.chunks.size()},
                                                {"bytes_new", bytes},
                                                {"durable", true}}));
  } else {
    fmt::print("{} = {} bytes in {} chunks, {} of them new\n", options.path, manifest.bytes, manifest.chunks.size(),
               given);
  }
  return {};
}

// What there is; waits for what is on its way, where that is asked for.
Result<json::Object> find(const TensorOptions& options) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.wait_s);
  for (;;) {
    const auto info = ask_once(options.home, {{"op", "tensor_info"}, {"path", options.path}});
    const bool there = info && info->contains("complete") && !(options.newest && info->contains("pending"));
    if (there || (!info && info.error().code != Code::kNotFound)) return info;
    const bool pending = info && info->contains("pending");
    if (pending) {
      const json::Object& version = version_at(*info, "pending");
      SEDGE_TRY(const std::uint64_t here, json::get_uint(version, "here"));
      SEDGE_TRY(const std::uint64_t chunks, json::get_uint(version, "chunks"));
      progress("fetched", here, chunks);
      if (std::chrono::steady_clock::now() >= until) {
        return fail(Code::kUnavailable, "'{}' is on its way: {} of {} chunks are here{}; --wait waits for it",
                    options.path, here, chunks,
                    info->contains("refused") ? " (" + text_at(*info, "refused") + ")" : "");
      }
    } else if (std::chrono::steady_clock::now() >= until) {
      return info;
    }
    std::this_thread::sleep_for(kPollPause);
  }
}

// Into a file beside the one that is asked for, so that nobody ever reads half a model.
Status read_to(const TensorOptions& options, const std::string& hash, std::uint64_t chunks) {
  const std::string part = options.file + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    SEDGE_TRY(
        const json::Object answer,
        ask_once(options.home, {{"op", "tensor_read"}, {"path", options.path}, {"hash", hash}, {"chunk", chunk}}));
    SEDGE_TRY(const std::string text, json::get_string(answer, "bytes"));
    SEDGE_TRY(const Buffer bytes, from_base64url(text));
    out << as_text(bytes);
    progress("read", chunk + 1, chunks);
  }
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(part, options.file, error);
  if (!out || error) return fail(Code::kUnavailable, "cannot write {}", options.file);
  return {};
}

Status get(const TensorOptions& options) {
  SEDGE_TRY(const json::Object info, find(options));
  const json::Object& version = version_at(info, "complete");
  SEDGE_TRY(const std::string hash, json::get_string(version, "hash"));
  SEDGE_TRY(const std::uint64_t chunks, json::get_uint(version, "chunks"));
  SEDGE_TRY(const std::uint64_t bytes, json::get_uint(version, "bytes"));
  SEDGE_CHECK(read_to(options, hash, chunks));
  if (options.json) {
    fmt::print("{}\n", json::write(info));
  } else {
    fmt::print("{}: {} bytes{}\n", options.file, bytes,
               info.contains("pending") ? "; a newer version is on its way (--newest waits for it)" : "");
  }
  return {};
}

Status info(const TensorOptions& options) {
  return ask(options.home, {{"op", "tensor_info"}, {"path", options.path}}, [&](const json::Object& line) {
    if (options.json) {
      fmt::print("{}\n", json::write(line));
      return true;
    }
    for (const char* key : {"complete", "pending"}) {
      if (!line.contains(key)) continue;
      const json::Object& version = version_at(line, key);
      const auto count = [&](const char* field) { return json::get_uint(version, field).value_or(0); };
      fmt::print("{} {}: {} bytes, {} of {} chunks here\n", text_at(line, "path"), key, count("bytes"), count("here"),
                 count("chunks"));
    }
    if (line.contains("refused")) fmt::print("  {}\n", text_at(line, "refused"));
    return true;
  });
}

CLI::App* subcommand(Commands& commands, CLI::App& tensor, TensorOptions& options, const char* name, const char* help,
                     const char* example) {
  CLI::App* app = commands.add(tensor, name, help, example);
  app->add_option("--home", options.home, "folder of the node")->capture_default_str();
  app->add_option("path", options.path, "where")->required();
  app->add_flag("--json", options.json, "one JSON object");
  return app;
}

}  // namespace

void add_tensor(Commands& commands) {
  CLI::App* tensor = commands.add(commands.root(), "tensor", "Model parameters as replicated values",
                                  "sedge tensor put models/scout scout.gguf");
  tensor->require_subcommand(1);
  auto options = std::make_shared<TensorOptions>();
  CLI::App* app = subcommand(commands, *tensor, *options, "put", "Write a file's bytes; returns when they are durable",
                             "sedge tensor put models/scout scout.gguf");
  app->add_option("file", options->file, "what")->required()->check(CLI::ExistingFile);
  commands.on(app, [options] { return put(*options); });

  options = std::make_shared<TensorOptions>();
  app = subcommand(commands, *tensor, *options, "get", "Read the newest version that is whole here into a file",
                   "sedge tensor get models/scout -o scout.gguf --wait 60");
  app->add_option("-o,--output", options->file, "the file")->required();
  app->add_option("--wait", options->wait_s, "seconds to wait for a version that is whole")->capture_default_str();
  app->add_flag("--newest", options->newest, "not an older version while a newer one is on its way");
  commands.on(app, [options] { return get(*options); });

  options = std::make_shared<TensorOptions>();
  app = subcommand(commands, *tensor, *options, "info", "What is whole here, and what is on its way",
                   "sedge tensor info 'models/#'");
  commands.on(app, [options] { return info(*options); });
}

}  // namespace sedge::apps
