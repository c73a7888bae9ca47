"""What this build of llama.cpp can do, found out without importing llama_cpp."""

from __future__ import annotations

import importlib.util
from pathlib import Path

# Backends that run on the CPU or on another computer; every other one offloads.
_CPU_BACKENDS = ("base", "cpu", "blas", "rpc", "zdnn", "zendnn")


def supports_offload() -> bool:
    """Whether llama.cpp was built with a GPU backend: its library lies next to the others."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return False
    stems = (
        file.name.split(".")[0].removeprefix("lib")
        for file in (Path(spec.origin).parent / "lib").glob("*ggml-*")
    )
    return any(stem.startswith("ggml-") and stem[5:].split("-")[0] not in _CPU_BACKENDS for stem in stems)
