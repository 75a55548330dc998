# troupe_library(NAME places...): a static library of every .cpp under the folders (or that matches the file
# patterns) given, with our warnings.
# Files that end in _avx2, _avx512, _avx512bf16 or _amx are compiled with those instruction sets and no others are: the
# binary must run on any x86-64. -ffp-contract=off everywhere, because fused multiply-adds are part of
# the numerics and are written out (design: batch invariance).
function(troupe_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Werror -ffp-contract=off
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-restrict>)  # false in GCC 12: std::variant, PR105651
  if(TROUPE_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${TROUPE_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${TROUPE_SANITIZE})
  endif()
endfunction()

function(troupe_library target)
  set(sources)
  foreach(place ${ARGN})
    if(place MATCHES "\\.cpp$")
      file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${place})
    else()
      file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${place}/*.cpp)
    endif()
    list(APPEND sources ${found})
  endforeach()
  if(NOT sources)  # a folder of headers only
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${target}_headers_only.cpp "")
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/${target}_headers_only.cpp)
  endif()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  troupe_warnings(${target})
  foreach(source ${sources})
    if(source MATCHES "_avx2\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    elseif(source MATCHES "_(avx512|avx512bf16|amx)\\.cpp$")
      set(options
        "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mfma;-mf16c;-mprefer-vector-width=512")
      if(source MATCHES "bf16")
        list(APPEND options -mavx512bf16)
      elseif(source MATCHES "_amx")
        list(APPEND options -mavx512bf16 -mavx512fp16 -mavx512vbmi -mamx-tile -mamx-bf16 -mamx-int8)
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
    endif()
  endforeach()
endfunction()

# troupe_test(FOLDER libraries...): one Catch2 executable, test_FOLDER, of tests/FOLDER/*_test.cpp.
# A test finds the repository by TROUPE_SOURCE_DIR, and what scripts/test prepared by TROUPE_BUILD_DIR.
function(troupe_test folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  string(REPLACE "/" "_" name ${folder})
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE troupe_test_main ${ARGN})
  target_compile_definitions(test_${name} PRIVATE
    TROUPE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TROUPE_BUILD_DIR="${PROJECT_BINARY_DIR}")
  troupe_warnings(test_${name})
  target_compile_options(test_${name} PRIVATE -Wno-conversion -Wno-parentheses)
  add_test(NAME ${name} COMMAND test_${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
endfunction()
