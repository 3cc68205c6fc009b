// The forward pass, over any range of layers, for any number of tokens of any number of sequences at once.
//
// Hidden states go in and come out, so that a model can be split between nodes at any layer. Every output value is
// computed by one thread in the canonical order of its numeric class, so results do not depend on threads, on how a
// prompt is cut into chunks, or on what else is in the batch: prefill of k tokens equals k decode steps bit for bit.
//
// An engine owns its threads and its scratch memory and runs one call at a time; models and sequences are not its
// own. Scratch grows with the first calls of a kind; a later step of a text allocates nothing (allocations_test.cc). A
// cancelled call leaves sequences as they were; a paused one goes on where it was (control.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/adapter.h"
#include "engine/aligned.h"
#include "engine/control.h"
#include "engine/model.h"
#include "engine/sequence.h"
#include "engine/thread_pool.h"

namespace sedge::engine {

struct EngineOptions {
  unsigned threads = 1;           // the caller's included
  std::size_t chunk_tokens = 96;  // tokens that pass a layer together: bounds scratch memory; a multiple of 48 is best
};

// The next `tokens` positions of a sequence, in a batch.
struct Slice {
  Sequence* sequence = nullptr;
  std::size_t tokens = 0;
  std::span<const AdapterUse> adapters{};  // of this model, in the order in which they add
};

// Where one row of a call stands.
struct PassRow {
  Sequence* sequence;
  std::size_t position;
  std::size_t seen;  // positions of its text that it attends to, from the first on
  std::span<const AdapterUse> adapters;
};

// Neighbours of one text that attention takes together: rows [first, first + tokens) of a chunk.
struct TokenRun {
  std::size_t first, tokens, stride;  // stride: of scores
};

// Neighbours of equal adapters, and what one of those adds to one product.
struct AdapterRun {
  std::size_t first, tokens;
  std::span<const AdapterUse> adapters;
};
struct AdapterPart {
  const model::TensorView* matrix;
  const model::LoraPair* pair;
  float scale;
  std::size_t first, tokens;  // of the chunk
  std::size_t at;             // in reduced_: [tokens, rank]
};

class Pass;  // one chunk of one call: pass.h

class Engine {
 public:
  explicit Engine(EngineOptions options = {});

  unsigned threads() const { return pool_.threads(); }

  // Calls body(i) for each i below `count` on its threads, several at once. Between passes.
  template <class Body>
  void each(std::size_t count, const Body& body) {
    pool_.run(count, 1, nullptr, [&](unsigned, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) body(i);
    });
  }

  // hidden [ids, dim] = the embeddings. Errors: InvalidArgument (an id outside the vocabulary, a wrong size).
  Status embed(const Model& model, std::span<const std::int32_t> ids, std::span<float> hidden) const;

  // Passes hidden [tokens of all slices, dim] through layers [layer_begin, layer_end) in place and appends their keys
  // and values to the sequences. A sequence may appear once.
  // Errors: InvalidArgument (sizes, layers that a sequence does not hold, those of check_adapters);
  //         OutOfRange (a sequence is full);
  //         FailedPrecondition (its layers stand at different positions, or beyond the first in an encoder, which
  //         computes a text at once); Cancelled.
  Status forward(const Model& model, std::span<const Slice> slices, std::size_t layer_begin, std::size_t layer_end,
                 std::span<float> hidden, const Control* control = nullptr);

  // Norms hidden [tokens, dim], as it left the last layer, as the head would; an encoder's stays as it is.
  // Errors: InvalidArgument (a wrong size).
  Status final_norm(const Model& model, std::span<float> hidden);

  // logits [tokens, vocab] of hidden [tokens, dim] as it left the last layer. Errors: InvalidArgument (sizes, or a
  // model without a head); Cancelled.
  Status head(const Model& model, std::span<const float> hidden, std::span<float> logits,
              const Control* control = nullptr);

 private:
  friend class Pass;
  // rows_: each token of the slices with its position. Refuses what the passes may rely on.
  Status find_rows(std::span<const Slice> slices, std::size_t layer_begin, std::size_t layer_end, bool causal);

  EngineOptions options_;
  ThreadPool pool_;
  // Scratch, grown to the largest model and chunk seen. Shapes with n = tokens of a chunk.
  Lines<float> normed_;                       // [n, dim]
  Lines<float> q_, k_, v_;                    // [n, q_dim], [n, kv_dim] twice
  Lines<float> mixed_;                        // [n, q_dim]: attention's output
  Lines<float> gate_, up_;                    // [n, ffn_dim]
  Lines<float> added_;                        // [n, dim]: what the residual gets
  Lines<float> cosines_, sines_;              // [n, rope_dim / 2]
  Lines<float> local_cosines_, local_sines_;  // the same for layers with a window, where those have a base
  Lines<float> ones_;                         // [ffn_dim]: the partner of a feed-forward without a gate
  Lines<float> router_;                       // [n, experts]
  Lines<float> shares_;                       // [n, experts used]: each chosen expert's part of the sum
  Lines<std::uint32_t> chosen_;               // [n, experts used]: their numbers
  Lines<float> gathered_, expert_out_;        // [n, dim]: of the tokens that one expert serves
  Lines<float> expert_sums_;                  // [n, experts used, dim]
  Lines<float> scores_;                       // [threads, the largest item of attention]
  std::vector<PassRow> rows_;                 // of the call
  std::vector<TokenRun> runs_;
  std::vector<AdapterRun> adapter_runs_;
  std::vector<AdapterPart> adapter_parts_;
  Lines<float> reduced_;       // scale·(A·x) of each part
  Lines<std::int8_t> quants_;  // [n, widest]
  Lines<float> scales_;        // [n, widest / 32]
  Lines<std::int32_t> sums_;   // [n, widest / 16]
};

}  // namespace sedge::engine
