"""What this computer has: memory, cores, a GPU, free disk space."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

GIB = 1 << 30
RESERVE = 3 << 29  # 1.5 GiB for the system and its desktop
COMFORT = 0.6
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""The memory limit of the container that this runs in: cgroup v2, v1."""

Fit = Literal["comfortably", "tightly", "no"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes, physical cores that may be used, and the name of a GPU ("" without one)."""

    memory: int
    available: int
    n_cores: int
    gpu: str

    def fit(self, need: int) -> Fit:
        """Whether a model that needs `need` bytes fits: comfortably, tightly, or not."""
        if need > self.memory - min(RESERVE, self.memory // 4):
            return "no"
        return "comfortably" if need <= min(COMFORT * self.memory, self.memory - 2 * GIB) else "tightly"


def look() -> Machine:
    memory = psutil.virtual_memory()
    limit = memory_limit(*CGROUP_LIMITS) or memory.total
    return Machine(min(limit, memory.total), min(limit, memory.available), physical_cores(), find_gpu())


def physical_cores() -> int:
    """Cores without hyper-threads, of those that this process may use."""
    affinity = getattr(psutil.Process(), "cpu_affinity", tuple)  # macOS has none
    try:
        allowed = len(affinity())
    except psutil.Error:
        allowed = 0
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(physical, allowed or physical)


def find_gpu() -> str:
    """The GPU that llama.cpp could use, found by its driver; "" if there is none."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple GPU"
    if shutil.which("nvidia-smi") and (
        Path("/proc/driver/nvidia/version").exists() or platform.system() == "Windows"
    ):
        return "NVIDIA GPU"
    if Path("/dev/kfd").exists():
        return "AMD GPU"
    return ""


def free_disk(folder: Path) -> int:
    """Bytes that are free where `folder` is, or will be."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def memory_limit(*files: Path) -> int:
    """The limit in bytes that the first of these cgroup files sets, 0 without one."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return 0


def has_avx2() -> bool:
    """Whether this x86 CPU has AVX2, by what the system says."""
    if platform.system() == "Windows":
        import ctypes

        processor_features = getattr(ctypes, "windll").kernel32  # noqa: B009 - there on Windows only
        return bool(processor_features.IsProcessorFeaturePresent(40))  # PF_AVX2_INSTRUCTIONS_AVAILABLE
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.system() == "Darwin"  # every Mac with x86 that runs a current macOS
