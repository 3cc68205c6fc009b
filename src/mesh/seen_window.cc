#include "mesh/seen_window.h"

namespace sedge::mesh {

bool SeenWindow::contains(std::uint64_t number) const {
  if (number > top_) return false;
  return top_ - number >= kNumbers || !missing_ || !(*missing_)[number % kNumbers];
}

void SeenWindow::add(std::uint64_t number) {
  constexpr std::uint64_t kLookEvery = 64;  // whether still something is missing
  const bool late = number <= top_;
  if (late && top_ - number >= kNumbers) return;
  if (!late) {
    if (number - top_ > 1 && !missing_) missing_ = std::make_unique<std::bitset<kNumbers>>();
    if (missing_ && number - top_ >= kNumbers) missing_->set();
    // What the window slides over has not been seen yet.
    for (std::uint64_t n = top_ + 1; missing_ && n < number && number - top_ < kNumbers; ++n)
      missing_->set(n % kNumbers);
    top_ = number;
  }
  if (!missing_) return;
  missing_->reset(number % kNumbers);
  if ((late || number % kLookEvery == 0) && missing_->none()) missing_.reset();
}

}  // namespace sedge::mesh
