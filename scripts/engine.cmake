# The libraries that llama-cpp-python loads, and nothing else, in fewer and larger pieces: half the compiler's work.
# scripts/lib.sh gives this file to the build of llama-cpp-python as CMAKE_PROJECT_llama_cpp_INCLUDE.

# The binding's CMakeLists forces this into the cache; a normal variable wins over that (CMP0126, CMP0077).
set(LLAMA_BUILD_COMMON OFF)
set(LLAMA_ALL_WARNINGS OFF)

# Parsing the headers takes longer than compiling most of these sources, so many share one reading of them.
function(llamachat_join target)
    if(NOT TARGET ${target})
        return()
    endif()
    get_target_property(folder ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    list(TRANSFORM sources PREPEND "${folder}/" REGEX "^[^/]")
    set(apart ${sources})
    list(FILTER apart INCLUDE REGEX "${ARGN}")
    set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF)
    set_source_files_properties(${apart} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# What is named here defines what another source of its library defines too, or refuses that source's headers.
cmake_language(DEFER CALL llamachat_join llama "llama-kv-cache-dsv4\\.cpp$")
cmake_language(DEFER CALL llamachat_join mtmd "mtmd-helper.*\\.cpp$")
