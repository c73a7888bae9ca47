"""What this computer has: memory, cores, a GPU, free disk space."""

from __future__ import annotations

import math
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import psutil

from llamachat.language import N_

GIB = 1 << 30
RESERVE = 3 << 29  # 1.5 GiB for the system and its desktop
COMFORT = 0.6
CGROUPS = Path("/sys/fs/cgroup")
MEMORY_LIMIT = ("memory", "memory.limit_in_bytes", "memory.max")
CPU_LIMIT = ("cpu", "cpu.cfs_quota_us", "cpu.max")
CPUS = Path("/sys/devices/system/cpu")
FAST = 0.8
"""Of the highest speed: from there on, a core is a fast one."""

Fit = Literal["comfortably", "tightly", "no"]
FITS = (N_("comfortably"), N_("tightly"), N_("no"))


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
    limit = memory_limit(cgroup_files(*MEMORY_LIMIT)) or memory.total
    return Machine(min(limit, memory.total), min(limit, memory.available), usable_cores(), find_gpu())


def usable_cores(*, round_up: bool = False) -> int:
    """As many physical cores as this process may keep busy: of 1.5 CPUs that its container has, one.

    A second thread would use up the time of both before the end of each period, and then all wait. A prompt
    is read faster nevertheless with `round_up`. See docs/engine.md.
    """
    return whole_cores(physical_cores(), cpu_limit(cgroup_files(*CPU_LIMIT)), round_up=round_up)


def whole_cores(cores: int, granted: float, *, round_up: bool) -> int:
    """How many of `cores` may be kept busy if the time of `granted` CPUs is, 0 without a limit."""
    if not granted:
        return cores
    return min(cores, math.ceil(granted) if round_up else max(int(granted), 1))


def physical_cores() -> int:
    """Cores without hyper-threads, of those that this process may use; where some are slow, the fast ones."""
    affinity = getattr(psutil.Process(), "cpu_affinity", tuple)  # macOS has none
    try:
        allowed = len(affinity())
    except psutil.Error:
        allowed = 0
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(physical, allowed or physical, fast_cores(CPUS) or physical)


def fast_cores(folder: Path) -> int:
    """Cores of the fast kind, of the CPUs in `folder` (Linux's sysfs); 0 if there are no slow ones.

    All threads wait for the slowest at each barrier. On ARM the kernel gives a capacity, on x86 the highest
    frequency, which differs by some percent among cores of one kind, too.
    """
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        speeds = {cpu: int(_said(cpu / name) or 0) for cpu in folder.glob("cpu[0-9]*")}
        fast = [cpu for cpu, speed in speeds.items() if speed >= FAST * max(speeds.values())]
        if len(fast) < len(speeds):
            return len({_said(cpu / "topology/core_cpus_list") or str(cpu) for cpu in fast})
    return 0


def _said(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def busy_cores(seconds: float) -> float:
    """Cores in use by all programs, measured for so long, in which this one only waits."""
    return psutil.cpu_percent(interval=seconds) / 100 * (psutil.cpu_count() or 1)


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


def cgroup_files(controller: str, v1_name: str, v2_name: str, text: str | None = None) -> list[Path]:
    """The files with a limit on this process: those of its cgroup and of every group around it.

    `text` is /proc/self/cgroup, a line `ID:CONTROLLERS:PATH` for each hierarchy (cgroups(7)). Within a
    container the path may be the host's; then only the root of the mount is there.
    """
    try:
        text = Path("/proc/self/cgroup").read_text() if text is None else text
    except OSError:
        return []
    files = []
    for line in text.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount, name = (CGROUPS / controller, v1_name) if controllers else (CGROUPS, v2_name)
        group = PurePosixPath(path.lstrip("/"))
        files += [mount / part / name for part in (group, *group.parents)]
    return list(dict.fromkeys(files))


def memory_limit(files: Iterable[Path]) -> int:
    """The smallest limit in bytes that these cgroup files set, 0 without one."""
    said = map(_said, files)
    return min((int(text) for text in said if text.isdigit() and int(text) < 1 << 60), default=0)


def cpu_limit(files: Iterable[Path]) -> float:
    """The fewest CPUs whose time these cgroup files grant, 0 without a limit.

    Each has the CPU time of a period, whose length is behind it (v2) or in a file beside it (v1).
    """
    pairs = ([*_said(file).split(), _said(file.with_name("cpu.cfs_period_us")), ""][:2] for file in files)
    limits = (int(quota) / int(period) for quota, period in pairs if quota.isdigit() and period.isdigit())
    return min(limits, default=0.0)


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
