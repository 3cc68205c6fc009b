# Headers that nearly every file reads, parsed once: half of a build's time went into them. A file that forgot an include
# is found by `./dev check`, which compiles headers and changed files without them.

option(SEDGE_PRECOMPILED "Parse common headers once" ON)

set(SEDGE_COMMON_HEADERS <algorithm> <array> <cmath> <cstdint> <cstring> <deque> <filesystem> <functional> <limits> <map>
  <memory> <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector>
  <fmt/format.h> <boost/json/array.hpp> <boost/json/object.hpp> <boost/json/value.hpp>)

if(SEDGE_PRECOMPILED)
  # Else ccache would not look behind a precompiled header, and hit for none of the files that use one.
  if(CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endif()

# sedge_precompiled(TARGET LIKE [HEADER...]): TARGET's files start from the common headers and those named. Targets of
# one LIKE share one precompiled header, so they are to be compiled with the same options.
function(sedge_precompiled TARGET LIKE)
  if(NOT SEDGE_PRECOMPILED)
    return()
  endif()
  get_property(first GLOBAL PROPERTY SEDGE_PRECOMPILED_${LIKE})
  if(first)
    target_precompile_headers(${TARGET} REUSE_FROM ${first})
  else()
    target_precompile_headers(${TARGET} PRIVATE ${SEDGE_COMMON_HEADERS} ${ARGN})
    set_property(GLOBAL PROPERTY SEDGE_PRECOMPILED_${LIKE} ${TARGET})
  endif()
endfunction()
