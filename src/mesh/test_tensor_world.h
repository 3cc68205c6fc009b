// A few nodes with Tensors alone, for its tests: registers that are set by hand, disks that lose what was on its way,
// links of 5 ms and a bandwidth, everything on virtual time.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "mesh/tensors.h"

namespace sedge::mesh::tensor_test {

inline NodeId node_id(std::size_t number) {
  NodeId id;
  id.bytes[15] = static_cast<std::uint8_t>(number + 1);
  return id;
}

// Bytes that do not repeat.
inline Buffer random_bytes(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  Buffer bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(prng.next());
  return bytes;
}

struct Node {
  NodeId id;
  std::unique_ptr<Tensors> tensors;
  std::map<std::string, std::pair<Buffer, NodeId>> entries;  // on its disk, as the state would keep them
  std::map<std::pair<std::string, Buffer>, Buffer> disk;
  struct Commit {
    Instant done{};
    env::Lsn lsn;
    std::vector<env::Record> records;
  };
  std::deque<Commit> writing;
  env::Lsn lsn;
  std::vector<std::string> reports;
  std::uint64_t bytes_in = 0;
  std::size_t errors = 0;
  std::size_t looks = 0;

  void write_down(const std::vector<env::Record>& records) {
    for (const env::Record& record : records) {
      if (record.erase)
        disk.erase({record.bucket, record.key});
      else
        disk[{record.bucket, record.key}] = record.value;
    }
  }
};

class World {
 public:
  explicit World(std::size_t count, std::size_t bytes_max = 64u << 20, std::uint64_t seed = 1)
      : bytes_max_(bytes_max), prng(seed) {
    for (std::size_t i = 0; i < count; ++i) {
      nodes.push_back(std::make_unique<Node>());
      nodes.back()->id = node_id(i);
      boot(i);
    }
  }

  void boot(std::size_t i) {
    Node& node = *nodes[i];
    node.tensors =
        std::make_unique<Tensors>(Tensors::Options{.bytes_max = bytes_max_, .exchange = {.seed = prng.next()}});
    node.tensors->hooks.report = [&node](const std::string& text) { node.reports.push_back(text); };
    for (const auto& [key, value] : node.disk) SEDGE_ASSERT(node.tensors->load(key.first, key.second, value));
    for (const auto& [path, entry] : node.entries) {
      node.tensors->on_entry(path, Bytes(entry.first), entry.second, now);
    }
    node.tensors->start(now);
    for (const auto& [a, b] : links) {
      if (a == i || b == i) up(a, b);
    }
  }
  // Of the batches on their way to the disk any number of the first are there.
  void crash(std::size_t i) {
    Node& node = *nodes[i];
    for (std::size_t kept = prng.below(node.writing.size() + 1); kept > 0; --kept) {
      node.write_down(node.writing.front().records);
      node.writing.pop_front();
    }
    node.writing.clear();
    node.tensors.reset();
    for (const auto& [a, b] : links) {
      if (a == i && nodes[b]->tensors) nodes[b]->tensors->on_link_down(nodes[a]->id, now);
      if (b == i && nodes[a]->tensors) nodes[a]->tensors->on_link_down(nodes[b]->id, now);
    }
  }

  void link(std::size_t a, std::size_t b) {
    links.emplace(std::min(a, b), std::max(a, b));
    up(a, b);
  }
  void unlink(std::size_t a, std::size_t b) {
    links.erase({std::min(a, b), std::max(a, b)});
    nodes[a]->tensors->on_link_down(nodes[b]->id, now);
    nodes[b]->tensors->on_link_down(nodes[a]->id, now);
    std::erase_if(wire_, [&](const auto& one) {
      return (one.second.from == a && one.second.to == b) || (one.second.from == b && one.second.to == a);
    });
  }

  // A register reaches a node.
  void tell(std::size_t i, const std::string& path, const Buffer& value, NodeId writer) {
    nodes[i]->entries[path] = {value, writer};
    nodes[i]->tensors->on_entry(path, Bytes(value), writer, now);
  }
  void erase(std::size_t i, const std::string& path) {
    nodes[i]->entries.erase(path);
    nodes[i]->tensors->on_entry(path, std::nullopt, {}, now);
  }

  // Node i puts the bytes; everybody in `others` hears of it. Returns the register's value.
  Buffer put(std::size_t i, const std::string& path, Bytes bytes, const std::vector<std::size_t>& others) {
    return put(i, path, bytes, make_manifest(bytes).value(), others);
  }
  Buffer put(std::size_t i, const std::string& path, Bytes bytes, const Manifest& manifest,
             const std::vector<std::size_t>& others) {
    Tensors& tensors = *nodes[i]->tensors;
    const UploadId upload = tensors.begin(encode_manifest(manifest), nodes[i]->id, now).value();
    const std::vector<std::uint32_t> lacking = tensors.lacking(upload).value();
    for (const std::uint32_t number : lacking) {
      while (!tensors.give(upload, number, chunk_of(bytes, manifest, number), now)) run(5ms);  // the disk is behind
    }
    const Buffer value = tensors.value_of(upload).value();
    tell(i, path, value, nodes[i]->id);
    tensors.end(upload, now);
    for (const std::size_t other : others) tell(other, path, value, nodes[i]->id);
    return value;
  }

  // What can be read there; none: nothing that is whole.
  std::optional<Buffer> read(std::size_t i, const std::string& path) const {
    const Tensors& tensors = *nodes[i]->tensors;
    const auto version = tensors.complete_at(path);
    if (!version) return std::nullopt;
    Buffer bytes;
    for (std::size_t n = 0; n < version->manifest.chunks.size(); ++n) {
      const Bytes chunk = tensors.chunk(path, version->hash, n).value();
      bytes.insert(bytes.end(), chunk.begin(), chunk.end());
    }
    return bytes;
  }

  void run(Duration time) {
    for (const Instant until = now + time; now < until; now += 5ms) step();
  }
  bool run_until(const std::function<bool()>& reached, Duration limit) {
    for (const Instant until = now + limit; now < until; now += 5ms) {
      if (reached()) return true;
      step();
    }
    return reached();
  }

  Tensors& at(std::size_t i) { return *nodes[i]->tensors; }

  std::vector<std::unique_ptr<Node>> nodes;
  std::set<std::pair<std::size_t, std::size_t>> links;
  Instant now = Instant{} + 1h;
  double loss = 0;
  double bytes_per_s = 12.5e6;
  Duration commit_time = 10ms;
  // What becomes of what one sends; false: it is lost.
  std::function<bool(std::size_t from, std::size_t to, env::Send& send)> tamper;

 private:
  struct Message {
    std::size_t from, to;
    Buffer frame;
  };

  std::size_t index_of(NodeId id) const { return id.bytes[15] - 1u; }

  void up(std::size_t a, std::size_t b) {
    if (!nodes[a]->tensors || !nodes[b]->tensors) return;
    nodes[a]->tensors->on_link_up(nodes[b]->id, now);
    nodes[b]->tensors->on_link_up(nodes[a]->id, now);
  }

  void step() {
    for (auto& node : nodes) {
      while (!node->writing.empty() && node->writing.front().done <= now) {
        node->write_down(node->writing.front().records);
        if (node->tensors) node->tensors->on_durable(node->writing.front().lsn, now);
        node->writing.pop_front();
      }
    }
    while (!wire_.empty() && wire_.begin()->first <= now) {
      const Message message = std::move(wire_.extract(wire_.begin()).mapped());
      Node& node = *nodes[message.to];
      if (!node.tensors || !links.contains(std::minmax(message.from, message.to))) continue;
      node.bytes_in += message.frame.size();
      const auto frame = wire::open_frame(message.frame).value();
      if (!node.tensors->on_message(nodes[message.from]->id, frame.type, frame.body, now)) ++node.errors;
      pump(message.to);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i]->tensors) pump(i);
    }
  }

  void pump(std::size_t i) {
    Node& node = *nodes[i];
    if (node.tensors->take_look(now)) {
      ++node.looks;
      for (const auto& [path, entry] : node.entries) {
        node.tensors->on_entry(path, Bytes(entry.first), entry.second, now);
      }
    }
    for (int turns = 0; node.tensors->next_deadline() <= now; ++turns) {
      SEDGE_ASSERT(turns < 8);  // a deadline that has passed and stays
      node.tensors->on_timer(now);
    }
    env::Outbox out;
    node.tensors->drain(out);
    for (env::Send& send : out.sends) {
      SEDGE_ASSERT(send.frame.size() <= env::kFrameBytesMax);
      const std::size_t to = index_of(send.to);
      if (prng.chance(loss) || (tamper && !tamper(i, to, send))) continue;
      Instant& free = free_[{i, to}];
      free = std::max(free, now) +
             Duration(static_cast<std::int64_t>(static_cast<double>(send.frame.size()) / bytes_per_s * 1e9));
      wire_.emplace(free + 5ms, Message{i, to, std::move(send.frame)});
    }
    if (out.records.empty()) return;
    node.tensors->on_persisting(++node.lsn);
    node.writing.push_back({now + commit_time, node.lsn, std::move(out.records)});
  }

  std::size_t bytes_max_;

 public:
  Prng prng;

 private:
  std::multimap<Instant, Message> wire_;
  std::map<std::pair<std::size_t, std::size_t>, Instant> free_;
};

}  // namespace sedge::mesh::tensor_test
