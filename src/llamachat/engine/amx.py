"""Guard: on a library built for AMX, keep the weights out of AMX's buffers.

Built by gcc 12 on a CPU with AMX, llama.cpp dies of SIGSEGV at `ldtilecfg` in its first inference
(ggml-org/llama.cpp #20824, #26954). Without the extra buffer types it never gets there. That also gives up
repacking, so it is done only where the library has AMX in it.
"""

from __future__ import annotations

from typing import Any

from llamachat.core.engine_options import EngineOptions
from llamachat.errors import ServerError


def install(options: EngineOptions) -> None:
    """Wrap `llama_cpp.llama_cpp.llama_model_default_params`, where every model's parameters begin."""
    import llama_cpp.llama_cpp as library

    if b"AMX_INT8 = 1" not in library.llama_print_system_info():
        return
    default_params = getattr(library, "llama_model_default_params", None)
    if default_params is None or not hasattr(default_params(), "use_extra_bufts"):
        raise ServerError(
            "This llama-cpp-python has no `use_extra_bufts`, which it needs on a CPU with AMX.",
            "Build it with CFLAGS and CXXFLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16', or use --plain.",
        )

    def without_extra_buffers() -> Any:
        params = default_params()
        params.use_extra_bufts = False
        return params

    library.llama_model_default_params = without_extra_buffers
