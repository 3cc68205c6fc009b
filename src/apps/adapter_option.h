// What options --lora say: a file, and how much of it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/adapter.h"
#include "platform/adapter_options.h"

namespace sedge::apps {

struct AdapterFile {
  std::string path;
  double scale = 1;
};

// "FILE" or "FILE=SCALE": what stands behind the last '=' is a scale if it is a number.
AdapterFile parse_adapter_file(const std::string& text);

// In the order in which they are stacked. Errors: those of engine::Adapter::load.
Result<std::vector<engine::AdapterUse>> load_adapters(const std::shared_ptr<const engine::Model>& model,
                                                      std::span<const std::string> options);

// "NAME=FILE", "NAME=FILE=SCALE", "NAME@BASE=FILE", ...: what is offered as a model NAME. Those of one name are
// stacked. Errors: InvalidArgument (of another form, or two bases).
Result<std::vector<platform::AdapterOptions>> parse_offered_adapters(std::span<const std::string> options);

}  // namespace sedge::apps
