# The engine, llama-cpp-python: for which processor it is built, and how. Part of lib.sh.
# shellcheck shell=bash

engines='auto cpu cuda vulkan metal'

# check_engine NAME: end with one line unless there is such an engine and all that compiling it needs.
check_engine() {
    case $1 in
        auto | cpu) ;;
        cuda) command -v nvcc >/dev/null || fail "--engine cuda needs NVIDIA's CUDA Toolkit: there is no nvcc." ;;
        vulkan)
            has_vulkan_sdk || fail '--engine vulkan needs glslc and the headers of SPIR-V and of Vulkan 1.3.272 or newer; on Debian 13 and Ubuntu 24.04: %s' \
                'sudo apt install glslc libvulkan-dev spirv-headers'
            ;;
        metal) is_mac || fail "--engine metal is for Apple's computers. Choose one of: %s." "$engines" ;;
        *) fail "There is no engine '%s'. Choose one of: %s." "$1" "$engines" ;;
    esac
}

is_mac() { [ "$(uname -s)" = Darwin ]; }

# With a CPU that has AMX, gcc builds a llama.cpp that dies at its first token (llama.cpp #20824, #26954).
avoid_amx() {
    local flags='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
    grep -qs amx_tile /proc/cpuinfo || return 0
    # shellcheck disable=SC2086
    "${CC:-cc}" $flags -E -x c /dev/null >/dev/null 2>&1 || return 0
    export CFLAGS=${CFLAGS-$flags} CXXFLAGS=${CXXFLAGS-$flags}
}

# llama.cpp uses VK_EXT_layer_settings, which the headers have since Vulkan 1.3.272.
has_vulkan_sdk() {
    local folder
    command -v glslc >/dev/null || return 1
    for folder in ${VULKAN_SDK:+"$VULKAN_SDK/include"} /usr/include /usr/local/include; do
        if grep -qs VkLayerSettingEXT "$folder/vulkan/vulkan_core.h"; then return; fi
    done
    return 1
}

# Whether there is a GPU of one of these PCI vendors. Virtual machines have others, of no use to Vulkan.
has_gpu_of() {
    local file vendor
    for file in /sys/class/drm/renderD*/device/vendor; do
        for vendor in "$@"; do
            if [ "$(cat "$file" 2>/dev/null)" = "$vendor" ]; then return; fi
        done
    done
    return 1
}

# The engine for this computer's GPU, where both the GPU and what compiling for it needs are here.
find_engine() {
    if is_mac; then
        echo metal
    elif command -v nvcc >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
        echo cuda
    elif command -v glslc >/dev/null && has_gpu_of 0x1002 0x8086 0x10de; then # AMD, Intel, NVIDIA
        if has_vulkan_sdk; then echo vulkan && return; fi
        say 'There is a GPU, but the headers of Vulkan are missing or older than 1.3.272 (docs/install.md).'
        echo cpu
    else
        echo cpu
    fi
}

# The engine that is in the venv, by its libraries.
installed_engine() {
    local folder name file
    for folder in "$venv"/lib/python*/site-packages/llama_cpp/lib "$venv"/Lib/site-packages/llama_cpp/lib; do
        if [ ! -d "$folder" ]; then continue; fi
        for name in cuda vulkan metal; do
            for file in "$folder"/*ggml-"$name"*; do
                if [ -e "$file" ]; then echo "$name" && return; fi
            done
        done
        echo cpu && return
    done
}

# has_engine NAME: whether the venv has it; where no NAME is given, any will do.
has_engine() {
    local name=$1
    if [ "$name" = auto ]; then name=$(find_engine 2>/dev/null); fi
    [ -z "$name" ] || [ "$(installed_engine)" = "$name" ]
}

# install_engine NAME [OPTION…]: build llama-cpp-python, or take it from the cache of pip or uv. Without a NAME, keep
# what is there.
install_engine() {
    local name=$1 asked=$1 before
    shift
    before=$(installed_engine)
    if [ -z "$name" ]; then name=$before; fi
    case $name in '' | auto) name=$(find_engine) ;; esac
    avoid_amx
    say 'Engine: llama.cpp for %s. --engine chooses another (one of: %s).' "$name" "$engines"
    if [ -n "$before" ] && [ "$before" != "$name" ]; then set -- --force-reinstall --no-deps "$@"; fi
    if build_engine "$name" "$@"; then return; fi
    case $asked in '' | auto) if [ "$name" = cpu ]; then installation_failed; fi ;; *) installation_failed ;; esac
    say 'Compiling for %s failed (see %s); going on with the CPU alone.' "$name" "$log"
    build_engine cpu "$@" || installation_failed
}

# build_engine NAME [OPTION…]: the quick way, and where that fails, the way of llama-cpp-python's authors.
build_engine() {
    local flags='' quick wanted
    case $1 in
        cuda) flags=-DGGML_CUDA=ON ;;
        vulkan) flags=-DGGML_VULKAN=ON ;;
    esac
    shift
    flags="$flags ${CMAKE_ARGS:-}"
    # The caches of pip and uv don't tell builds apart: what they keep is the build without flags.
    if [ "$flags" != ' ' ]; then set -- --no-cache-dir "$@"; fi
    wanted=$(grep -m 1 -o 'llama-cpp-python[^"]*' "$root/pyproject.toml")
    quick=$root/scripts/engine.cmake
    if command -v cygpath >/dev/null; then quick=$(cygpath -m "$quick"); fi
    quick="-DCMAKE_PROJECT_llama_cpp_INCLUDE='${quick//\'/\'\\\'\'}'"
    if CMAKE_ARGS="$quick $flags" run_logged pip install --verbose "$@" "$wanted"; then return; fi
    grep -q 'Configuring CMake' "$log" || installation_failed
    say 'The quick way to compile llama.cpp failed (see %s); trying the plain one, which takes twice as long.' "$log"
    CMAKE_ARGS=$flags run_logged pip install --verbose "$@" "$wanted"
}
