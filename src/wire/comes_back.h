// What every fuzz target of a message asks: bytes that decode have that one encoding. Only fuzz targets include this.
#pragma once

#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "wire/codec.h"

namespace sedge::wire {

template <class T>
std::optional<T> comes_back(Bytes bytes) {
  auto message = decode<T>(bytes);
  if (!message) return std::nullopt;
  SEDGE_ASSERT(encode(*message) == to_buffer(bytes));
  return std::move(*message);
}

}  // namespace sedge::wire
