// SentencePiece's tokenizer.model: a protobuf message, read by hand. The parts that matter are a dozen fields, and a
// protobuf library (with generated code) would be the largest dependency of the engine for them.
// Grammar: docs/formats/tokenizer.md §4; the field numbers are those of sentencepiece_model.proto.
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "model/vocab.h"

namespace sedge::model {

namespace {

enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// One field of a message: its number, its kind, and its value as a number or as bytes.
struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::kVarint;
  std::uint64_t value = 0;
  Bytes bytes;
  std::size_t offset = 0;  // in the file
};

// Walks the fields of one message. Each costs a byte at least, so the walk ends with the message.
class Message {
 public:
  Message(Bytes bytes, std::size_t offset, const char* name) : bytes_(bytes), base_(offset), name_(name) {}
  explicit Message(const Field& field, const char* name) : Message(field.bytes, field.offset, name) {}

  bool done() const { return at_ == bytes_.size(); }

  Result<Field> next() {
    Field field;
    SEDGE_TRY(const std::uint64_t tag, varint());
    field.number = tag >> 3;
    field.wire = static_cast<Wire>(tag & 7);
    switch (field.wire) {
      case Wire::kVarint: {
        SEDGE_TRY(field.value, varint());
        return field;
      }
      case Wire::kFixed64:
        return fixed(field, 8);
      case Wire::kFixed32:
        return fixed(field, 4);
      case Wire::kBytes: {
        SEDGE_TRY(const std::uint64_t size, varint());
        field.offset = base_ + at_;
        SEDGE_TRY(field.bytes, take(size));
        return field;
      }
    }
    return fail(Code::kDataLoss, "{} at offset {}: wire type {}", name_, base_ + at_, tag & 7);
  }

 private:
  Result<Bytes> take(std::uint64_t size) {
    if (size > bytes_.size() - at_) {
      return fail(Code::kOutOfRange, "{} at offset {}: {} bytes announced, {} are left", name_, base_ + at_, size,
                  bytes_.size() - at_);
    }
    const Bytes taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  Result<Field> fixed(Field field, std::size_t size) {
    SEDGE_TRY(const Bytes little, take(size));
    for (std::size_t i = 0; i < size; ++i) field.value |= std::uint64_t{little[i]} << 8 * i;
    return field;
  }

  Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      SEDGE_TRY(const Bytes byte, take(1));
      value |= std::uint64_t{byte[0] & 0x7fu} << shift;
      if (byte[0] < 0x80) return value;
    }
    return fail(Code::kDataLoss, "{} at offset {}: a number of more than ten bytes", name_, base_ + at_);
  }

  Bytes bytes_;
  std::size_t at_ = 0;
  std::size_t base_;
  const char* name_;
};

Status read_piece(const Field& entry, Vocab& vocab) {
  if (vocab.tokens.size() == kVocabTokensMax) {
    return fail(Code::kResourceExhausted, "pieces at offset {}: more than {}", entry.offset, kVocabTokensMax);
  }
  std::string text;
  float score = 0;
  std::uint64_t type = 1;
  for (Message message(entry, "piece"); !message.done();) {
    SEDGE_TRY(const Field field, message.next());
    if (field.number == 1 && field.wire == Wire::kBytes) text = as_text(field.bytes);
    if (field.number == 2 && field.wire == Wire::kFixed32) {
      score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    }
    if (field.number == 3 && field.wire == Wire::kVarint) type = field.value;
  }
  if (type < 1 || type > 6) return fail(Code::kDataLoss, "piece at offset {}: type {}", entry.offset, type);
  vocab.tokens.push_back(std::move(text));
  vocab.scores.push_back(score);
  vocab.types.push_back(static_cast<std::int32_t>(type));
  return {};
}

// A negative id, written as the ten-byte varint of a two's complement, means that there is no such token.
struct TrainerId {
  std::uint64_t number;
  std::optional<std::int32_t> Vocab::* id;
  std::int32_t otherwise;
};
constexpr auto kTrainerIds =
    std::to_array<TrainerId>({{40, &Vocab::unk, 0}, {41, &Vocab::bos, 1}, {42, &Vocab::eos, 2}});

Status read_trainer(const Field& entry, Vocab& vocab, std::uint64_t& model_type) {
  for (Message message(entry, "trainer_spec"); !message.done();) {
    SEDGE_TRY(const Field field, message.next());
    if (field.wire != Wire::kVarint) continue;
    if (field.number == 3) model_type = field.value;
    for (const TrainerId& row : kTrainerIds) {
      if (row.number != field.number) continue;
      const auto id = static_cast<std::int64_t>(field.value);
      if (id > INT32_MAX) return fail(Code::kDataLoss, "trainer_spec at offset {}: token id {}", entry.offset, id);
      vocab.*row.id = id < 0 ? std::nullopt : std::optional(static_cast<std::int32_t>(id));
    }
  }
  return {};
}

struct Normalizer {
  bool extra_spaces_removed = true;
  bool spaces_escaped = true;
  std::size_t charsmap_bytes = 0;
};

Status read_normalizer(const Field& entry, Vocab& vocab, Normalizer& normalizer) {
  for (Message message(entry, "normalizer_spec"); !message.done();) {
    SEDGE_TRY(const Field field, message.next());
    if (field.number == 2 && field.wire == Wire::kBytes) normalizer.charsmap_bytes = field.bytes.size();
    if (field.wire != Wire::kVarint) continue;
    if (field.number == 3) vocab.add_space_prefix = field.value != 0;
    if (field.number == 4) normalizer.extra_spaces_removed = field.value != 0;
    if (field.number == 5) normalizer.spaces_escaped = field.value != 0;
  }
  return {};
}

Status check_supported(std::uint64_t model_type, const Normalizer& normalizer) {
  constexpr std::uint64_t kBpe = 2;
  if (model_type != kBpe) {
    return fail(Code::kUnimplemented, "trainer_spec.model_type is {}: only BPE (2) is read", model_type);
  }
  if (normalizer.charsmap_bytes > 0) {
    return fail(Code::kUnimplemented, "normalizer_spec has a character map of {} bytes: only the identity is read",
                normalizer.charsmap_bytes);
  }
  if (normalizer.extra_spaces_removed || !normalizer.spaces_escaped) {
    return fail(Code::kUnimplemented,
                "normalizer_spec: only remove_extra_whitespaces = false with "
                "escape_whitespaces = true is read");
  }
  return {};
}

Result<Vocab> read_model(Bytes file) {
  Vocab vocab;
  vocab.model = "llama";
  vocab.pre = "default";
  vocab.add_space_prefix = true;
  vocab.add_bos = true;
  for (const TrainerId& row : kTrainerIds) vocab.*row.id = row.otherwise;
  std::uint64_t model_type = 1;  // the format's default: Unigram
  Normalizer normalizer;
  for (Message message(file, 0, "model"); !message.done();) {
    SEDGE_TRY(const Field field, message.next());
    if (field.wire != Wire::kBytes) continue;
    if (field.number == 1) SEDGE_CHECK(read_piece(field, vocab));
    if (field.number == 2) SEDGE_CHECK(read_trainer(field, vocab, model_type));
    if (field.number == 3) SEDGE_CHECK(read_normalizer(field, vocab, normalizer));
  }
  SEDGE_CHECK(check_supported(model_type, normalizer));
  SEDGE_CHECK(check_vocab(vocab));
  return vocab;
}

}  // namespace

Result<Vocab> vocab_from_sentencepiece(Bytes file) {
  auto vocab = read_model(file);
  if (!vocab) return in_context("tokenizer.model", std::move(vocab).error());
  return vocab;
}

}  // namespace sedge::model
