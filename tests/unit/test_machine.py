"""What this computer and this build can do."""

from __future__ import annotations

import os

from llamachat.server import machine


def test_offload_is_what_the_library_itself_says() -> None:
    import llama_cpp

    assert machine.supports_offload() == llama_cpp.llama_supports_gpu_offload()


def test_threads_are_at_least_one_and_at_most_the_cpus() -> None:
    assert 1 <= machine.physical_cores() <= (os.cpu_count() or 1)
