"""On a library built for AMX, keep the weights out of AMX's buffers.

Built by gcc 12 on a CPU with AMX, llama.cpp dies of SIGSEGV at `ldtilecfg` in its first inference
(ggml-org/llama.cpp #20824, #26954). Without the extra buffer types it never gets there. That also gives up
repacking, so it is done only where the library has AMX in it.
"""

from __future__ import annotations

from typing import Any


def avoid() -> None:
    """Wrap `llama_cpp.llama_cpp.llama_model_default_params`, where every model's parameters begin."""
    import llama_cpp.llama_cpp as library

    if b"AMX_INT8 = 1" not in library.llama_print_system_info():
        return
    default_params = library.llama_model_default_params

    def without_extra_buffers() -> Any:
        model_params = default_params()
        model_params.use_extra_bufts = False
        return model_params

    library.llama_model_default_params = without_extra_buffers
