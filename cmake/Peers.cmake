# Other messaging systems under the same measurement as Sedge; `./dev bench peers` builds and runs them. What is not
# installed is left out here, and the table that run.py prints says which package brings it.

add_custom_target(sedge-bench-peers DEPENDS sedge-bench)

add_library(sedge_bench_client STATIC EXCLUDE_FROM_ALL bench/peers/client.cc)
target_link_libraries(sedge_bench_client PUBLIC sedge_bench_measure)

# sedge_bench_peer(NAME LIBRARY): bench/peers/NAME.cc as peers/bench-NAME.
function(sedge_bench_peer NAME LIBRARY)
  add_executable(bench-${NAME} EXCLUDE_FROM_ALL bench/peers/${NAME}.cc)
  set_target_properties(bench-${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/peers)
  target_link_libraries(bench-${NAME} PRIVATE sedge_bench_client ${LIBRARY})
  add_dependencies(sedge-bench-peers bench-${NAME})
endfunction()

pkg_check_modules(MOSQUITTO QUIET IMPORTED_TARGET libmosquitto)
if(MOSQUITTO_FOUND)
  sedge_bench_peer(mosquitto PkgConfig::MOSQUITTO)
endif()

pkg_check_modules(NATS QUIET IMPORTED_TARGET libnats)
if(NATS_FOUND)
  sedge_bench_peer(nats PkgConfig::NATS)
endif()

pkg_check_modules(CYCLONEDDS QUIET IMPORTED_TARGET CycloneDDS)
find_program(IDLC idlc)
if(CYCLONEDDS_FOUND AND IDLC)
  enable_language(C)  # idlc's output
  set(idl ${CMAKE_BINARY_DIR}/peers/idl)
  file(MAKE_DIRECTORY ${idl})
  add_custom_command(OUTPUT ${idl}/message.c ${idl}/message.h
    COMMAND ${IDLC} -l c -o ${idl} ${CMAKE_SOURCE_DIR}/bench/peers/message.idl
    DEPENDS ${CMAKE_SOURCE_DIR}/bench/peers/message.idl)
  add_library(bench-dds-message STATIC EXCLUDE_FROM_ALL ${idl}/message.c ${idl}/message.h)
  target_include_directories(bench-dds-message SYSTEM PUBLIC ${idl})
  target_compile_options(bench-dds-message PRIVATE -w)
  target_link_libraries(bench-dds-message PUBLIC PkgConfig::CYCLONEDDS)
  sedge_bench_peer(dds bench-dds-message)
endif()
