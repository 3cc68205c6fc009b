// What many writers of one map cost whoever merges them: one measurement as a line of JSON. `./dev bench crdts` lets it
// take turns with libraries for the same purpose (bench/peers/crdts.mjs), which do the same work:
//
//   Each of so many writers writes so many times, none having seen another's writes. Entries are chosen in turn, so
//   that each is written twice, or with one round each writer's own once. A reader gets the writes one by one, as
//   bytes, in the order in which they were made. Counted are the bytes of a write, writes a second that the reader
//   merges (theirs also handed over all at once), and bytes an entry of what a newcomer needs to have all.
// Every write of ours is signed by its writer, theirs are not: so bytes are given without signatures (64 each), and
// merging without checking them; what checking takes stands beside it. The first time all is done is not counted.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/json.h"
#include "crdt/op.h"
#include "crdt/replica.h"
#include "mesh/packing.h"
#include "trust/keys.h"
#include "wire/codec.h"
#include "wire/state_messages.h"

namespace sedge::bench {
namespace {

constexpr std::size_t kTogether = 1500;  // writes in a message to a newcomer

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Work {
  std::vector<trust::KeyPair> writers;
  std::vector<Buffer> writes;
  std::size_t entries = 0;
};

Work make_work(std::size_t writers, std::size_t rounds) {
  Work work;
  for (std::size_t i = 0; i < writers; ++i) {
    trust::Seed seed{};
    for (std::size_t k = 0; k < sizeof i; ++k) seed[k] = static_cast<std::uint8_t>(i >> (8 * k));
    work.writers.push_back(trust::KeyPair::from_seed(seed));
  }
  work.entries = std::max(writers, writers * rounds / 2);
  for (std::size_t n = 0; n < writers * rounds; ++n) {
    const trust::KeyPair& by = work.writers[n % writers];
    crdt::Op op;
    op.dot = {trust::node_id_of(by.public_key), BootEpoch{3}, Sequence{1 + n / writers}};
    op.stamp = crdt::Hlc::at_ms(1'700'000'000'000 + n);
    op.path = fmt::format("map/{:05}", n % work.entries);
    op.value = to_buffer(as_bytes(fmt::format("value-{:05}", n)));
    crdt::sign_op(op, by.secret);
    work.writes.push_back(crdt::encode_op(op));
  }
  return work;
}

// Bytes of all that lives, in messages as anti-entropy sends them, without signatures: plain, and packed.
std::pair<std::size_t, std::size_t> newcomer_bytes(const crdt::Replica& replica) {
  std::size_t plain = 0, packed = 0;
  mesh::Packer packer;
  wire::StateOps message;
  const auto send = [&] {
    const Buffer bytes = wire::encode(message);
    const std::size_t signatures = message.ops.size() * sizeof(trust::Signature);
    plain += bytes.size() - signatures;
    const auto fewer = packer.pack(bytes);
    packed += (fewer ? fewer->size() : bytes.size()) - signatures;
    message.ops.clear();
  };
  for (const auto& [dot, op] : replica.living()) {
    message.ops.push_back(crdt::encode_op(op));
    if (message.ops.size() == kTogether) send();
  }
  if (!message.ops.empty()) send();
  return {plain, packed};
}

Result<json::Object> measure(const Work& work) {
  crdt::Replica replica;
  std::size_t bytes = 0;
  double begin = seconds();
  for (const Buffer& write : work.writes) {
    SEDGE_TRY(const crdt::Op op, crdt::decode_op(write));
    SEDGE_CHECK(replica.apply(op));
  }
  const double merging = seconds() - begin;
  if (replica.living().size() != work.entries) return fail(Code::kInternal, "{} entries", replica.living().size());
  begin = seconds();
  for (std::size_t n = 0; n < work.writes.size(); ++n) {
    const Buffer& write = work.writes[n];
    bytes += write.size() - sizeof(trust::Signature);
    trust::Signature signature;
    std::ranges::copy(Bytes(write).last(signature.bytes.size()), signature.bytes.begin());
    const trust::PublicKey& writer = work.writers[n % work.writers.size()].public_key;
    if (!trust::verify(writer, crdt::kOpDomain, crdt::signed_part(write), signature)) {
      return fail(Code::kInternal, "a signature is not good");
    }
  }
  const double checking = seconds() - begin;
  const auto count = static_cast<double>(work.writes.size()), entries = static_cast<double>(work.entries);
  const auto [plain, packed] = newcomer_bytes(replica);
  return json::Object{{"write_bytes", static_cast<double>(bytes) / count},
                      {"merges_per_s", count / merging},
                      {"checked_merges_per_s", count / (merging + checking)},
                      {"newcomer_bytes_an_entry", static_cast<double>(plain) / entries},
                      {"newcomer_packed_bytes_an_entry", static_cast<double>(packed) / entries}};
}

Status run(int argc, char** argv) {
  const std::size_t writers = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1500;
  const std::size_t rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1;
  if (writers == 0 || rounds == 0 || writers * rounds > 100'000) {
    return fail(Code::kInvalidArgument, "usage: sedge-bench-crdts WRITERS ROUNDS, at most 100,000 writes");
  }
  const Work work = make_work(writers, rounds);
  SEDGE_CHECK(measure(work));
  SEDGE_TRY(const json::Object report, measure(work));
  fmt::print("{}\n", json::write(report));
  return {};
}

}  // namespace
}  // namespace sedge::bench

int main(int argc, char** argv) {
  const sedge::Status status = sedge::bench::run(argc, argv);
  if (!status) fmt::print(stderr, "sedge-bench-crdts: {}\n", status.error().message);
  return status ? 0 : 1;
}
