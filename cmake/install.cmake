# cmake --install: the troupe program, the static libraries, their headers and a package, so that
# find_package(troupe) and target_link_libraries(app troupe::embedded) work in another project.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(troupe_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/troupe)
set(troupe_libraries troupe_kernels troupe_config troupe_model troupe_text troupe_memory troupe_decode
    troupe_schedule troupe_messages troupe_intake troupe_observe troupe_storage troupe_execute troupe_ports troupe_actors troupe_client)
foreach(library ${troupe_libraries})
  target_include_directories(${library} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/troupe>)
  string(REPLACE "troupe_" "" short_name ${library})
  if(short_name STREQUAL "actors")
    set(short_name embedded)
  endif()
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${short_name})
endforeach()

install(TARGETS ${troupe_libraries} EXPORT troupe_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS troupe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY kernels config runtime actors DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/troupe
        FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY clients/cpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/troupe/clients FILES_MATCHING PATTERN "*.hpp"
        PATTERN wire_socket.hpp EXCLUDE)  # needs cppzmq
# #include <troupe.hpp> for the embedded API.
install(FILES cmake/troupe.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/troupe)
install(EXPORT troupe_targets NAMESPACE troupe:: FILE troupe-targets.cmake DESTINATION ${troupe_package_dir})

configure_package_config_file(cmake/troupe-config.cmake.in ${PROJECT_BINARY_DIR}/troupe-config.cmake
                              INSTALL_DESTINATION ${troupe_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/troupe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/troupe-config.cmake ${PROJECT_BINARY_DIR}/troupe-config-version.cmake
        DESTINATION ${troupe_package_dir})
