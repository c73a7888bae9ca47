"""What this computer and this build can do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from llamachat.hub import hardware
from llamachat.server import backends


def test_offload_is_what_the_library_itself_says() -> None:
    import llama_cpp

    assert bool(backends.gpu_backends()) == llama_cpp.llama_supports_gpu_offload()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process choose its CPUs")
def test_only_the_cores_that_this_process_may_use_count() -> None:
    """`serve`, `pull` and `doctor` ask the same function, here each in a process that may use one CPU."""
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]); from llamachat.hub import hardware;"
        "print(hardware.usable_cores(), hardware.look().n_cores)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_without_a_limit_all_physical_cores_count() -> None:
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count()
    assert physical
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    assert hardware.physical_cores() == min(physical, allowed)
    assert 1 <= hardware.usable_cores() <= hardware.usable_cores(round_up=True) <= hardware.physical_cores()


@pytest.mark.parametrize(
    ("text", "limit"),
    [("2147483648\n", 1 << 31), ("max\n", 0), ("9223372036854771712\n", 0), (None, 0)],
    ids=["a limit", "v2 without", "v1 without", "no container"],
)
def test_the_limit_of_a_container_counts(tmp_path: Path, text: str | None, limit: int) -> None:
    file = tmp_path / "memory.max"
    if text is not None:
        file.write_text(text)
    assert hardware.memory_limit([tmp_path / "missing", file]) == limit


def test_the_smallest_limit_of_nested_groups_counts(tmp_path: Path) -> None:
    for name, text in {"inner": "max\n", "middle": "1073741824\n", "outer": "2147483648\n"}.items():
        (tmp_path / name).write_text(text)
    assert hardware.memory_limit(tmp_path / name for name in ("inner", "middle", "outer")) == 1 << 30


@pytest.mark.parametrize(
    ("line", "files"),
    [
        (
            "0::/user.slice/app.scope",
            ["user.slice/app.scope/memory.max", "user.slice/memory.max", "memory.max"],
        ),
        ("0::/", ["memory.max"]),
        ("4:memory:/docker/a", [f"memory/{p}memory.limit_in_bytes" for p in ("docker/a/", "docker/", "")]),
        ("3:cpu,cpuacct:/docker/a", []),
    ],
    ids=["v2 nested", "v2 in a container", "v1", "another controller"],
)
def test_the_files_of_every_group_around_this_process(line: str, files: list[str]) -> None:
    found = hardware.cgroup_files(*hardware.MEMORY_LIMIT, line + "\n")
    assert found == [hardware.CGROUPS / file for file in files]


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, 0),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "200000\n"}, 2),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 0),
        ({}, 0),
    ],
    ids=["v2", "v2 without", "v1", "v1 without", "no container"],
)
def test_the_cpu_time_of_a_container_counts(tmp_path: Path, files: dict[str, str], cpus: float) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert hardware.cpu_limit(tmp_path / name for name in hardware.CPU_LIMIT[1:]) == cpus


def test_as_many_threads_write_as_whole_cpus_are_granted_and_one_more_reads() -> None:
    granted = (0, 0.5, 1.0, 1.5, 2.0, 3.7, 9.0)
    assert [hardware.whole_cores(4, cpus, round_up=False) for cpus in granted] == [4, 1, 1, 1, 2, 3, 4]
    assert [hardware.whole_cores(4, cpus, round_up=True) for cpus in granted] == [4, 1, 1, 2, 2, 4, 4]


def test_no_more_memory_is_reported_than_the_limit_allows() -> None:
    here = hardware.look()
    limit = hardware.memory_limit(hardware.cgroup_files(*hardware.MEMORY_LIMIT))
    assert 0 < here.available <= here.memory <= (limit or psutil.virtual_memory().total)


def cpus(folder: Path, speeds: dict[str, list[int]], threads: int = 1) -> Path:
    """A tree like /sys/devices/system/cpu: the file with each CPU's speed, `threads` CPUs a core."""
    for name, values in speeds.items():
        for number, value in enumerate(values):
            core = number - number % threads
            for file, text in ((name, value), ("topology/core_cpus_list", f"{core}-{core + threads - 1}")):
                path = folder / f"cpu{number}" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{text}\n")
    return folder


FREQUENCY = "cpufreq/cpuinfo_max_freq"


@pytest.mark.parametrize(
    ("speeds", "threads", "expected"),
    [
        ({}, 1, 0),
        ({FREQUENCY: [4_000_000] * 4}, 2, 0),
        ({FREQUENCY: [5_100_000, 5_100_000, 5_300_000, 5_300_000]}, 2, 0),  # two of a kind are chosen ones
        ({FREQUENCY: [5_100_000] * 8 + [3_900_000] * 4}, 2, 4),
        ({"cpu_capacity": [380, 380, 380, 380, 1024, 1024]}, 1, 2),
        ({"cpu_capacity": [1024] * 4, FREQUENCY: [2_400_000, 2_400_000, 1_500_000, 1_500_000]}, 1, 2),
    ],
)
def test_where_some_cores_are_slow_the_fast_ones_count(
    tmp_path: Path, speeds: dict[str, list[int]], threads: int, expected: int
) -> None:
    assert hardware.fast_cores(cpus(tmp_path, speeds, threads)) == expected
