"""`python -m llamachat.engine.probe [MODEL]`: how the engine was built, and one token to prove that it runs.

Prints one line of JSON before it loads the model and one after its token, so that the first is there even
where the second kills the process.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import sys
import time
from typing import Any

from llamachat.engine import amx

PROMPT = "The capital of France is"
_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU


def main(arguments: list[str]) -> None:
    amx.avoid()
    _tell(_build())
    for path in arguments[:1]:
        _tell(_generate(path))


def _build() -> dict[str, Any]:
    import llama_cpp.llama_cpp as library

    return {
        "version": importlib.metadata.version("llama-cpp-python"),
        "system_info": library.llama_print_system_info().decode(),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """The GPUs that this build can use now, as their drivers name them (`ggml-backend.h`)."""
    from llama_cpp._ggml import libggml

    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    libggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    description = libggml.ggml_backend_dev_description
    description.restype = ctypes.c_char_p
    devices = [
        ctypes.c_void_p(libggml.ggml_backend_dev_get(ctypes.c_size_t(index)))
        for index in range(libggml.ggml_backend_dev_count())
    ]
    return [
        description(device).decode(errors="replace")
        for device in devices
        if libggml.ggml_backend_dev_type(device) in _GPU_TYPES
    ]


def _generate(path: str) -> dict[str, Any]:
    import llama_cpp

    started = time.monotonic()
    llama = llama_cpp.Llama(path, n_ctx=256, verbose=False)
    reply: Any = llama(PROMPT, max_tokens=1, temperature=0)
    return {"token": reply["choices"][0]["text"], "seconds": round(time.monotonic() - started, 2)}


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
