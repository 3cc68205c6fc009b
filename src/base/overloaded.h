// One visitor of several lambdas, for std::visit.
#pragma once

namespace sedge {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

}  // namespace sedge
