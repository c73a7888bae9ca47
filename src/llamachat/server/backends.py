"""What this build of llama.cpp can do, found out without importing llama_cpp."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Backends that run on the CPU or on another computer; every other one offloads.
_CPU_BACKENDS = ("base", "cpu", "blas", "rpc", "zdnn", "zendnn")


def has_own_memory() -> bool:
    """Whether there is a GPU with memory of its own, of which nobody here can see how much is free."""
    return bool(gpu_backends()) and sys.platform != "darwin"


def gpu_backends() -> tuple[str, ...]:
    """The GPU backends that llama.cpp was built with, like "vulkan", by the libraries next to the others."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return ()
    stems = (
        file.name.split(".")[0].removeprefix("lib")
        for file in (Path(spec.origin).parent / "lib").glob("*ggml-*")
    )
    names = {stem.split("-")[1] for stem in stems if stem.startswith("ggml-")}
    return tuple(sorted(names.difference(_CPU_BACKENDS)))
