// What a node offers beside a model: the model with LoRA adapters, under a name of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sedge::platform {

struct AdapterOptions {
  struct File {
    std::filesystem::path path;
    float scale = 1;
  };
  std::string name;
  std::string base;         // the name of a model that is offered; empty: the only one
  std::vector<File> files;  // stacked in this order
};

}  // namespace sedge::platform
