#include "model/safetensors.h"

#include <cstring>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::model {
namespace {

Buffer file_of(std::string_view header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  Buffer bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, sizeof length);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  for (std::size_t i = 0; i < data_bytes; ++i) bytes[8 + header.size() + i] = static_cast<std::uint8_t>(i);
  return bytes;
}

std::string error_of(std::string_view header, std::size_t data_bytes) {
  const Buffer bytes = file_of(header, data_bytes);
  const auto file = SafetensorsFile::parse(bytes);
  return file ? "" : file.error().message;
}

TEST(Safetensors, tensors_are_views_in_the_order_of_their_bytes) {
  const Buffer bytes =
      file_of(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},)"
              R"("a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},)"
              R"("none":{"dtype":"F32","shape":[0,9],"data_offsets":[8,8]},)"
              R"("one":{"dtype":"F32","shape":[],"data_offsets":[16,20]}}   )",
              20);
  const SafetensorsFile file = SafetensorsFile::parse(bytes).value();
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "none");
  EXPECT_EQ(file.find("a")->type, DType::kBF16);
  EXPECT_EQ(file.find("a")->shape, (std::vector<std::uint64_t>{2, 2}));
  EXPECT_EQ(file.find("b")->type, std::nullopt);
  EXPECT_EQ(file.find("b")->data[0], 8);
  EXPECT_EQ(file.find("one")->data.size(), 4u);
  EXPECT_EQ(file.find("absent"), nullptr);
}

// Random tensors laid end to end: the header says exactly what comes back.
TEST(Safetensors, any_tiling_of_the_data_is_read) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    std::string header = "{";
    std::size_t at = 0;
    std::vector<std::size_t> sizes;
    for (std::uint64_t i = 0; i < 1 + prng.below(5); ++i) {
      const std::size_t rows = prng.below(4), cols = prng.below(4);
      const std::size_t size = rows * cols * 2;
      header += fmt::format(R"({}"t{}":{{"dtype":"F16","shape":[{},{}],"data_offsets":[{},{}]}})", i == 0 ? "" : ",", i,
                            rows, cols, at, at + size);
      at += size;
      sizes.push_back(size);
    }
    const Buffer bytes = file_of(header + "}", at);
    const SafetensorsFile file = SafetensorsFile::parse(bytes).value();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      RC_ASSERT(file.find(fmt::format("t{}", i))->data.size() == sizes[i]);
    }
  }));
}

TEST(Safetensors, a_bad_prefix_is_named_with_its_offset) {
  EXPECT_EQ(SafetensorsFile::parse(as_bytes("1234")).error().message,
            "header length at offset 0: needs 8 bytes, the file has 4");
  EXPECT_EQ(SafetensorsFile::parse(as_bytes("\xff\xff\xff\xff\xff\xff\xff\xff")).error().code,
            Code::kResourceExhausted);
  Buffer cut = file_of("{}", 0);
  cut.pop_back();
  EXPECT_EQ(SafetensorsFile::parse(cut).error().message, "header at offset 8: needs 2 bytes, the file has 1 left");
  EXPECT_EQ(error_of("[1]", 0), "safetensors header is not a JSON object");
  EXPECT_EQ(error_of(R"({"a":)", 0), "safetensors header: JSON ends too early, at offset 5");
  EXPECT_NE(error_of(R"({"a":[[[[[[1]]]]]]})", 0), "");  // deeper than any header
}

TEST(Safetensors, a_contradiction_names_the_tensor_and_the_field) {
  const auto one = [](std::string_view fields) { return error_of(fmt::format("{{\"t\":{{{}}}}}", fields), 8); };
  const std::string_view p = "safetensors header: tensor 't': ";
  EXPECT_EQ(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), "");
  EXPECT_EQ(one(R"("shape":[2],"data_offsets":[0,8])"), fmt::format("{}field 'dtype' is missing", p));
  EXPECT_EQ(one(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])"),
            fmt::format("{}field 'dtype' 'F33' is not known", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
            fmt::format("{}field 'data_offsets' spans 8 bytes, its shape needs 12", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"),
            fmt::format("{}field 'shape' [0] is not a number from 0 to 2^63 - 1", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"),
            fmt::format("{}field 'shape' overflows", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])"),
            fmt::format("{}field 'shape' is not an array of at most 8 numbers", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
            fmt::format("{}field 'data_offsets' is not [begin, end]", p));
  EXPECT_EQ(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"),
            fmt::format("{}field 'data_offsets' ends at 12, the file has 8 bytes of data", p));
  EXPECT_EQ(error_of(R"({"t":3})", 0), fmt::format("{}its entry is not a JSON object", p));
}

TEST(Safetensors, gaps_overlaps_and_names_that_stand_twice_are_refused) {
  const auto two = [](std::string_view first, std::string_view second, int a, int b) {
    return error_of(fmt::format(R"({{"{}":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}},)"
                                R"("{}":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}})",
                                first, a, a + 4, second, b, b + 4),
                    8);
  };
  EXPECT_EQ(two("a", "b", 0, 4), "");
  EXPECT_EQ(two("a", "b", 4, 0), "");
  EXPECT_EQ(two("a", "b", 0, 2), "safetensors header: tensor 'b' begins at data offset 2, the one before ends at 4");
  EXPECT_EQ(two("a", "b", 0, 0), "safetensors header: tensor 'b' begins at data offset 0, the one before ends at 4");
  EXPECT_EQ(two("a", "a", 0, 4), "safetensors header: 'a' stands twice, the second at offset 53");
  EXPECT_EQ(two("a", "\\u0061", 0, 4), "safetensors header: 'a' stands twice, the second at offset 53");
  EXPECT_EQ(error_of("{}", 1), "safetensors header: the tensors end at data offset 0, the data at 1");
}

}  // namespace
}  // namespace sedge::model
