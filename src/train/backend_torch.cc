// The only file that includes libtorch (16 s to compile): ATen's matrix product on tensors that borrow our memory.
// bf16 products go to oneDNN, which on AVX512-BF16 does about four times the work of the float BLAS; on a processor
// without such instructions it emulates them and float is faster, so the choice follows the processor.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "train/backend.h"

namespace sedge::train {
namespace {

template <class T>
at::Tensor borrow(const Matrix<T>& m, at::ScalarType type) {
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  return at::from_blob(const_cast<void*>(static_cast<const void*>(m.data)), {size(m.rows), size(m.cols)},
                       {size(m.row_stride), size(m.col_stride)}, at::TensorOptions().dtype(type));
}

template <class T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& c, at::ScalarType type) {
  SEDGE_ASSERT(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols && c.col_stride == 1);
  at::Tensor out = borrow(c, type);
  at::mm_out(out, borrow(a, type), borrow(b, type));
}

class TorchBackend final : public Backend {
 public:
  explicit TorchBackend(std::size_t threads) : threads_(threads) { at::set_num_threads(static_cast<int>(threads)); }

  void product(const Matrix<float>& a, const Matrix<float>& b, const Matrix<float>& c) override {
    const at::InferenceMode no_graph;
    multiply(a, b, c, at::kFloat);
  }
  void product(const Matrix<Bf16>& a, const Matrix<Bf16>& b, const Matrix<Bf16>& c) override {
    const at::InferenceMode no_graph;
    multiply(a, b, c, at::kBFloat16);
  }
  void parallel(std::size_t count, const std::function<void(std::size_t, std::size_t)>& task) override {
    at::parallel_for(0, static_cast<std::int64_t>(count), 1, [&task](std::int64_t begin, std::int64_t end) {
      const auto worker = static_cast<std::size_t>(at::get_thread_num());
      for (auto i = begin; i < end; ++i) task(static_cast<std::size_t>(i), worker);
    });
  }
  std::size_t threads() const override { return threads_; }
  bool prefers_bf16() const override {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;  // Debian's libtorch for ARM has no bf16 kernels
#endif
  }

 private:
  std::size_t threads_;
};

}  // namespace

std::unique_ptr<Backend> make_torch_backend(std::size_t threads) { return std::make_unique<TorchBackend>(threads); }

}  // namespace sedge::train
