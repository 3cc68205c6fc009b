#include "model/gguf.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/stat.h>

#include "base/prng.h"
#include "model/testing/tiny_llama.h"
#include "support/temp_folder.h"
#include "support/test_data.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

// A file built by hand, so that tests can lie where the writer would not.
class Raw {
 public:
  Raw& u32(std::uint32_t value) { return number(value); }
  Raw& u64(std::uint64_t value) { return number(value); }
  Raw& text(std::string_view value) {
    u64(value.size());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  Raw& head(std::uint64_t tensors, std::uint64_t entries) { return u32(0x46554747).u32(3).u64(tensors).u64(entries); }
  Raw& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
              std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t dimension : shape) u64(dimension);
    return u32(type).u64(offset);
  }
  Raw& zeros_to(std::size_t multiple, std::size_t more) {
    bytes_.resize((bytes_.size() + multiple - 1) / multiple * multiple + more);
    return *this;
  }
  std::string error() const {
    const auto file = GgufFile::parse(bytes_);
    return file ? "" : file.error().message;
  }
  Bytes bytes() const { return bytes_; }

 private:
  template <class T>
  Raw& number(T value) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(&value);
    bytes_.insert(bytes_.end(), at, at + sizeof value);
    return *this;
  }
  Buffer bytes_;
};

fs::path scratch(std::string_view name) {
  static const test::TempFolder folder;  // until the process ends
  return folder / name;
}

GgufWriter one_of_everything() {
  GgufWriter writer;
  writer.set("a.string", "text with \x1b[31m and ü");
  writer.set("a.u32", std::uint32_t{7});
  writer.set("a.i32", std::int32_t{-7});
  writer.set("a.u64", ~std::uint64_t{0});
  writer.set("a.f32", 1.5f);
  writer.set("a.bool", true);
  writer.set("a.strings", std::vector<std::string>{"", "b", "c c"});
  writer.set("a.floats", std::vector<float>{1, 2});
  writer.set("a.ints", std::vector<std::int32_t>{-1, 2});
  return writer;
}

TEST(Gguf, every_kind_of_value_comes_back) {
  const Buffer bytes = one_of_everything().to_bytes().value();
  const GgufFile file = GgufFile::parse(bytes).value();
  EXPECT_EQ(file.get_string("a.string").value(), "text with \x1b[31m and ü");
  EXPECT_EQ(file.get_uint("a.u32").value(), 7u);
  EXPECT_EQ(file.get_int("a.i32").value(), -7);
  EXPECT_EQ(file.get_uint("a.u64").value(), ~std::uint64_t{0});
  EXPECT_EQ(file.get_float("a.f32").value(), 1.5);
  EXPECT_TRUE(file.get_bool("a.bool").value());
  EXPECT_EQ(file.get_strings("a.strings").value(), (std::vector<std::string>{"", "b", "c c"}));
  EXPECT_EQ(file.get_floats("a.floats").value(), (std::vector<float>{1, 2}));
  EXPECT_EQ(file.get_ints("a.ints").value(), (std::vector<std::int64_t>{-1, 2}));
}

TEST(Gguf, a_value_of_another_type_or_range_is_named_with_its_offset) {
  const Buffer bytes = one_of_everything().to_bytes().value();
  const GgufFile file = GgufFile::parse(bytes).value();
  EXPECT_EQ(file.get_uint("missing").error().message, "metadata key 'missing' is missing");
  EXPECT_EQ(file.get_uint("a.f32").error().message.find("value of 'a.f32' at offset "), 0u);
  EXPECT_FALSE(file.get_uint("a.i32"));
  EXPECT_FALSE(file.get_int("a.u64"));
  EXPECT_FALSE(file.get_bool("a.u32"));
  EXPECT_FALSE(file.get_string("a.strings"));
  EXPECT_FALSE(file.get_strings("a.string"));
  EXPECT_FALSE(file.get_strings("a.ints"));
  EXPECT_FALSE(file.get_ints("a.floats"));
  EXPECT_FALSE(file.get_floats("a.ints"));
  EXPECT_FALSE(file.get_floats("a.strings"));
}

TEST(Gguf, a_description_is_short_and_harmless_to_a_terminal) {
  const Buffer bytes = one_of_everything().to_bytes().value();
  const GgufFile file = GgufFile::parse(bytes).value();
  EXPECT_EQ(file.find("a.string")->describe(), "\"text with \\x1b[31m and ü\"");
  EXPECT_EQ(file.find("a.string")->describe(9), "\"text with…\"");
  EXPECT_EQ(file.find("a.strings")->describe(), "[3 × string] \"\", \"b\", \"c c\"");
  EXPECT_EQ(file.find("a.ints")->describe(2), "[2 × i32] -1, …");
  EXPECT_EQ(file.find("a.u64")->describe(), "18446744073709551615");
}

// Random metadata and tensors of every type, from one seed.
GgufWriter random_file(std::uint64_t seed) {
  Prng prng(seed);
  GgufWriter writer;
  for (std::uint64_t i = prng.below(6); i > 0; --i) {
    const std::string key = fmt::format("key.{}.{}", i, prng.below(1000));
    const std::vector<std::string> strings(prng.below(4), std::string(prng.below(20), 'x'));
    const std::vector<float> floats = testing::random_values(prng.below(9), prng.next());
    switch (prng.below(5)) {
      case 0:
        writer.set(key, strings);
        break;
      case 1:
        writer.set(key, floats);
        break;
      case 2:
        writer.set(key, prng.next());
        break;
      case 3:
        writer.set(key, prng.chance(0.5));
        break;
      default:
        writer.set(key, std::string(prng.below(40), 'y'));
        break;
    }
  }
  for (std::uint64_t i = prng.below(6); i > 0; --i) {
    const auto& format = kernels::formats()[prng.below(kernels::formats().size())];
    std::vector<std::uint64_t> shape = {format.block_values * (1 + prng.below(3))};
    for (std::uint64_t more = prng.below(4); more > 0; --more) shape.push_back(1 + prng.below(4));
    writer.add_tensor(fmt::format("tensor.{}", i), format.type, shape,
                      [data = testing::random_tensor(format.type, shape, prng.next())](const ByteSink& sink) -> Status {
                        const std::size_t half = data.size() / 2;  // in two pieces: a source may
                        SEDGE_CHECK(sink(Bytes(data).first(half)));
                        return sink(Bytes(data).subspan(half));
                      });
  }
  return writer;
}

TEST(Gguf, what_is_written_is_read_and_what_is_read_is_written_again_byte_for_byte) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    const Buffer bytes = random_file(seed).to_bytes().value();
    RC_ASSERT(bytes == random_file(seed).to_bytes().value());  // deterministic
    const GgufFile file = GgufFile::parse(bytes).value();
    GgufWriter again;
    for (const GgufEntry& entry : file.metadata()) again.copy(entry);
    for (const TensorView& tensor : file.tensors()) {
      RC_ASSERT(tensor.data.size() == tensor.rows() * row_bytes(tensor.type, tensor.cols()).value());
      RC_ASSERT(file.find_tensor(tensor.name) == &tensor);
      again.add_tensor(tensor.name, tensor.type, tensor.shape, tensor.data);
    }
    RC_ASSERT(again.to_bytes().value() == bytes);
  }));
}

TEST(Gguf, a_file_cut_anywhere_is_an_error_that_names_field_and_offset) {
  const Buffer bytes = random_file(1).to_bytes().value();
  const GgufFile whole = GgufFile::parse(bytes).value();
  ASSERT_GT(whole.tensors().size(), 1u);
  ASSERT_GT(whole.metadata().size(), 1u);
  const auto data_end =
      static_cast<std::size_t>(whole.tensors().back().data.data() - bytes.data()) + whole.tensors().back().data.size();
  for (std::size_t size = 0; size < data_end; ++size) {
    const Buffer cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const auto file = GgufFile::parse(cut);
    ASSERT_FALSE(file) << size;
    EXPECT_NE(file.error().message.find("offset "), std::string::npos) << file.error().message;
    EXPECT_EQ(file.error().code, Code::kOutOfRange) << file.error().message;
  }
}

TEST(Gguf, hostile_headers_are_refused_by_field_and_offset) {
  const std::uint64_t huge = ~std::uint64_t{0} / 2;
  EXPECT_EQ(Raw().u32(1).error(), "magic at offset 0: 0x00000001 is not \"GGUF\"");
  EXPECT_EQ(Raw().u32(0x46554747).u32(2).error(), "version at offset 4: 2, this build reads 3");
  EXPECT_EQ(Raw().u32(0x46554747).u32(0x03000000).error(),
            "version at offset 4: a big-endian file; convert it to little-endian");
  EXPECT_EQ(Raw().head(huge, 0).error(),
            "tensor count at offset 8: 9223372036854775807 cannot fit into the 8 bytes left");
  EXPECT_EQ(Raw().head(0, huge).error(),
            "metadata count at offset 16: 9223372036854775807 cannot fit into the 0 bytes left");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(13).zeros_to(1, 99).error(),
            "value of 'k' at offset 33: 13 is no value type");
  EXPECT_EQ(Raw().head(0, 1).text("").u32(0).zeros_to(1, 99).error(), "key of metadata entry 0 at offset 24: is empty");
  EXPECT_EQ(Raw().head(0, 1).u64(huge).zeros_to(1, 99).error(),
            "key of metadata entry 0 at offset 24: length 9223372036854775807, at most 65535 is allowed");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(8).u64(huge).error(),
            "value of 'k' at offset 45: needs 9223372036854775807 bytes, the file has 0 left");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(9).u32(9).u64(1).error(),
            "value of 'k' at offset 37: arrays of arrays are not read");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(9).u32(77).u64(1).error(),
            "value of 'k' at offset 37: 77 is no element type");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(9).u32(10).u64(huge / 4).zeros_to(1, 64).error(),
            "value of 'k' at offset 41: 2305843009213693951 cannot fit into the 64 bytes left");
  EXPECT_EQ(Raw().head(0, 1).text("k").u32(7).u32(2).error(),
            "value of 'k' at offset 37: 2 is neither true (1) nor false (0)");
}

TEST(Gguf, contradictions_between_entries_are_refused) {
  EXPECT_EQ(Raw().head(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).error(),
            "metadata key 'k' stands twice, the second value at offset 54");
  for (const std::uint32_t alignment : {0u, 4u, 24u, 1u << 21}) {
    EXPECT_NE(Raw()
                  .head(0, 1)
                  .text("general.alignment")
                  .u32(4)
                  .u32(alignment)
                  .error()
                  .find("is not a power of two from 8 to 1048576"),
              std::string::npos);
  }
  EXPECT_NE(Raw().head(0, 1).text("general.alignment").u32(8).text("32").error().find("should be an integer"),
            std::string::npos);
}

TEST(Gguf, hostile_tensors_are_refused_by_name) {
  const std::uint64_t half = std::uint64_t{1} << 32;
  const auto one = [](const std::vector<std::uint64_t>& shape, std::uint32_t type, std::uint64_t offset) {
    return Raw().head(1, 0).tensor("t", shape, type, offset).zeros_to(32, 128).error();
  };
  EXPECT_EQ(one({32}, 0, 0), "");
  EXPECT_EQ(one({}, 0, 0), "tensor 't' at offset 33: 0 dimensions, 1 to 4 are allowed");
  EXPECT_EQ(one({1, 1, 1, 1, 1}, 0, 0), "tensor 't' at offset 33: 5 dimensions, 1 to 4 are allowed");
  EXPECT_EQ(one({4, 0}, 0, 0), "tensor 't' at offset 45: dimension 1 of 0 is zero or makes the tensor too large");
  EXPECT_EQ(one({half, half}, 0, 0),
            "tensor 't' at offset 45: dimension 1 of 4294967296 is zero or makes the tensor too large");
  EXPECT_EQ(one({half, half / 2 - 1}, 0, 0), "tensor 't' at data offset 0: its size overflows");
  EXPECT_TRUE(
      one({32}, 15, 0).starts_with("tensor 't' at offset 45: tensor type Q8_K (15) is not read (these are: F32"))
      << one({32}, 15, 0);
  EXPECT_TRUE(one({32}, 99, 0).starts_with("tensor 't' at offset 45: tensor type 99 is not read (these are: F32, F16"));
  EXPECT_EQ(one({32}, 12, 0),
            "tensor 't' at data offset 0: a row of 32 values is not a whole number of Q4_K blocks (256 values)");
  EXPECT_EQ(one({33}, 8, 0),
            "tensor 't' at data offset 0: a row of 33 values is not a whole number of Q8_0 blocks (32 values)");
  EXPECT_EQ(one({1}, 0, 4), "tensor 't' at data offset 4: not a multiple of the alignment 32");
  EXPECT_EQ(one({32}, 0, 32),
            "tensor 't' at data offset 32: its 128 bytes end past the 128 bytes of data (data starts at offset 64)");
  EXPECT_EQ(one({1}, 0, ~std::uint64_t{0} - 31),
            "tensor 't' at data offset 18446744073709551584: its 4 bytes end past the 128 bytes of data (data starts "
            "at offset 64)");
}

TEST(Gguf, tensors_that_share_a_name_or_bytes_are_refused) {
  EXPECT_EQ(Raw().head(2, 0).tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32).zeros_to(32, 64).error(),
            "tensor 't' stands twice, as tensor 0 and tensor 1 (descriptions end at offset 90)");
  EXPECT_EQ(Raw().head(2, 0).tensor("a", {9}, 0, 0).tensor("b", {1}, 0, 32).zeros_to(32, 64).error(),
            "tensors 'a' and 'b' overlap at offset 128");
  const std::string long_name(65, 'n');
  EXPECT_NE(Raw().head(1, 0).tensor(long_name, {1}, 0, 0).zeros_to(32, 64).error(), "");
}

TEST(Gguf, a_larger_alignment_moves_the_data) {
  Raw raw;
  raw.head(1, 1).text("general.alignment").u32(4).u32(128).tensor("t", {1}, 0, 0).zeros_to(128, 4);
  const GgufFile file = GgufFile::parse(raw.bytes()).value();
  EXPECT_EQ(file.alignment(), 128u);
  EXPECT_EQ(file.find_tensor("t")->data.data() - raw.bytes().data(), 128);
}

TEST(GgufWriter, refuses_what_a_reader_would_refuse) {
  const std::vector<float> values(64);
  const Bytes data(reinterpret_cast<const std::uint8_t*>(values.data()), std::size_t{64} * 4);
  const auto error = [&](auto fill) {
    GgufWriter writer;
    fill(writer);
    const auto bytes = writer.to_bytes();
    return bytes ? "" : bytes.error().message;
  };
  EXPECT_EQ(error([&](auto& w) { w.set("k", 1.0f), w.set("k", 2.0f); }), "metadata key 'k' is given twice");
  EXPECT_EQ(
      error([&](auto& w) { w.add_tensor("t", DType::kF32, {64}, data), w.add_tensor("t", DType::kF32, {64}, data); }),
      "tensor 't' is given twice");
  EXPECT_EQ(error([&](auto& w) { w.add_tensor("t", DType::kF32, {63}, data); }),
            "tensor 't': gives more than its 252 bytes");
  EXPECT_EQ(error([&](auto& w) { w.add_tensor("t", DType::kF32, {65}, data); }),
            "tensor 't': 256 bytes given, F32 [65] needs 260");
  EXPECT_EQ(error([&](auto& w) { w.add_tensor("t", DType::kQ8_0, {33}, data); }),
            "tensor 't': a row of 33 values is not a whole number of Q8_0 blocks (32 values)");
  EXPECT_EQ(error([&](auto& w) { w.add_tensor("t", DType::kF32, {8, 0}, data); }),
            "tensor 't': [8, 0] is no shape for a tensor");
  EXPECT_EQ(error([&](auto& w) { w.add_tensor("t", DType::kF32, {1u << 31, 1ull << 40}, data); }),
            "tensor 't': [2147483648, 1099511627776] overflows");
}

TEST(GgufWriter, a_failed_write_leaves_nothing_and_keeps_what_was_there) {
  const fs::path path = scratch("kept.gguf");
  ASSERT_TRUE(one_of_everything().write(path));
  const auto size = fs::file_size(path);
  GgufWriter broken;
  broken.add_tensor("t", DType::kF32, {1}, [](const ByteSink&) -> Status { return fail(Code::kUnknown, "no data"); });
  EXPECT_EQ(broken.write(path).error().message, "tensor 't': no data");
  EXPECT_EQ(fs::file_size(path), size);
  EXPECT_FALSE(fs::exists(path.string() + ".part"));
  EXPECT_FALSE(broken.write("/nonexistent/folder/x.gguf"));
  fs::remove(path);
}

TEST(MappedFile, only_a_regular_file_is_opened) {
  EXPECT_EQ(MappedFile::open("/nonexistent").error().code, Code::kNotFound);
  EXPECT_EQ(MappedFile::open("/").error().code, Code::kInvalidArgument);
  const fs::path fifo = scratch("fifo");
  fs::remove(fifo);
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::open(fifo).error().code, Code::kInvalidArgument);  // and it does not hang
  fs::remove(fifo);
  const fs::path empty = scratch("empty");
  std::ofstream(empty).close();
  EXPECT_TRUE(MappedFile::open(empty).value()->bytes().empty());
  EXPECT_EQ(GgufFile::open(empty).error().message,
            empty.string() + ": magic at offset 0: needs 4 bytes, the file has 0 left");
  fs::remove(empty);
}

// Resident pages of this process that are a file's.
std::size_t file_pages() {
  std::size_t total = 0, resident = 0, shared = 0;
  std::ifstream("/proc/self/statm") >> total >> resident >> shared;
  return shared;
}

TEST(MappedFile, forgotten_pages_leave_memory_and_come_again_when_touched) {
  const fs::path path = scratch("pages");
  Buffer content(std::size_t{16} << 20);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::uint8_t>(i * 7919 >> 8);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  const auto file = MappedFile::open(path).value();
  if (file_pages() == 0) GTEST_SKIP() << "no /proc/self/statm to see resident pages in";
  EXPECT_TRUE(std::ranges::equal(file->bytes(), content));
  const std::size_t touched = file_pages();
  file->forget(file->bytes().subspan(100, content.size() - 200));
  EXPECT_LT(file_pages() + 1000, touched);
  EXPECT_TRUE(std::ranges::equal(file->bytes(), content));
  file->forget(file->bytes().last(1));
  file->forget(file->bytes().first(0));
  fs::remove(path);
}

TEST(MappedFile, views_outlive_the_name_and_the_move) {
  const fs::path path = scratch("moved.gguf");
  ASSERT_TRUE(one_of_everything().write(path));
  GgufFile first = GgufFile::open(path).value();
  fs::remove(path);
  const GgufFile second = std::move(first);
  EXPECT_EQ(second.get_uint("a.u32").value(), 7u);
}

// Three files of one tensor each.
std::vector<fs::path> write_shards(const std::string& stem) {
  const std::vector<float> values(8, 1.5f);
  const Bytes data(reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float));
  std::vector<fs::path> paths;
  for (std::uint32_t i = 0; i < 3; ++i) {
    GgufWriter writer;
    if (i == 0) writer.set("general.architecture", "llama");
    writer.set("split.no", i);
    writer.set("split.count", std::uint32_t{3});
    writer.set("split.tensors.count", std::int32_t{3});
    writer.add_tensor(fmt::format("t{}", i), DType::kF32, {8}, data);
    paths.push_back(scratch(fmt::format("{}-{:05}-of-00003.gguf", stem, i + 1)));
    EXPECT_TRUE(writer.write(paths.back()));
  }
  return paths;
}

TEST(GgufShards, the_first_file_opens_them_all) {
  const auto paths = write_shards("whole");
  const GgufFile file = GgufFile::open(paths[0]).value();
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.find_tensor("t2")->data.size(), 32u);
  EXPECT_EQ(file.parts().size(), 3u);
  std::uintmax_t bytes = 0;
  for (const fs::path& path : paths) bytes += fs::file_size(path);
  EXPECT_EQ(file.file_bytes(), bytes);
}

TEST(GgufShards, what_does_not_belong_together_is_refused_by_name) {
  const auto paths = write_shards("broken");
  const auto error = [](const fs::path& path) { return GgufFile::open(path).error().message; };
  EXPECT_EQ(error(paths[1]), paths[1].string() +
                                 ": this is part 2 of 3: name the first, which ends with "
                                 "'-00001-of-00003.gguf'");
  const fs::path renamed = scratch("other.gguf");
  fs::copy_file(paths[0], renamed, fs::copy_options::overwrite_existing);
  EXPECT_NE(error(renamed).find("must be named '...-00001-of-00003.gguf'"), std::string::npos) << error(renamed);
  fs::copy_file(paths[1], paths[2], fs::copy_options::overwrite_existing);
  EXPECT_EQ(error(paths[0]),
            fmt::format("{}: {}: says that it is part 2 of 3, not 3 of 3", paths[0].string(), paths[2].string()));
  (void)write_shards("broken");
  fs::remove(paths[2]);
  EXPECT_EQ(GgufFile::open(paths[0]).error().code, Code::kNotFound);
  fs::remove(renamed), fs::remove(paths[0]), fs::remove(paths[1]);
}

TEST(GgufShards, a_tensor_in_two_files_is_refused) {
  const auto paths = write_shards("twice");
  GgufWriter writer;
  writer.set("split.no", std::uint32_t{2});
  writer.set("split.count", std::uint32_t{3});
  const std::vector<float> values(8, 1.5f);
  writer.add_tensor("t0", DType::kF32, {8}, Bytes(reinterpret_cast<const std::uint8_t*>(values.data()), 32));
  ASSERT_TRUE(writer.write(paths[2]));
  EXPECT_NE(GgufFile::open(paths[0]).error().message.find("tensor 't0' stands twice"), std::string::npos);
  for (const fs::path& path : paths) fs::remove(path);
}

TEST(Gguf, a_model_made_by_others_is_read) {
  SEDGE_NEED_DATA(path, "llm/stories260K/stories260K.gguf");
  const GgufFile file = GgufFile::open(path).value();
  EXPECT_EQ(file.tensors().size(), 48u);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens").value().size(), 512u);
  EXPECT_EQ(file.get_string("general.architecture").value(), "llama");
}

TEST(Gguf, vocabularies_made_by_others_are_read) {
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp");
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() != ".gguf") continue;
    EXPECT_GT(GgufFile::open(entry.path()).value().get_strings("tokenizer.ggml.tokens").value().size(), 30000u);
  }
}

}  // namespace
}  // namespace sedge::model
