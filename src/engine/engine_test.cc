// The laws of the forward pass, on random models: the same bits however the work is cut.
#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/generation.h"
#include "engine/random_model.h"
#include "model/testing/tiny_llama.h"
#include "model/vocab.h"

namespace sedge::engine {
namespace {

using kernels::DType;

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0, DType::kQ5_1, DType::kQ4_K, DType::kQ6_K};

std::vector<std::int32_t> some_ids(std::size_t count, std::uint64_t seed = 5) {
  Prng prng(seed);
  std::vector<std::int32_t> ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(prng.below(259));
  return ids;
}

// Hidden states after all layers, the ids cut at `cuts` (sizes of pieces), layers cut at `middle`.
std::vector<float> run(Engine& engine, const Model& model, std::span<const std::int32_t> ids, std::size_t piece,
                       std::size_t middle) {
  Sequence sequence = Sequence::make(model).value();
  const std::size_t dim = model.config().dim, layers = model.config().layers;
  std::vector<float> all;
  for (std::size_t at = 0; at < ids.size(); at += piece) {
    const auto part = ids.subspan(at, std::min(piece, ids.size() - at));
    std::vector<float> hidden(part.size() * dim);
    EXPECT_TRUE(engine.embed(model, part, hidden));
    const Slice slice{&sequence, part.size()};
    EXPECT_TRUE(middle == 0 || engine.forward(model, {&slice, 1}, 0, middle, hidden));
    EXPECT_TRUE(middle == layers || engine.forward(model, {&slice, 1}, middle, layers, hidden));
    all.insert(all.end(), hidden.begin(), hidden.end());
  }
  return all;
}

TEST(Engine, prefill_equals_decode_steps_bit_for_bit_for_any_cut_of_tokens_layers_and_threads) {
  for (const DType type : kTypes) {
    const RandomModel random({.type = type});
    const Model& model = *random.model();
    const std::vector<std::int32_t> ids = some_ids(41);
    Engine whole({.threads = 1, .chunk_tokens = 48});
    const std::vector<float> expected = run(whole, model, ids, ids.size(), 0);
    for (const unsigned threads : {1u, 2u, 3u}) {
      Engine engine({.threads = threads, .chunk_tokens = 7});
      for (const std::size_t piece : {1u, 2u, 5u, 41u}) {
        for (std::size_t middle = 0; middle <= model.config().layers; ++middle) {
          ASSERT_EQ(run(engine, model, ids, piece, middle), expected)
              << kernels::format_of(type).name << ", " << threads << " threads, pieces of " << piece << ", cut at "
              << middle;
        }
      }
    }
  }
}

TEST(Engine, keys_and_values_of_fewer_bits_keep_that_law_and_stay_near) {
  const auto model_with = [](DType cache) {
    return RandomModel({.heads = 2, .kv_heads = 1, .model = {.cache = cache}});
  };
  const RandomModel wide = model_with(DType::kF32);
  const std::vector<std::int32_t> ids = some_ids(41);
  Engine whole({.threads = 1, .chunk_tokens = 48}), cut({.threads = 2, .chunk_tokens = 7});
  const std::vector<float> reference = run(whole, *wide.model(), ids, ids.size(), 0);
  const float range = std::ranges::max(reference) - std::ranges::min(reference);
  struct Row {
    DType cache;
    std::string_view name;
    double bytes, error;  // of F32's bytes; of the range
  };
  for (const auto& [cache, name, bytes, error] : {Row{DType::kF16, "f16", 0.5, 3e-3},
                                                  {DType::kQ8_0, "q8_0", 34.0 / 128, 5e-2},
                                                  {DType::kQ4_0, "q4_0", 18.0 / 128, 0.5}}) {
    const RandomModel random = model_with(cache);
    const Model& model = *random.model();
    const std::vector<float> expected = run(whole, model, ids, ids.size(), 0);
    for (const std::size_t piece : {1u, 5u, 41u}) ASSERT_EQ(run(cut, model, ids, piece, 1), expected) << name;
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      worst = std::max<double>(worst, std::abs(expected[i] - reference[i]));
    EXPECT_GT(worst, 0) << name;
    EXPECT_LT(worst, error * range) << name;
    EXPECT_EQ(static_cast<double>(Sequence::bytes_of(model, 64)),
              bytes * static_cast<double>(Sequence::bytes_of(*wide.model(), 64)));
    EXPECT_EQ(model.numeric_class(), fmt::format("{}/{}", wide.model()->numeric_class(), name));
    EXPECT_EQ(cache_format_of(name).value(), cache);
    EXPECT_NE(kCacheFormats.find(name), std::string_view::npos);
  }
  EXPECT_EQ(cache_format_of("q5_0").error().code, Code::kInvalidArgument);
}

TEST(Engine, keys_and_values_are_copied_as_they_are_kept) {
  for (const DType cache : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
    const RandomModel random({.heads = 2, .kv_heads = 1, .model = {.cache = cache}});
    const Model& model = *random.model();
    const std::vector<std::int32_t> ids = some_ids(48);
    const std::size_t dim = model.config().dim, layers = model.config().layers;
    Engine engine;
    Sequence first = Sequence::make(model).value(), second = Sequence::make(model).value();
    const auto pass = [&](Sequence& sequence, std::size_t begin, std::size_t end) {
      const auto part = std::span(ids).subspan(begin, end - begin);
      std::vector<float> hidden(part.size() * dim);
      EXPECT_TRUE(engine.embed(model, part, hidden));
      const Slice slice{&sequence, part.size()};
      EXPECT_TRUE(engine.forward(model, {&slice, 1}, 0, layers, hidden));
      return hidden;
    };
    (void)pass(first, 0, 32);
    Buffer kept(32 * first.bytes_per_position());
    first.copy_out(0, 32, kept);
    second.copy_in(kept, 0, 32, 32);
    EXPECT_EQ(pass(second, 32, 48), pass(first, 32, 48)) << kernels::format_of(cache).name;
  }
}

TEST(Engine, a_cache_in_blocks_wants_heads_of_whole_blocks) {
  const RandomModel random;  // heads of 16
  for (const DType cache : {DType::kQ8_0, DType::kQ4_0}) {
    const auto made = Model::from(model::GgufFile::parse(random.file()).value(), {.cache = cache});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Code::kInvalidArgument);
    EXPECT_NE(made.error().message.find("f16"), std::string::npos);
  }
  const auto other = Model::from(model::GgufFile::parse(random.file()).value(), {.cache = DType::kQ5_0});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kInvalidArgument);
}

TEST(Engine, a_sequence_in_a_batch_gives_its_bits_alone) {
  const RandomModel random;
  const Model& model = *random.model();
  const std::size_t dim = model.config().dim, layers = model.config().layers;
  const auto a = some_ids(9, 1), b = some_ids(4, 2);
  Engine engine({.threads = 2});
  Sequence first = Sequence::make(model).value(), second = Sequence::make(model).value();
  std::vector<std::int32_t> both = a;
  both.insert(both.end(), b.begin(), b.end());
  std::vector<float> hidden(both.size() * dim);
  ASSERT_TRUE(engine.embed(model, both, hidden));
  const Slice batch[] = {{&first, a.size()}, {&second, b.size()}};
  ASSERT_TRUE(engine.forward(model, batch, 0, layers, hidden));
  std::vector<float> expected = run(engine, model, a, a.size(), 0);
  const std::vector<float> alone = run(engine, model, b, b.size(), 0);
  expected.insert(expected.end(), alone.begin(), alone.end());
  EXPECT_EQ(hidden, expected);
}

// 512 texts of one token, 2,049 heads each: more items than the thread pool has numbers for blocks.
TEST(Engine, attention_has_as_many_items_as_it_needs) {
  model::LlamaConfig config = model::testing::tiny_config();
  config.layers = 1;
  config.vocab = 259;
  config.heads = config.kv_heads = 2049;
  config.head_dim = config.rope_dim = 2;
  model::GgufWriter writer = model::testing::tiny_writer(config);
  model::write_vocab(writer, model::testing::byte_vocab());
  const Buffer bytes = writer.to_bytes().value();
  const auto loaded = Model::from(model::GgufFile::parse(bytes).value());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Model& model = **loaded;
  const auto hidden_of = [&](std::size_t texts) {
    Engine engine({.threads = 2, .chunk_tokens = texts});
    std::vector<Sequence> sequences;
    std::vector<Slice> slices;
    for (std::size_t i = 0; i < texts; ++i) sequences.push_back(Sequence::make(model, {.capacity = 1}).value());
    for (Sequence& sequence : sequences) slices.push_back({&sequence, 1});
    std::vector<float> hidden(texts * config.dim);
    EXPECT_TRUE(engine.embed(model, std::vector<std::int32_t>(texts, 70), hidden));
    EXPECT_TRUE(engine.forward(model, slices, 0, 1, hidden));
    return hidden;
  };
  const std::vector<float> alone = hidden_of(1), all = hidden_of(512);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], alone[i % config.dim]) << i;
}

TEST(Engine, a_node_needs_memory_only_for_its_own_layers) {
  const RandomModel random;
  const Model& model = *random.model();
  const auto ids = some_ids(6);
  Engine engine;
  std::vector<float> hidden(ids.size() * model.config().dim);
  ASSERT_TRUE(engine.embed(model, ids, hidden));
  Sequence front = Sequence::make(model, {.layer_begin = 0, .layer_end = 2}).value();
  Sequence back = Sequence::make(model, {.layer_begin = 2}).value();
  const Slice to_front{&front, ids.size()}, to_back{&back, ids.size()};
  ASSERT_TRUE(engine.forward(model, {&to_front, 1}, 0, 2, hidden));
  ASSERT_TRUE(engine.forward(model, {&to_back, 1}, 2, 3, hidden));
  EXPECT_EQ(hidden, run(engine, model, ids, ids.size(), 0));
  EXPECT_EQ(engine.forward(model, {&to_back, 1}, 0, 2, hidden).error().code, Code::kInvalidArgument);
}

TEST(Engine, a_raised_flag_cancels_and_leaves_the_sequence_as_it_was) {
  const RandomModel random;
  const Model& model = *random.model();
  const auto ids = some_ids(8);
  Engine engine({.threads = 2});
  Sequence sequence = Sequence::make(model).value();
  std::vector<float> hidden(ids.size() * model.config().dim);
  ASSERT_TRUE(engine.embed(model, ids, hidden));
  const Control raised{true};
  const Slice slice{&sequence, ids.size()};
  EXPECT_EQ(engine.forward(model, {&slice, 1}, 0, 3, hidden, &raised).error().code, Code::kCancelled);
  EXPECT_EQ(sequence.length(), 0u);
  std::vector<float> logits(259);
  EXPECT_EQ(engine.head(model, std::span(hidden).first(64), logits, &raised).error().code, Code::kCancelled);
}

TEST(Engine, what_does_not_fit_is_an_error_that_says_so) {
  const RandomModel random;
  const Model& model = *random.model();
  Engine engine;
  Sequence sequence = Sequence::make(model, {.capacity = 4}).value();
  std::vector<float> hidden(std::size_t{5} * 64);
  const Slice five{&sequence, 5};
  const auto full = engine.forward(model, {&five, 1}, 0, 3, hidden);
  EXPECT_EQ(full.error().message, "5 tokens do not fit at position 0 of a context of 4");
  const std::int32_t strange[] = {259};
  EXPECT_EQ(engine.embed(model, strange, std::span(hidden).first(64)).error().message,
            "token 0 is 259, the vocabulary has 259");
  EXPECT_EQ(Sequence::make(model, {.capacity = 65}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Sequence::make(model, {.bytes_max = 1000}).error().code, Code::kResourceExhausted);
  const Slice two{&sequence, 2};
  ASSERT_TRUE(engine.forward(model, {&two, 1}, 0, 2, std::span(hidden).first(128)));
  EXPECT_EQ(engine.forward(model, {&two, 1}, 0, 3, std::span(hidden).first(128)).error().code,
            Code::kFailedPrecondition);
}

TEST(ThreadPool, runs_each_index_once_whatever_the_sizes) {
  ThreadPool pool(4);
  EXPECT_TRUE(rc::check([&] {
    const auto count = *rc::gen::inRange<std::size_t>(0, 5000), block = *rc::gen::inRange<std::size_t>(1, 300);
    std::vector<int> seen(count);
    RC_ASSERT(pool.run(count, block, nullptr, [&](unsigned worker, std::size_t begin, std::size_t end) {
      SEDGE_ASSERT(worker < 4);
      for (std::size_t i = begin; i < end; ++i) ++seen[i];
    }));
    RC_ASSERT(seen == std::vector<int>(count, 1));
  }));
}

TEST(ThreadPool, stops_between_blocks_once_cancelled) {
  ThreadPool pool(2);
  Control cancel{false};
  std::atomic<int> ran{0};
  EXPECT_FALSE(pool.run(10000, 1, &cancel, [&](unsigned, std::size_t, std::size_t) {
    if (++ran == 3) cancel.cancel();
  }));
  EXPECT_LT(ran, 100);  // the third raised it; the other thread sees it at its next block or soon after
}

TEST(ThreadPool, begins_no_block_while_paused_and_goes_on_where_it_was) {
  ThreadPool pool(2);
  Control control;
  std::vector<int> seen(1000);
  std::atomic<int> ran{0}, before{0}, after{0};
  std::thread other([&] {
    while (ran < 3) std::this_thread::yield();
    control.pause();
    before = ran.load();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    after = ran.load();
    control.resume();
  });
  EXPECT_TRUE(pool.run(seen.size(), 1, &control, [&](unsigned, std::size_t begin, std::size_t) {
    ++seen[begin];
    ++ran;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }));
  other.join();
  EXPECT_LE(after, before + 2) << "a block of each thread had been let through";
  EXPECT_EQ(seen, std::vector<int>(1000, 1));
}

TEST(ThreadPool, what_is_cancelled_while_paused_ends) {
  ThreadPool pool(2);
  Control control;
  control.pause();
  std::thread other([&] { control.cancel(); });
  EXPECT_FALSE(pool.run(100, 1, &control, [](unsigned, std::size_t, std::size_t) { ADD_FAILURE(); }));
  other.join();
}

TEST(ThreadPool, a_million_blocks_or_a_thousand_short_lives_are_no_matter) {
  ThreadPool pool(2);
  std::atomic<std::size_t> sum{0};
  EXPECT_TRUE(pool.run(std::size_t{1} << 22, 1, nullptr,
                       [&](unsigned, std::size_t begin, std::size_t end) { sum += end - begin; }));
  EXPECT_EQ(sum, std::size_t{1} << 22);
  for (int i = 0; i < 300; ++i) {
    ThreadPool brief(3);
    EXPECT_TRUE(brief.run(6, 1, nullptr, [&](unsigned, std::size_t, std::size_t) { ++sum; }));
  }
}

}  // namespace
}  // namespace sedge::engine
