#include "engine/packed_weights.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "engine/random_model.h"
#include "kernels/formats/blocks.h"
#include "kernels/pack/pack.h"

namespace sedge::engine {
namespace {

TEST(PackedWeights, the_matrices_are_packed_and_the_embedding_stays_as_it_is_in_the_file) {
  const RandomModel random({.type = kernels::DType::kQ8_0});
  const Model& model = *random.model();
  const model::TensorView& in_file = *model.file().find_tensor("blk.1.ffn_down.weight");
  Buffer expected(in_file.data.size());  // 64 rows: whole groups, so not a byte more
  kernels::pack(in_file.type, in_file.data.data(), 64, 96, expected.data());
  EXPECT_EQ(to_buffer(model.weights().layers[1].down.data), expected);
  EXPECT_EQ(model.weights().token_embd.data.data(), model.file().find_tensor("token_embd.weight")->data.data());
  const model::TensorView& norm = *model.file().find_tensor("blk.1.ffn_norm.weight");
  EXPECT_EQ(to_buffer(model.weights().layers[1].ffn_norm.data), to_buffer(norm.data));
  EXPECT_NE(model.weights().layers[1].ffn_norm.data.data(), norm.data.data()) << "it would bring pages of the file";
  // The head is tied: 259 rows of the embedding, packed as 272.
  EXPECT_EQ(model.weights().output.data.size(), 272u * 68);
}

TEST(PackedWeights, matrices_of_floats_are_read_where_they_lie) {
  const RandomModel random({.type = kernels::DType::kF16});
  const Model& model = *random.model();
  EXPECT_EQ(model.weights().layers[0].q.data.data(), model.file().find_tensor("blk.0.attn_q.weight")->data.data());
  EXPECT_EQ(model.weights().output_norm.data.data(), model.file().find_tensor("output_norm.weight")->data.data());
}

// Packed weights are kept on disks, under this layout's number.
TEST(PackedWeights, who_changes_what_is_packed_how_counts_the_layout_up) {
  constexpr std::size_t kRows = 20, kCols = 512;
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  Prng prng(1);
  for (const kernels::BlockCoding& coding : kernels::kBlockCodings) {
    Buffer rows(kRows * kCols / coding.values * kernels::format_of(coding.type).block_bytes);
    for (std::uint8_t& byte : rows) byte = static_cast<std::uint8_t>(prng.next());
    Buffer packed(kernels::packed_bytes(coding.type, kRows, kCols));
    kernels::pack(coding.type, rows.data(), kRows, kCols, packed.data());
    for (const std::uint8_t byte : packed) hash = (hash ^ byte) * 1099511628211u;
  }
  const RandomModel random({.type = kernels::DType::kQ8_0});
  const Model& model = *random.model();
  const auto at = [&](const model::TensorView& tensor) { return tensor.data.data() - model.packed().memory().data(); };
  EXPECT_EQ(PackedWeights::kLayout, 1u);
  EXPECT_EQ(hash, 1540942866603895158u) << "kLayout must be another, and this the hash of it";
  EXPECT_EQ(at(model.weights().layers[0].attn_norm), 0);
  EXPECT_EQ(at(model.weights().output_norm), 6 * 256) << "vectors of all layers, then the model's";
  EXPECT_EQ(at(model.weights().layers[0].q), 7 * 256);
  EXPECT_LT(at(model.weights().layers[2].down), at(model.weights().output));
}

}  // namespace
}  // namespace sedge::engine
