"""What this computer and this build of llama.cpp can do, asked without importing llama_cpp."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import psutil

# Backends that run on the CPU or on another computer; every other one offloads.
_CPU_BACKENDS = ("base", "cpu", "blas", "rpc", "zdnn", "zendnn")


def physical_cores() -> int:
    """Cores without hyper-threads, of those that this process may use."""
    affinity = getattr(psutil.Process(), "cpu_affinity", tuple)  # macOS has none
    try:
        allowed = len(affinity())
    except psutil.Error:
        allowed = 0
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(physical, allowed or physical)


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
