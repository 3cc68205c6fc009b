#include "api/tensor_ops.h"

#include <algorithm>
#include <string>
#include <utility>

#include "mesh/tensors.h"
#include "mesh/topic.h"
#include "node/node.h"
#include "platform/system.h"

namespace sedge::api {
namespace {

Result<Buffer> base64_field(const json::Object& request, std::string_view key) {
  SEDGE_TRY(const std::string text, json::get_string(request, key));
  auto bytes = from_base64url(text);
  if (!bytes) return fail(Code::kInvalidArgument, "field '{}' is not base64url", key);
  return bytes;
}

Result<mesh::UploadId> upload_field(const json::Object& request) {
  SEDGE_TRY(const std::uint64_t number, json::get_uint(request, "upload"));
  return mesh::UploadId{number};
}

json::Object version_object(const mesh::Tensors& tensors, const mesh::TensorVersion& version) {
  const std::size_t chunks = version.manifest.chunks.size();
  return {{"hash", to_hex(version.hash)},
          {"writer", version.writer.hex()},
          {"bytes", version.manifest.bytes},
          {"chunk_bytes", version.manifest.chunk_bytes},
          {"chunks", chunks},
          {"here", chunks - tensors.missing(version)}};
}

json::Object tensor_object(const mesh::Tensors& tensors, const std::string& path, const mesh::Tensor& tensor) {
  json::Object object{{"path", path}};
  if (tensor.complete) object["complete"] = version_object(tensors, *tensor.complete);
  if (tensor.pending) object["pending"] = version_object(tensors, *tensor.pending);
  if (tensor.refused) object["refused"] = tensor.refused->message;
  return object;
}

}  // namespace

Status tensor_begin(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const Buffer manifest, base64_field(request, "manifest"));
  mesh::Tensors& tensors = runtime.node().tensors();
  SEDGE_TRY(const mesh::UploadId upload, tensors.begin(manifest, runtime.node().id(), platform::now()));
  SEDGE_TRY(const auto lacking, tensors.lacking(upload));
  session->answer({{"upload", upload.value}, {"lacking", json::Array(lacking.begin(), lacking.end())}});
  session->end();
  return {};
}

Status tensor_give(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const mesh::UploadId upload, upload_field(request));
  SEDGE_TRY(const std::uint64_t number, json::get_uint(request, "chunk"));
  SEDGE_TRY(const Buffer bytes, base64_field(request, "bytes"));
  if (number >= mesh::kChunksMax) return fail(Code::kInvalidArgument, "no tensor has a chunk {}", number);
  SEDGE_CHECK(runtime.node().tensors().give(upload, static_cast<std::uint32_t>(number), bytes, platform::now()));
  session->answer({{"given", number}});
  session->end();
  return {};
}

Status tensor_put(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string path, json::get_string(request, "path"));
  SEDGE_TRY(const mesh::UploadId upload, upload_field(request));
  return runtime.node().put_tensor(
      path, upload,
      [session](const Status& status) {
        if (!status) return session->fail(status.error());
        session->answer({{"durable", true}});
        session->end();
      },
      platform::now());
}

Status tensor_info(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string path, json::get_string(request, "path"));
  const mesh::Tensors& tensors = runtime.node().tensors();
  const bool filter = path.find_first_of("+#") != std::string::npos;
  if (filter) SEDGE_CHECK(mesh::check_filter(path));
  const mesh::Tensor* const one = filter ? nullptr : tensors.find(path);
  if (!filter && one == nullptr) return fail(Code::kNotFound, "no tensor is at '{}'", path);
  if (one != nullptr) session->answer(tensor_object(tensors, path, *one));
  for (const auto& [each, tensor] : tensors.all()) {
    if (filter && mesh::matches(path, each)) session->answer(tensor_object(tensors, each, tensor));
  }
  session->end();
  return {};
}

Status tensor_read(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string path, json::get_string(request, "path"));
  SEDGE_TRY(const std::string text, json::get_string(request, "hash"));
  SEDGE_TRY(const std::uint64_t number, json::get_uint(request, "chunk"));
  const auto bytes = from_hex(text);
  trust::Digest hash{};
  if (!bytes || bytes->size() != hash.size()) return fail(Code::kInvalidArgument, "field 'hash' is 64 hex digits");
  std::ranges::copy(*bytes, hash.begin());
  SEDGE_TRY(const Bytes chunk, runtime.node().tensors().chunk(path, hash, number));
  session->answer({{"bytes", to_base64url(chunk)}});
  session->end();
  return {};
}

}  // namespace sedge::api
