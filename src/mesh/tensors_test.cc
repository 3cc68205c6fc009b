#include "mesh/tensors.h"

#include <algorithm>
#include <iterator>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "mesh/test_tensor_world.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using namespace tensor_test;

constexpr std::size_t kChunk = kChunkBytesMin;

std::size_t chunks_on_disk(const Node& node) {
  return static_cast<std::size_t>(
      std::ranges::count_if(node.disk, [](const auto& record) { return record.first.first == kChunkBucket; }));
}

// Chunks of more pieces than the smallest have.
Manifest manifest_of(Bytes tensor, std::uint32_t chunk_bytes) {
  Manifest manifest{tensor.size(), chunk_bytes, {}};
  for (std::size_t at = 0; at < tensor.size(); at += chunk_bytes) {
    manifest.chunks.push_back(
        trust::digest(tensor.subspan(at, std::min<std::size_t>(chunk_bytes, tensor.size() - at))));
  }
  return manifest;
}

// A node whose only neighbour is played by hand: what it asks for stands here, what it is told is told by the test.
struct OneByHand {
  OneByHand() : world(2) {
    world.link(0, 1);
    world.tamper = [this](std::size_t from, std::size_t, env::Send& send) {
      const wire::Frame frame = wire::open_frame(send.frame).value();
      if (from == 1 && frame.type == wire::MessageType::kChunkQuery) ++queries;
      if (from == 1 && frame.type == wire::MessageType::kChunkWant) {
        std::ranges::copy(wire::decode<wire::ChunkWant>(frame.body)->pieces, std::back_inserter(asked));
      }
      return false;
    };
  }
  void want(const std::string& path, const Manifest& manifest) {
    world.tell(1, path, encode_manifest(manifest), node_id(0));
    world.run(10ms);
  }
  template <class Message>
  void tell(wire::MessageType type, const Message& message) {
    (void)world.at(1).on_message(node_id(0), type, wire::encode(message), world.now);
    world.run(10ms);
  }
  // It has all of it, or nothing.
  void have(const Manifest& manifest, bool all) {
    tell(wire::MessageType::kChunkHave,
         wire::ChunkHave{trust::digest(encode_manifest(manifest)), Buffer(all ? kChunksMax / 8 : 0, 0xff)});
  }
  // Answers what was asked for first.
  void answer(Bytes tensor, const Manifest& manifest) {
    ASSERT_FALSE(asked.empty());
    wire::ChunkPiece piece{asked.front(), std::nullopt};
    asked.erase(asked.begin());
    if (!tensor.empty()) {
      const auto chunk = std::ranges::find(manifest.chunks, piece.name.chunk) - manifest.chunks.begin();
      const Bytes bytes = tensor.subspan(static_cast<std::size_t>(chunk) * manifest.chunk_bytes, piece.name.chunk_bytes)
                              .subspan(std::size_t{piece.name.number} * wire::kPieceBytes);
      piece.bytes = to_buffer(bytes.first(std::min<std::size_t>(bytes.size(), wire::kPieceBytes)));
    }
    tell(wire::MessageType::kChunkPiece, piece);
  }

  World world;
  std::size_t queries = 0;
  std::vector<wire::PieceName> asked;
};

TEST(Manifest, comes_back_from_its_bytes_and_names_every_byte_once) {
  EXPECT_TRUE(rc::check([] {
    const auto bytes = *rc::gen::element<std::size_t>(0, 1, kChunk - 1, kChunk, kChunk + 1, 3 * kChunk - 9);
    const Buffer tensor = random_bytes(bytes, *rc::gen::arbitrary<std::uint64_t>());
    const Manifest manifest = make_manifest(tensor).value();
    RC_ASSERT(decode_manifest(encode_manifest(manifest)).value() == manifest);
    Buffer again;
    for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
      const Bytes chunk = chunk_of(tensor, manifest, i);
      RC_ASSERT(name_of(chunk) == manifest.name(i));
      again.insert(again.end(), chunk.begin(), chunk.end());
    }
    RC_ASSERT(again == tensor);
  }));
}

TEST(Manifest, any_bytes_are_one_or_an_error_and_impossible_ones_are_refused) {
  EXPECT_TRUE(rc::check([](Buffer bytes) {
    (void)decode_manifest(bytes);
    bytes.insert(bytes.begin(), kManifestMagic.begin(), kManifestMagic.end());
    (void)decode_manifest(bytes);
  }));
  const auto refused = [](auto change) {
    Manifest manifest = make_manifest(random_bytes(3 * kChunk, 1)).value();
    change(manifest);
    return !decode_manifest(encode_manifest(manifest));
  };
  EXPECT_FALSE(refused([](Manifest&) {}));
  EXPECT_TRUE(refused([](Manifest& m) { m.chunks.pop_back(); }));
  EXPECT_TRUE(refused([](Manifest& m) { ++m.bytes; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.bytes = ~std::uint64_t{0}; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.chunk_bytes += 1; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.chunk_bytes = kChunkBytesMax * 2, m.chunks.resize(1); }));
  EXPECT_TRUE(refused([](Manifest& m) { m.chunks.resize(kChunksMax + 1), m.bytes = kChunk * (kChunksMax + 1); }));
}

TEST(Manifest, of_the_largest_tensor_fits_a_registers_value) {
  EXPECT_EQ(chunk_bytes_for(64u << 20), kChunkBytesMin);
  EXPECT_EQ(chunk_bytes_for((64u << 20) + 1), 2 * kChunkBytesMin);
  EXPECT_EQ(chunk_bytes_for(kTensorBytesMax), kChunkBytesMax);
  const Manifest largest{kTensorBytesMax, kChunkBytesMax, std::vector<trust::Digest>(kChunksMax)};
  EXPECT_LT(encode_manifest(largest).size(), 64u << 10);
}

TEST(Tensors, what_one_puts_the_others_read_through_a_relay) {
  World world(3);
  world.link(0, 1);
  world.link(1, 2);
  const Buffer model = random_bytes(40 * kChunk + 123, 1);
  world.put(0, "m", model, {1, 2});
  EXPECT_EQ(world.read(0, "m"), model) << "its writer reads it at once";
  EXPECT_FALSE(world.read(2, "m"));
  ASSERT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 20s));
  EXPECT_LT(world.nodes[2]->bytes_in, model.size() * 102 / 100) << "every chunk once";
  EXPECT_EQ(world.at(2).next_deadline(), kNever) << "who has all is quiet";
}

TEST(Tensors, the_last_node_of_a_chain_does_not_wait_until_the_one_before_has_all) {
  World world(3);
  world.bytes_per_s = 1e6;
  world.link(0, 1);
  world.link(1, 2);
  const Buffer model = random_bytes(10u << 20, 1);  // 10 s a hop
  world.put(0, "m", model, {1, 2});
  EXPECT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 15s));
}

TEST(Tensors, several_sources_are_asked_for_different_chunks) {
  World world(4);
  world.bytes_per_s = 1e6;
  const Buffer model = random_bytes(6u << 20, 1);
  const Buffer value = world.put(0, "m", model, {});
  world.put(1, "m", model, {});
  world.put(2, "m", model, {});
  for (std::size_t i = 0; i < 3; ++i) world.link(i, 3);
  world.tell(3, "m", value, node_id(0));
  ASSERT_TRUE(world.run_until([&] { return world.read(3, "m") == model; }, 4s)) << "6 s from one";
  EXPECT_EQ(world.at(3).stats().bytes_wasted, 0u);
}

TEST(Tensors, of_a_new_version_only_what_changed_travels_and_the_old_one_is_read_until_then) {
  World world(2);
  world.link(0, 1);
  Buffer model = random_bytes(32 * kChunk, 1);
  world.put(0, "m", model, {1});
  ASSERT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 20s));
  const Buffer before = model;
  model[5 * kChunk] ^= 1;
  model[20 * kChunk + 7] ^= 1;
  const std::uint64_t bytes = world.nodes[1]->bytes_in;
  world.put(0, "m", model, {1});
  EXPECT_EQ(world.read(1, "m"), before);
  EXPECT_TRUE(world.at(1).find("m")->pending);
  ASSERT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 20s));
  EXPECT_LT(world.nodes[1]->bytes_in - bytes, 2 * kChunk + 2048);
  world.run(100ms);
  EXPECT_EQ(chunks_on_disk(*world.nodes[1]), 32u) << "what the old one alone named is gone";
  EXPECT_EQ(world.at(1).store().bytes_named(), model.size());
}

TEST(Tensors, where_two_write_at_once_the_last_wins_and_the_formers_chunks_go) {
  World world(3);
  world.link(0, 1);
  world.link(0, 2);
  world.link(1, 2);
  const Buffer one = random_bytes(20 * kChunk, 1);
  const Buffer two = random_bytes(12 * kChunk, 2);
  world.put(0, "m", one, {2});
  const Buffer value = world.put(1, "m", two, {});
  world.run(30ms);  // half of the first is on its way to the third node
  for (const std::size_t i : {0u, 2u}) world.tell(i, "m", value, node_id(1));
  const auto all = [&] {
    return std::ranges::all_of(std::array{0u, 1u, 2u}, [&](std::size_t i) { return world.read(i, "m") == two; });
  };
  ASSERT_TRUE(world.run_until(all, 20s));
  world.run(1s);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(world.at(i).store().bytes_held(), two.size());
    EXPECT_EQ(chunks_on_disk(*world.nodes[i]), 12u);
  }
}

TEST(Tensors, an_erased_or_overwritten_register_takes_its_chunks_along) {
  World world(1);
  world.put(0, "a", random_bytes(3 * kChunk, 1), {});
  world.put(0, "b", random_bytes(3 * kChunk, 2), {});
  world.erase(0, "a");
  world.tell(0, "b", {1, 2, 3}, node_id(0));
  world.run(100ms);
  EXPECT_TRUE(world.at(0).all().empty());
  EXPECT_EQ(world.at(0).store().bytes_named(), 0u);
  EXPECT_TRUE(world.nodes[0]->disk.empty());
}

TEST(Tensors, frames_may_be_lost_and_links_may_fall) {
  World world(4, 64u << 20, 7);
  world.loss = 0.02;
  for (std::size_t i = 0; i < 3; ++i) world.link(i, i + 1);
  const Buffer model = random_bytes(50 * kChunk, 1);
  world.put(0, "m", model, {1, 2, 3});
  for (int i = 0; i < 10 && world.read(3, "m") != model; ++i) {
    world.run(300ms);
    world.unlink(1, 2);
    world.run(200ms);
    world.link(1, 2);
  }
  ASSERT_TRUE(world.run_until([&] { return world.read(3, "m") == model; }, 10min));
}

TEST(Tensors, a_source_that_lies_is_named_and_left_and_the_rest_comes_from_others) {
  World world(3);
  const Buffer model = random_bytes(20 * kChunk, 1);
  const Buffer value = world.put(0, "m", model, {});
  world.put(1, "m", model, {});
  world.link(0, 2);
  world.link(1, 2);
  world.tamper = [](std::size_t from, std::size_t, env::Send& send) {
    if (from == 1 && send.frame.size() > kChunk / 4) send.frame.back() ^= 1;
    return true;
  };
  world.tell(2, "m", value, node_id(0));
  ASSERT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 20s));
  EXPECT_GE(world.nodes[2]->errors, 1u);
  EXPECT_EQ(world.at(2).stats().lies, 1u) << "it is not asked again";
  world.unlink(1, 2);
  world.link(1, 2);
  const Buffer next = random_bytes(20 * kChunk, 2);
  world.put(1, "n", next, {});
  world.put(0, "n", next, {2});
  ASSERT_TRUE(world.run_until([&] { return world.read(2, "n") == next; }, 20s));
  EXPECT_EQ(world.at(2).stats().lies, 1u) << "nor over a new link";
}

TEST(Tensors, a_source_that_falls_silent_is_left_and_tried_again_later) {
  World world(3);
  const Buffer model = random_bytes(20 * kChunk, 1);
  const Buffer value = world.put(0, "m", model, {});
  world.put(1, "m", model, {});
  world.link(0, 2);
  world.link(1, 2);
  bool silent = true;
  world.tamper = [&](std::size_t from, std::size_t, env::Send& send) {
    return !(silent && from == 1 && send.priority == env::Priority::kBulk);
  };
  world.tell(2, "m", value, node_id(0));
  ASSERT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 30s));
  silent = false;
  world.unlink(0, 2);
  const Buffer next = random_bytes(9 * kChunk, 2);
  world.put(1, "m", next, {2});
  EXPECT_TRUE(world.run_until([&] { return world.read(2, "m") == next; }, 60s));
  EXPECT_EQ(world.at(2).stats().stalls, 1u);
}

TEST(Tensors, a_slow_radio_is_not_taken_for_a_silent_source_for_ever) {
  World world(2);
  world.bytes_per_s = 1000;  // a piece takes 33 s
  world.link(0, 1);
  const Buffer model = random_bytes(3 * kChunk, 1);
  world.put(0, "m", model, {1});
  EXPECT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 1h));
}

TEST(Tensors, what_a_source_does_not_have_any_more_is_fetched_elsewhere) {
  World world(3);
  world.bytes_per_s = 2e6;
  const Buffer model = random_bytes(40 * kChunk, 1);
  const Buffer value = world.put(0, "m", model, {});
  world.put(1, "m", model, {});
  world.link(0, 2);
  world.link(1, 2);
  world.tell(2, "m", value, node_id(0));
  world.run(300ms);
  world.erase(1, "m");
  ASSERT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 20s));
  EXPECT_EQ(world.at(2).stats().stalls, 0u);
}

TEST(Tensors, whatever_the_moment_of_a_crash_something_whole_is_read_and_what_was_fetched_is_kept) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    World world(2, 64u << 20, seed);
    world.bytes_per_s = 1e6;
    world.link(0, 1);
    const Buffer old = random_bytes(2 * kChunk, seed + 1);
    const Buffer fresh = random_bytes(3 * kChunk, seed + 2);
    world.put(0, "m", old, {1});
    RC_ASSERT(world.run_until([&] { return world.read(1, "m") == old; }, 20s));
    world.run(50ms);
    world.put(0, "m", fresh, {1});
    for (int i = 0; i < 3; ++i) {
      world.run(Duration(5ms) * static_cast<std::int64_t>(world.prng.below(40)));
      const std::size_t who = world.prng.below(4) == 0 ? 0 : 1;
      if (who == 0) world.run(50ms);  // its writer has acknowledged nothing before its disk had all
      world.crash(who);
      world.boot(who);
      const auto whole = world.read(1, "m");
      RC_ASSERT(whole == old || whole == fresh);
    }
    RC_ASSERT(world.run_until([&] { return world.read(1, "m") == fresh; }, 60s));
    world.run(100ms);
    RC_ASSERT(chunks_on_disk(*world.nodes[1]) == 3u);
  }));
}

TEST(Tensors, a_restarted_node_goes_on_with_the_chunks_it_has) {
  World world(2);
  world.bytes_per_s = 1e6;
  world.link(0, 1);
  const Buffer model = random_bytes(4u << 20, 1);
  world.put(0, "m", model, {1});
  world.run(2s);
  world.crash(1);
  world.boot(1);
  EXPECT_GT(world.at(1).store().bytes_held(), 1u << 20);
  ASSERT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 10s));
  EXPECT_LT(world.nodes[1]->bytes_in, 5u << 20);
}

TEST(Tensors, a_chunk_that_the_disk_spoilt_is_fetched_again) {
  World world(2);
  world.link(0, 1);
  const Buffer model = random_bytes(6 * kChunk, 1);
  world.put(0, "m", model, {1});
  ASSERT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 20s));
  world.run(100ms);
  world.crash(1);
  const auto chunk =
      std::ranges::find_if(world.nodes[1]->disk, [](const auto& r) { return r.first.first == kChunkBucket; });
  chunk->second[100] ^= 1;
  world.boot(1);
  EXPECT_FALSE(world.read(1, "m"));
  EXPECT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 20s));
}

TEST(Tensors, what_does_not_fit_waits_and_says_so_and_is_fetched_when_there_is_room) {
  World world(2, 16 * kChunk);
  world.link(0, 1);
  const auto too_much =
      world.at(0).begin(encode_manifest(make_manifest(random_bytes(9 * kChunk, 3)).value()), node_id(0), world.now);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, Code::kResourceExhausted) << "more than one writer's part";
  const Buffer a = random_bytes(8 * kChunk, 1);
  const Buffer b = random_bytes(8 * kChunk, 2);
  world.put(0, "a", a, {1});
  ASSERT_TRUE(world.run_until([&] { return world.read(1, "a") == a; }, 20s));
  const Buffer value = encode_manifest(make_manifest(b).value());
  world.tell(1, "b", value, node_id(0));
  world.run(1s);
  ASSERT_TRUE(world.at(1).find("b")->refused);
  EXPECT_EQ(world.at(1).complete_at("b").error().code, Code::kUnavailable);
  EXPECT_EQ(world.nodes[1]->reports.size(), 1u);
  world.erase(0, "a");
  world.erase(1, "a");
  world.put(0, "b", b, {});
  EXPECT_TRUE(world.run_until([&] { return world.read(1, "b") == b; }, 20s));
}

TEST(Tensors, one_that_nobody_has_does_not_keep_the_others_waiting) {
  World world(2);
  world.link(0, 1);
  for (std::uint64_t i = 0; i < 12; ++i) {
    world.tell(1, fmt::format("gone/{}", i), encode_manifest(make_manifest(random_bytes(100, i)).value()), node_id(9));
  }
  const Buffer model = random_bytes(3 * kChunk, 99);
  world.put(0, "m", model, {1});
  EXPECT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 60s));
}

TEST(Tensors, a_writer_of_a_thousand_that_nobody_has_keeps_anothers_waiting_for_one_turn) {
  World world(2);
  world.link(0, 1);
  for (std::uint64_t i = 0; i < kPlacesOfWriterMax; ++i) {
    world.tell(1, fmt::format("gone/{}", i), encode_manifest(make_manifest(random_bytes(100, i)).value()), node_id(9));
  }
  const Buffer model = random_bytes(3 * kChunk, 9999);
  world.put(0, "m", model, {1});
  EXPECT_TRUE(world.run_until([&] { return world.read(1, "m") == model; }, 12s));
}

TEST(Tensors, what_takes_the_place_of_one_that_was_forgotten_has_its_whole_turn) {
  OneByHand one;
  std::vector<Manifest> manifests;
  for (std::uint64_t i = 0; i < 10; ++i) {
    manifests.push_back(make_manifest(random_bytes(100, i)).value());
    one.want(fmt::format("{}", i), manifests.back());
  }
  one.world.run(5s);
  one.world.erase(1, "0");
  one.world.run(9s);  // the other seven's turns are over, and the tenth has one
  one.have(manifests[8], true);
  ASSERT_EQ(one.asked.size(), 1u);
  EXPECT_EQ(one.asked[0].chunk, manifests[8].chunks[0]);
}

TEST(Tensors, a_disk_that_is_behind_is_waited_for_and_no_more_than_a_few_megabytes_are) {
  World world(2);
  const Buffer model = random_bytes(24u << 20, 1);
  world.put(0, "m", model, {});
  world.link(0, 1);
  world.commit_time = 3s;
  const auto waiting = [&] {
    std::size_t bytes = 0;
    for (const auto& commit : world.nodes[1]->writing) {
      for (const env::Record& record : commit.records) bytes += record.value.size();
    }
    return bytes;
  };
  world.tell(1, "m", encode_manifest(make_manifest(model).value()), node_id(0));
  std::size_t most = 0;
  const auto whole = [&] {
    most = std::max(most, waiting());
    return world.read(1, "m") == model;
  };
  EXPECT_TRUE(world.run_until(whole, 60s));
  EXPECT_GE(most, kUnsavedBytesMax);
  EXPECT_LT(most, kUnsavedBytesMax + (1u << 20));
  EXPECT_EQ(world.at(1).stats().stalls, 0u);
  EXPECT_EQ(world.at(1).stats().bytes_wasted, 0u);
}

TEST(Tensors, a_chunk_is_not_taken_from_a_client_while_the_disk_is_behind) {
  World world(1);
  world.commit_time = 3s;
  const Buffer model = random_bytes(kUnsavedBytesMax + kChunk, 1);
  const Manifest manifest = make_manifest(model).value();
  const UploadId upload = world.at(0).begin(encode_manifest(manifest), node_id(0), world.now).value();
  const auto give = [&](std::uint32_t number) {
    return world.at(0).give(upload, number, chunk_of(model, manifest, number), world.now);
  };
  for (std::uint32_t i = 0; i < kUnsavedBytesMax / kChunk; ++i) ASSERT_TRUE(give(i));
  const std::uint32_t last = kUnsavedBytesMax / kChunk;
  EXPECT_EQ(give(last).error().code, Code::kResourceExhausted);
  EXPECT_TRUE(give(0)) << "it is here";
  world.run(4s);
  EXPECT_TRUE(give(last));
  EXPECT_TRUE(world.at(0).value_of(upload));
}

TEST(Tensors, a_neighbour_with_nothing_else_to_give_takes_over_from_a_slow_one) {
  World world(3);
  const Buffer model = random_bytes(1u << 20, 1);
  const Manifest manifest = manifest_of(model, 1u << 20);  // one chunk
  const Buffer value = world.put(0, "m", model, manifest, {});
  world.put(1, "m", model, manifest, {});
  world.link(0, 2);
  Instant next = world.now;
  world.tamper = [&](std::size_t from, std::size_t, env::Send& send) {
    if (from != 0 || send.priority != env::Priority::kBulk) return true;
    if (world.now < next) return false;  // a piece in 8 s; what else was asked for is lost
    next = world.now + 8s;
    return true;
  };
  world.tell(2, "m", value, node_id(0));
  world.run(1s);
  world.link(1, 2);
  EXPECT_TRUE(world.run_until([&] { return world.read(2, "m") == model; }, 5s));
  EXPECT_EQ(world.at(2).stats().lies, 0u);
}

TEST(Tensors, one_writer_takes_half_of_the_paths_and_one_that_found_none_gets_the_next_that_is_free) {
  World world(1);
  for (std::uint64_t i = 0; i < kTensorsMax + 2; ++i) {
    const NodeId writer = node_id(i < kPlacesOfWriterMax + 1 ? 1 : 2);
    world.tell(0, fmt::format("{}", i), encode_manifest(make_manifest(random_bytes(20, i)).value()), writer);
  }
  const auto path = [](std::size_t i) { return fmt::format("{}", i); };
  EXPECT_EQ(world.at(0).find(path(kPlacesOfWriterMax)), nullptr) << "half were the first's";
  EXPECT_NE(world.at(0).find(path(kTensorsMax)), nullptr);
  EXPECT_EQ(world.at(0).find(path(kTensorsMax + 1)), nullptr);
  EXPECT_EQ(world.nodes[0]->reports.size(), 1u);
  EXPECT_EQ(world.at(0).check_place("new", node_id(3)).error().code, Code::kResourceExhausted);
  EXPECT_TRUE(world.at(0).check_place(path(3), node_id(1)));
  world.run(5s);
  EXPECT_EQ(world.nodes[0]->looks, 0u) << "nothing is free";
  world.erase(0, path(kTensorsMax));
  world.run(2s);
  EXPECT_NE(world.at(0).find(path(kTensorsMax + 1)), nullptr) << "of the second writer";
  EXPECT_EQ(world.at(0).find(path(kPlacesOfWriterMax)), nullptr);
  for (std::size_t i = 0; i < 5; ++i) world.erase(0, path(i));
  world.run(5s);
  EXPECT_NE(world.at(0).find(path(kPlacesOfWriterMax)), nullptr);
  EXPECT_EQ(world.nodes[0]->looks, 2u) << "not more often than needed";
}

TEST(Tensors, an_upload_that_its_client_left_is_over_after_a_minute_and_leaves_nothing) {
  World world(1);
  const Buffer model = random_bytes(3 * kChunk, 1);
  const Manifest manifest = make_manifest(model).value();
  Tensors& tensors = world.at(0);
  const UploadId upload = tensors.begin(encode_manifest(manifest), node_id(0), world.now).value();
  EXPECT_EQ(tensors.give(upload, 0, chunk_of(model, manifest, 1), world.now).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tensors.give(upload, 7, chunk_of(model, manifest, 1), world.now).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(tensors.give(upload, 1, chunk_of(model, manifest, 1), world.now));
  EXPECT_EQ(tensors.value_of(upload).error().code, Code::kFailedPrecondition);
  world.run(61s);
  EXPECT_EQ(tensors.give(upload, 0, chunk_of(model, manifest, 0), world.now).error().code, Code::kNotFound);
  EXPECT_EQ(tensors.store().bytes_named(), 0u);
  EXPECT_TRUE(world.nodes[0]->disk.empty());
}

TEST(Tensors, what_a_neighbour_says_it_has_counts_only_if_it_was_asked) {
  OneByHand one;
  std::vector<Manifest> manifests;
  for (std::uint64_t i = 0; i < 9; ++i) {
    manifests.push_back(make_manifest(random_bytes(100, i)).value());
    one.want(fmt::format("{}", i), manifests.back());
  }
  ASSERT_EQ(one.queries, 8u) << "the ninth has not had its turn";
  one.have(manifests[8], false);
  one.have(manifests[8], true);
  EXPECT_TRUE(one.asked.empty());
  one.world.run(30s);
  one.have(manifests[8], true);
  ASSERT_EQ(one.asked.size(), 1u) << "turns went round";
  EXPECT_EQ(one.asked[0].chunk, manifests[8].chunks[0]);
}

TEST(Tensors, pieces_owed_from_before_count_once_when_their_chunk_is_wanted_again) {
  OneByHand one;
  const Buffer model = random_bytes(4 * wire::kPieceBytes, 1);
  const Manifest manifest = manifest_of(model, 4 * wire::kPieceBytes);
  one.want("m", manifest);
  one.have(manifest, true);
  one.answer(model, manifest);
  ASSERT_EQ(one.asked.size(), 2u);
  one.world.erase(1, "m");
  one.answer(model, manifest);
  one.want("m", manifest);  // while its third piece is on its way
  one.have(manifest, true);
  while (!one.asked.empty()) one.answer(model, manifest);
  EXPECT_EQ(one.world.at(1).stats().lies, 0u);
  EXPECT_EQ(one.world.read(1, "m"), model);
}

TEST(Tensors, one_that_refused_is_asked_for_nothing_of_the_tensor_before_it_answers_a_query) {
  OneByHand one;
  const Buffer model = random_bytes(8 * kChunk, 1);
  const Manifest manifest = make_manifest(model).value();
  one.want("m", manifest);
  one.have(manifest, true);
  one.answer({}, manifest);
  const std::size_t queries = one.queries;
  for (int i = 0; i < 5; ++i) one.have(manifest, true);
  EXPECT_TRUE(one.asked.empty()) << "nobody asked";
  one.world.run(2s);
  EXPECT_GT(one.queries, queries);
  one.have(manifest, true);
  while (!one.asked.empty()) one.answer(model, manifest);
  EXPECT_EQ(one.world.read(1, "m"), model);
}

TEST(Tensors, any_bytes_from_a_peer_are_an_error_or_an_answer) {
  EXPECT_TRUE(rc::check([](std::uint8_t type, const Buffer& body, std::uint64_t seed) {
    World world(2, 16u << 20, seed);
    world.link(0, 1);
    world.tell(1, "m", encode_manifest(make_manifest(random_bytes(kChunk, 1)).value()), node_id(0));
    const auto number = static_cast<wire::MessageType>(42 + type % 4);
    (void)world.at(1).on_message(node_id(0), number, body, world.now);
    world.run(20ms);
  }));
}

// A neighbour that knows all names there are and says anything with them.
struct Mischief {
  World& world;
  std::vector<Buffer> tensors;
  std::vector<Manifest> manifests;

  std::uint64_t draw(std::uint64_t below) { return world.prng.below(below); }
  wire::PieceName name(Bytes* chunk = nullptr) {
    const std::size_t which = draw(manifests.size());
    const std::size_t number = draw(manifests[which].chunks.size());
    const ChunkName real = manifests[which].name(number);
    if (chunk != nullptr) *chunk = chunk_of(tensors[which], manifests[which], number);
    const std::uint32_t bytes = draw(8) == 0 ? static_cast<std::uint32_t>(draw(2u << 20)) : real.bytes;
    return {real.hash, bytes, static_cast<std::uint32_t>(draw(draw(8) == 0 ? 40 : 2))};
  }
  Buffer have() {
    wire::ChunkHave have{trust::digest(encode_manifest(manifests[draw(manifests.size())])), Buffer(draw(4))};
    if (draw(16) == 0) have.chunks.resize(draw(2 * kChunksMax / 8));
    for (auto& byte : have.chunks) byte = static_cast<std::uint8_t>(world.prng.next());
    return wire::encode(have);
  }
  Buffer want() {
    wire::ChunkWant want;
    for (std::uint64_t i = draw(6); i > 0; --i) want.pieces.push_back(name());
    return wire::encode(want);
  }
  Buffer piece() {
    Bytes chunk;
    wire::ChunkPiece piece{name(&chunk), std::nullopt};
    const std::size_t from = std::size_t{piece.name.number} * wire::kPieceBytes;
    if (draw(3) > 0 && from < chunk.size()) {
      piece.bytes = to_buffer(chunk.subspan(from, std::min<std::size_t>(chunk.size() - from, wire::kPieceBytes)));
      if (draw(16) == 0) piece.bytes->resize(draw(2 * std::uint64_t{wire::kPieceBytes}));
    }
    return wire::encode(piece);
  }
  void say(std::size_t to) {
    using Type = wire::MessageType;
    const std::uint64_t what = draw(8);
    const Type type = what < 3 ? Type::kChunkHave : what == 3 ? Type::kChunkWant : Type::kChunkPiece;
    const Buffer body = what < 3 ? have() : what == 3 ? want() : piece();
    (void)world.at(to).on_message(node_id(0), type, body, world.now);
  }
};

TEST(Tensors, whatever_a_neighbour_says_with_true_names_the_rest_comes_from_an_honest_one) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(3, 16u << 20, seed);
    world.tamper = [](std::size_t from, std::size_t, env::Send&) { return from != 0; };
    Mischief mischief{world, {}, {}};
    world.link(0, 1);
    for (std::uint64_t i = 0; i < 10; ++i) {
      mischief.tensors.push_back(random_bytes(1 + world.prng.below(4 * kChunk), 100 * seed + i));
      mischief.manifests.push_back(make_manifest(mischief.tensors.back()).value());
      world.put(2, fmt::format("{}", i), mischief.tensors.back(), {1});
    }
    for (const Instant until = world.now + 2min; world.now < until;) {
      for (std::uint64_t count = world.prng.below(40); count > 0; --count) {
        mischief.say(1);
        if (world.prng.below(4) == 0) world.run(5ms);
      }
      world.run(Duration(1ms) * static_cast<std::int64_t>(world.prng.below(3000)));
      const std::string path = fmt::format("{}", world.prng.below(10));
      const Buffer value = encode_manifest(mischief.manifests[world.prng.below(10)]);
      if (world.prng.below(4) == 0) world.erase(1, path);
      if (world.prng.below(2) == 0) world.tell(1, path, value, node_id(2));
      if (world.prng.below(8) == 0) world.link(0, 1);
    }
    world.link(1, 2);
    for (std::size_t i = 0; i < 10; ++i) {
      world.tell(1, fmt::format("{}", i), encode_manifest(mischief.manifests[i]), node_id(2));
    }
    for (std::size_t i = 0; i < 10; ++i) {
      const auto whole = [&] { return world.read(1, fmt::format("{}", i)) == mischief.tensors[i]; };
      EXPECT_TRUE(world.run_until(whole, 5min)) << "seed " << seed << ", tensor " << i;
    }
  }
}

}  // namespace
}  // namespace sedge::mesh
