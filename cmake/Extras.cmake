# What stands beside the rooms: the optional trainer, examples, and the tests that need whole programs.

# The trainer is a program of its own, so that libtorch never weighs on a node. All of it but one file
# (backend_torch.cc) is plain C++ in two libraries, which are built and tested everywhere.
sedge_sources(train_sources ${CMAKE_SOURCE_DIR}/src/train)
set(heron_sources ${train_sources})
list(FILTER heron_sources INCLUDE REGEX "/heron/")
list(FILTER train_sources EXCLUDE REGEX "/heron/|/main\\.cc$|/backend_torch\\.cc$")

# Sums may be reordered and fused: training's arithmetic is deterministic on one instruction set, not across them.
set(fused_flags -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math
    -ffinite-math-only -Wno-psabi)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/fused_portable.cc PROPERTIES COMPILE_OPTIONS "${fused_flags}")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/fused_avx2.cc PROPERTIES
  COMPILE_OPTIONS "${fused_flags};-mavx2;-mfma")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/fused_avx512.cc PROPERTIES
  COMPILE_OPTIONS "${fused_flags};-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mfma;-mprefer-vector-width=512")

foreach(fused portable avx2 avx512)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/fused_${fused}.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endforeach()

if(heron_sources)
  add_library(sedge_heron STATIC ${heron_sources})
  target_include_directories(sedge_heron PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(sedge_heron PUBLIC sedge_base)
  sedge_precompiled(sedge_heron room)
endif()
add_library(sedge_train STATIC ${train_sources})
target_link_libraries(sedge_train PUBLIC sedge_model sedge_base $<TARGET_NAME_IF_EXISTS:sedge_heron>)
target_link_libraries(sedge_train PRIVATE tomlplusplus::tomlplusplus)
sedge_precompiled(sedge_train room)
sedge_tests(train ${CMAKE_SOURCE_DIR}/src/train sedge_train)

if(SEDGE_TRAIN AND NOT SEDGE_SANITIZE)
  find_package(Torch QUIET)
  if(TORCH_FOUND)
    add_executable(sedge-train ${CMAKE_SOURCE_DIR}/src/train/main.cc ${CMAKE_SOURCE_DIR}/src/train/backend_torch.cc)
    set_target_properties(sedge-train PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    target_link_libraries(sedge-train PRIVATE sedge_train ${TORCH_LIBRARIES} CLI11::CLI11)
    message(STATUS "sedge-train: with libtorch ${Torch_VERSION}")
  else()
    message(STATUS "sedge-train: left out (libtorch is not installed); everything else builds without it")
  endif()
endif()

# The demo: real processes, measured from outside.
add_executable(sedge-demo demo/demo.cc demo/process.cc src/apps/control_client.cc)
set_target_properties(sedge-demo PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_include_directories(sedge-demo PRIVATE demo)
target_compile_definitions(sedge-demo PRIVATE SEDGE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
target_link_libraries(sedge-demo PRIVATE sedge_api Threads::Threads)

# Exact match of a heron on evaluation files, through the engine.
add_executable(heron-eval tools/heron_eval.cc)
set_target_properties(heron-eval PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(heron-eval PRIVATE sedge_heron sedge_engine)
if(EXISTS ${CMAKE_SOURCE_DIR}/models/heron/heron.gguf)
  add_test(NAME whole.heron_answers_a_chat
    COMMAND sedge run ${CMAKE_SOURCE_DIR}/models/heron/heron.gguf "scout two, hold position" --chat --local)
  set_tests_properties(whole.heron_answers_a_chat PROPERTIES LABELS whole
    PASS_REGULAR_EXPRESSION "^{\"do\":\"hold\",\"who\":\"scout-2\"}")
  add_test(NAME whole.demo COMMAND sedge-demo ${CMAKE_BINARY_DIR}/demo)
  set_tests_properties(whole.demo PROPERTIES LABELS whole RUN_SERIAL ON TIMEOUT ${SEDGE_TEST_TIMEOUT})
  add_test(NAME whole.heron_understands_the_demo_sentences
    COMMAND heron-eval ${CMAKE_SOURCE_DIR}/models/heron/heron.gguf ${CMAKE_SOURCE_DIR}/models/heron/eval/demo.jsonl
      --mistakes 5 --at-least 0.95)
endif()
# Our side of the comparison of tokenizers with llama.cpp's.
add_executable(tokenizer-peer tests/interop/tokenizer_main.cc)
set_target_properties(tokenizer-peer PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(tokenizer-peer PRIVATE sedge_model)
add_test(NAME interop.tokenizers COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/tokenizers.sh $<TARGET_FILE:tokenizer-peer>)
set_tests_properties(interop.tokenizers PROPERTIES LABELS interop SKIP_RETURN_CODE 77 TIMEOUT ${SEDGE_TEST_TIMEOUT})
foreach(peer llama_cpp architectures quantized adapters embeddings openai)  # stock programs from npm; skipped where it is out of reach
  add_test(NAME interop.${peer} COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/${peer}.sh $<TARGET_FILE:sedge>)
  set_tests_properties(interop.${peer} PROPERTIES LABELS interop SKIP_RETURN_CODE 77 TIMEOUT ${SEDGE_TEST_TIMEOUT})
endforeach()
add_test(NAME whole.fleet COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/fleet.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.fleet PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.rotation COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/rotation.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.rotation PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.quorum COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/quorum.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.quorum PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.adapters COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/adapters.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.adapters PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.model_info COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/model_info.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.model_info PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.tensors COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/tensors.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.tensors PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.memory COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/memory.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.memory PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT} SKIP_RETURN_CODE 77)
# Every scenario of up to a hundred nodes; thousand.toml, day.toml and large/ take minutes and are played by hand, the first
# here with fewer.
file(GLOB scenarios CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/scenarios/*.toml)
list(FILTER scenarios EXCLUDE REGEX "/(thousand|day)\\.toml$")
foreach(file ${scenarios})
  get_filename_component(scenario ${file} NAME_WE)
  add_test(NAME scenario.${scenario} COMMAND sedge sim ${file})
  set_tests_properties(scenario.${scenario} PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
endforeach()
add_test(NAME scenario.thousand_smaller COMMAND sedge sim ${CMAKE_SOURCE_DIR}/tests/scenarios/thousand.toml --nodes 100)
set_tests_properties(scenario.thousand_smaller PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME scenario.radio_over_quic
  COMMAND sedge sim ${CMAKE_SOURCE_DIR}/tests/scenarios/radio.toml --nodes 20 --quic)
set_tests_properties(scenario.radio_over_quic PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.written COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/written.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.written PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_test(NAME whole.interfaces COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/interfaces.sh $<TARGET_FILE:sedge>)
set_tests_properties(whole.interfaces PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT} SKIP_RETURN_CODE 77)

# The C++ library: include/sedge/ and nothing of src/ is seen by who links it. The name `sedge` is the program's.
add_library(sedge_lib INTERFACE)
target_include_directories(sedge_lib INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_link_libraries(sedge_lib INTERFACE $<LINK_ONLY:sedge_api>)
add_library(sedge::sedge ALIAS sedge_lib)
add_executable(example-robot examples/robot.cc)
set_target_properties(example-robot PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples OUTPUT_NAME robot)
target_link_libraries(example-robot PRIVATE sedge::sedge)
add_test(NAME whole.robot COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/robot_test.sh
  $<TARGET_FILE:sedge> $<TARGET_FILE:example-robot>)
set_tests_properties(whole.robot PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT} SKIP_RETURN_CODE 77)
add_executable(example-typed-robot examples/typed_robot.cc)
set_target_properties(example-typed-robot PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples
  OUTPUT_NAME typed_robot)
target_link_libraries(example-typed-robot PRIVATE sedge::sedge)
add_test(NAME whole.typed_robot COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/typed_robot_test.sh
  $<TARGET_FILE:sedge> $<TARGET_FILE:example-typed-robot>)
set_tests_properties(whole.typed_robot PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_executable(example-camera examples/camera.cc)
set_target_properties(example-camera PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples
  OUTPUT_NAME camera)
target_link_libraries(example-camera PRIVATE sedge::sedge)
add_test(NAME whole.camera COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/camera_test.sh
  $<TARGET_FILE:sedge> $<TARGET_FILE:example-camera>)
set_tests_properties(whole.camera PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})
add_executable(example-kalman examples/kalman.cc)
set_target_properties(example-kalman PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples
  OUTPUT_NAME kalman)
target_link_libraries(example-kalman PRIVATE sedge::sedge)
sedge_tests(examples ${CMAKE_SOURCE_DIR}/examples)
add_test(NAME whole.kalman COMMAND ${CMAKE_SOURCE_DIR}/tests/whole/kalman_test.sh
  $<TARGET_FILE:sedge> $<TARGET_FILE:example-kalman>)
set_tests_properties(whole.kalman PROPERTIES LABELS whole TIMEOUT ${SEDGE_TEST_TIMEOUT})

# Messages between two processes: through the library, and through other systems. `./dev bench messages` and
# `./dev bench peers` build and run them.
add_library(sedge_bench_measure STATIC EXCLUDE_FROM_ALL bench/measure.cc demo/process.cc)
target_include_directories(sedge_bench_measure PUBLIC bench demo)
target_link_libraries(sedge_bench_measure PUBLIC sedge_base CLI11::CLI11 Threads::Threads)
add_executable(sedge-bench EXCLUDE_FROM_ALL bench/messages.cc bench/frames.cc)
set_target_properties(sedge-bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(sedge-bench PRIVATE sedge_bench_measure sedge::sedge)
add_dependencies(sedge-bench sedge)
# The engine, and the limits of the machine: `./dev bench engine` lets it take turns with llama.cpp.
add_executable(sedge-bench-engine EXCLUDE_FROM_ALL bench/engine.cc bench/engine_limits.cc bench/engine_sharing.cc
  bench/engine_urgent.cc)
set_target_properties(sedge-bench-engine PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_include_directories(sedge-bench-engine PRIVATE bench)
target_link_libraries(sedge-bench-engine PRIVATE sedge_platform CLI11::CLI11 Threads::Threads)
# Many writers of one map: `./dev bench crdts` lets it take turns with libraries for the same purpose.
add_executable(sedge-bench-crdts EXCLUDE_FROM_ALL bench/crdts.cc)
set_target_properties(sedge-bench-crdts PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(sedge-bench-crdts PRIVATE sedge_mesh)
# One node of a fleet that hears a topic: `./dev bench gossip` starts many, and as many of gossipsub.
add_executable(sedge-bench-gossip EXCLUDE_FROM_ALL bench/gossip.cc)
set_target_properties(sedge-bench-gossip PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(sedge-bench-gossip PRIVATE sedge_platform Threads::Threads)
include(cmake/Peers.cmake)
