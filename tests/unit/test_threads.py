"""How many threads compute beside other programs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from llamachat.engine.threads import PAUSE, WINDOW, Clock, Load, next_count, waits_asleep

COUNTS = st.integers(1, 128)
CORES = st.floats(0, 200)


@given(COUNTS, COUNTS, CORES)
def test_between_half_of_the_threads_and_all(n_max: int, n_threads: int, others: float) -> None:
    assert n_max / 2 <= next_count(n_max, min(n_threads, n_max), others) <= n_max


@given(COUNTS, COUNTS, CORES, CORES)
def test_the_busier_the_others_the_fewer(n_max: int, n_threads: int, one: float, other: float) -> None:
    counts = [next_count(n_max, min(n_threads, n_max), others) for others in sorted((one, other))]
    assert counts[0] >= counts[1]


@given(COUNTS, COUNTS, CORES)
def test_a_steady_load_means_a_steady_count(n_max: int, n_threads: int, others: float) -> None:
    once = next_count(n_max, min(n_threads, n_max), others)
    assert next_count(n_max, once, others) == once


@given(COUNTS, COUNTS)
def test_all_again_when_the_others_are_gone(n_max: int, n_threads: int) -> None:
    assert next_count(n_max, min(n_threads, n_max), 0.3) == n_max


def test_a_busy_program_gets_a_core_and_half_a_one_changes_nothing() -> None:
    assert [next_count(4, 4, others) for others in (0.5, 0.7, 1.5, 1.7, 4.0)] == [4, 3, 3, 2, 2]
    assert [next_count(4, 2, others) for others in (1.5, 1.3, 0.5, 0.3)] == [2, 3, 3, 4]


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_two_servers_come_to_have_a_core_for_each_thread(n_cores: int, first: int, second: int) -> None:
    counts = [min(first, n_cores), min(second, n_cores)]
    for turn in range(8):
        uses = [n * min(n_cores / sum(counts), 1) for n in counts]
        counts[turn % 2] = next_count(n_cores, counts[turn % 2], uses[1 - turn % 2])
    assert sum(counts) <= n_cores + 2  # rounded up to half, and by what others must use before they count


def simulated(used: Callable[[float], float]) -> tuple[list[float], Load]:
    """A time to set, and a load: this program uses one core, and all together `used` seconds by then."""
    time = [0.0]
    return time, Load(lambda: Clock(time[0], used(time[0]), own=time[0]), now=lambda: time[0])


def test_what_the_others_use_is_all_but_the_own_and_as_of_the_last_window() -> None:
    time, load = simulated(lambda now: 2.5 * now if now <= 10 else 25 + (now - 10))
    seen = {}
    for tick in range(150):
        time[0] = tick / 10
        seen[tick] = load.others()
    assert seen[0] == seen[1] == 0.0
    assert abs(seen[50] - 1.5) < 0.01
    assert seen[100 + round(2 * WINDOW * 10)] < 0.01  # gone at second 10
    assert load.others() >= 0


def test_a_clock_that_is_coarse_gives_no_negative_load() -> None:
    time, load = simulated(lambda now: 0.9 * now)
    time[0] = 1.0
    assert load.others() == 0.0


def test_only_gnu_openmp_that_was_told_so_sleeps_at_a_barrier() -> None:
    gnu, llvm, own = SimpleNamespace(GOMP_barrier=1), SimpleNamespace(GOMP_barrier=1), SimpleNamespace()
    setattr(llvm, "__kmpc_barrier", 1)
    told = {"GOMP_SPINCOUNT": "1000"}
    assert waits_asleep(gnu, told) and waits_asleep(gnu, {"OMP_WAIT_POLICY": "passive"})
    assert not (waits_asleep(gnu, {}) or waits_asleep(llvm, told) or waits_asleep(own, told))


def test_what_ran_between_two_questions_does_not_count() -> None:
    """A client that starts uses a core for half a second, and is gone when the engine computes."""
    time, load = simulated(used=lambda now: now + min(now, 10.0))
    time[0] = 10.0
    with load.step():
        assert load.others() == 0
        time[0] += WINDOW
        assert load.others() == 0


def test_steps_that_are_longer_than_a_pause_count() -> None:
    """A large model takes seconds for a token, and longer for a piece of a prompt."""
    time, load = simulated(used=lambda now: 2 * now)
    for _ in range(3):
        with load.step():
            seen = load.others()
            time[0] += 5 * PAUSE
        time[0] += PAUSE / 100
    assert abs(seen - 1) < 0.01


def test_what_was_used_in_the_last_hour_is_not_told_as_of_now() -> None:
    time, load = simulated(used=lambda now: now + min(now, 3600.0))
    time[0] = 3700.0
    assert load.others_now() is None
    time[0] += 2 * WINDOW
    assert load.others_now() == 0
