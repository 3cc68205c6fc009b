// Runs a fuzz target over its committed corpus with any compiler: every file as it is, then each with a
// fixed set of cuts and byte flips, so that even without libFuzzer a reader meets hostile neighbours of
// every seed. Deterministic: the same corpus runs the same inputs everywhere.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kMutationsMax = 512;  // a file: keeps the slowest target under a second

void run_with_neighbours(std::vector<std::uint8_t> input) {
  LLVMFuzzerTestOneInput(input.data(), input.size());
  const std::size_t step = input.size() / kMutationsMax + 1;
  for (std::size_t cut = 0; cut < input.size(); cut += step) {
    const std::vector<std::uint8_t> prefix(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(cut));
    LLVMFuzzerTestOneInput(prefix.data(), prefix.size());  // own memory: a sanitizer sees reads past the cut
  }
  for (std::size_t at = 0; at < input.size(); at += step) {
    for (const std::uint8_t flip : {std::uint8_t{0x01}, std::uint8_t{0x80}, std::uint8_t{0xff}}) {
      input[at] = static_cast<std::uint8_t>(input[at] ^ flip);
      LLVMFuzzerTestOneInput(input.data(), input.size());
      input[at] = static_cast<std::uint8_t>(input[at] ^ flip);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      std::fprintf(stderr, "no corpus at %s: every fuzz target needs seeds there\n", argv[i]);
      return 1;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      run_with_neighbours({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
      ++files;
    }
  }
  if (files == 0) {
    std::fprintf(stderr, "the corpus is empty: every fuzz target needs seeds\n");
    return 1;
  }
  std::printf("%zu seeds and their neighbours replayed\n", files);
  return 0;
}
