#include "kernels/numeric_class.h"

#include <vector>

#include "kernels/attention/rotation.h"
#include "kernels/kernel_cases.h"
#include "kernels/math.h"
#include "kernels/norm/centre.h"
#include "kernels/rope/rope.h"

namespace sedge::kernels {
namespace {

class Fnv1a {
 public:
  void add(Bytes bytes) {
    for (const std::uint8_t byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001B3ULL;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

// A function of its own for each kind of arguments: all in one, g++ 12 warns of memory that none of them frees.
template <class Args, class Format>
[[gnu::noinline]] Buffer run(Prng& prng, cases::Size size, Format format, void (*kernel)(const Args&)) {
  return cases::Case<Args>(prng, size, format).run(kernel);
}

constexpr cases::Size kSizes[] = {{1, 16, 1}, {9, 64, 4}, {6, 51, 7}, {33, 172, 2}};

}  // namespace

std::uint64_t numeric_fingerprint(const Kernels& kernels) {
  Fnv1a hash;
  Prng prng(0x5ED6E);
  for (const cases::Size& size : kSizes) {
#define SEDGE_HASH(name, Args, format) hash.add(run<Args>(prng, size, format, kernels.name));
    SEDGE_KERNEL_ROWS(SEDGE_HASH)
#undef SEDGE_HASH
  }
  std::vector<float> values;
  for (const double frequency : rope_frequencies(16, 10000.0, {})) {
    for (int position = 0; position < 4000; position += 577) {
      const SinCos angle = sin_cos(position * frequency);
      values.push_back(static_cast<float>(angle.sin));
      values.push_back(static_cast<float>(angle.cos));
    }
  }
  float x = kExpMin;
  while (x < kExpMax) {
    values.push_back(exp_f32(x));
    x += 1.7f;
  }
  std::vector<float> centred(51);
  for (std::size_t count = 1; count <= centred.size(); count += 10) {
    centre(std::span(values).first(count), centred.data());
    values.insert(values.end(), centred.begin(), centred.begin() + static_cast<std::ptrdiff_t>(count));
  }
  for (const std::size_t head_dim : {32u, 96u, 128u}) {
    std::vector<float> heads = cases::random_floats(prng, 2 * head_dim, 4.0);
    rotate(heads.data(), 2, head_dim);
    values.insert(values.end(), heads.begin(), heads.end());
  }
  hash.add(cases::bits_of(values));
  return hash.value();
}

}  // namespace sedge::kernels
