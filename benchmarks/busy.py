#!/usr/bin/env python3
"""How fast a server writes and reads while other programs keep the computer busy.

    python benchmarks/busy.py [--only NAME] [--seconds 3]

It makes the load itself: processes that count, each in a session of its own, as a program in another window
would be. Each contender is started twice, for the row in which both write at once. "before" is `llamachat
serve` with a fixed number of threads, which wait at a barrier as OpenMP does by default. llama-server takes
part where it is on the PATH. Written and read are tokens a second; what "the others keep" is how far a busy
process counted, compared with how far it counts alone. The last result of all is in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine import machine, small_model
from servers import Contender, Server, contenders, running

from llamachat.hub import hardware

COUNTING = """
import mmap, struct, sys
with open(sys.argv[1], "r+b") as file:
    shared, count = mmap.mmap(file.fileno(), 8), 0
    while True:
        for _ in range(20_000):
            pass
        count += 1
        struct.pack_into("q", shared, 0, count)
"""
SETTLE = 0.5
"""Seconds between a change of the load and a measurement."""
TOPIC = "Count from one to one thousand in words, with a comma behind each number."
WORDS = ("river", "stone", "cloud", "bread", "horse", "clock", "light", "paper", "field", "music")
PROMPT_WORDS = 350

Figures = dict[str, float]

ROWS = (
    ("written", "written, quiet"),
    ("read", "read, quiet"),
    ("written_1", "written beside one busy process, × quiet"),
    ("read_1", "read beside one, × quiet"),
    ("other_1", "    the other one keeps of a core"),
    ("written_2", "written beside two, × quiet"),
    ("read_2", "read beside two, × quiet"),
    ("other_2", "    the others keep of a core, each"),
    ("four", "four clients at once beside one, × as many quiet"),
    ("both", "two servers, both writing, the slower one, × quiet"),
    ("back", "seconds until it writes at 0.9 × quiet again"),
)


class Load:
    """Busy processes, and how far they have counted."""

    def __init__(self, n_processes: int, folder: Path) -> None:
        self._counters: list[mmap.mmap] = []
        self._processes = []
        for number in range(n_processes):
            path = folder / f"count-{number}"
            path.write_bytes(bytes(8))
            with path.open("r+b") as file:
                self._counters.append(mmap.mmap(file.fileno(), 8))
            command = [sys.executable, "-c", COUNTING, str(path)]
            self._processes.append(subprocess.Popen(command, start_new_session=True))
        while n_processes and not min(self.counts()):
            time.sleep(0.01)

    def counts(self) -> list[int]:
        return [struct.unpack_from("q", counter)[0] for counter in self._counters]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@contextmanager
def load(n_processes: int, folder: Path) -> Iterator[Load]:
    busy = Load(n_processes, folder)
    try:
        yield busy
    finally:
        busy.stop()


def counted_alone(folder: Path) -> float:
    """Counts a second of a busy process that has the computer to itself."""
    with load(1, folder) as busy:
        before, started = busy.counts()[0], time.perf_counter()
        time.sleep(1)
        return (busy.counts()[0] - before) / (time.perf_counter() - started)


def token_times(server: Server, seconds: float) -> list[float]:
    """When each token of a stream came that is left after `seconds`."""
    body = {
        "messages": [{"role": "user", "content": TOPIC}],
        "max_tokens": 1500,
        "temperature": 0,
        "repeat_penalty": 1.0,
        "stream": True,
        "model": "m",
        "logit_bias": {"2": -100},  # the small model's end of a turn: it shall write on
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    times: list[float] = []
    with urllib.request.urlopen(request, timeout=120) as response:
        for line in response:
            if line.startswith(b"data: {") and b'"content"' in line:
                times.append(time.perf_counter())
                if times[-1] - times[0] > seconds:
                    break
    return times


def rate(times: Sequence[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


def written(server: Server, seconds: float) -> float:
    return rate(token_times(server, seconds))


_prompts = iter(range(10**6))


def read(server: Server) -> float:
    """Of a prompt that no server has seen, with one token written."""
    number = next(_prompts)
    text = " ".join(WORDS[(i * i + number * i + number) % len(WORDS)] for i in range(PROMPT_WORDS))
    reply = server.reply([{"role": "user", "content": f"{number} {text}"}], 1)
    return PROMPT_WORDS / reply.total


def beside(n_others: int, server: Server, seconds: float, alone: float, folder: Path) -> Figures:
    with load(n_others, folder) as busy:
        time.sleep(SETTLE)
        before, started = busy.counts(), time.perf_counter()
        figures = {f"written_{n_others}": written(server, seconds)}
        took = time.perf_counter() - started
        shares = [(after - count) / took / alone for after, count in zip(busy.counts(), before, strict=True)]
        figures[f"read_{n_others}"] = read(server)
        return figures | {f"other_{n_others}": min(shares)}


def at_once(servers: list[Server], seconds: float) -> list[list[float]]:
    """When the tokens of a stream from each server came."""
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(lambda server: token_times(server, seconds), servers))


def written_by_four(server: Server, seconds: float) -> float:
    return rate(sorted(itertools.chain.from_iterable(at_once([server] * 4, seconds))))


def seconds_back(server: Server, quiet: float, seconds: float, folder: Path) -> float:
    """From the end of the others until the tokens of a quarter of a second come at 0.9 of `quiet`."""
    busy = Load(2, folder)
    gone: list[float] = []

    def leave() -> None:
        busy.stop()
        gone.append(time.perf_counter())

    timer = threading.Timer(SETTLE + 0.5, leave)
    timer.start()
    times = [at for at in token_times(server, seconds + SETTLE + 0.5) if not gone or at > gone[0]]
    timer.join()
    window, at = 0.25, gone[0]
    while at + window < times[-1]:
        if sum(at < time <= at + window for time in times) >= 0.9 * quiet * window:
            return at - gone[0]
        at += 0.02
    return float("inf")


def measure(contender: Contender, seconds: float) -> Figures:
    model = small_model()
    with ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        first = stack.enter_context(running(contender, model, homes[0]))
        alone = counted_alone(homes[0])
        written(first, 0.5)
        figures = {"written": written(first, seconds), "read": max(read(first) for _ in range(3))}
        for n_others in (1, 2):
            figures |= beside(n_others, first, seconds, alone, homes[0])
        quiet = written_by_four(first, seconds)
        with load(1, homes[0]):
            time.sleep(SETTLE)
            figures["four"] = written_by_four(first, seconds) / quiet
        figures["back"] = seconds_back(first, figures["written"], seconds, homes[0])
        second = stack.enter_context(running(contender, model, homes[1]))
        written(second, 0.5)
        figures["both"] = min(map(rate, at_once([first, second], seconds)))
    for name in figures:
        if name.startswith(("written_", "read_", "both")):
            figures[name] /= figures["read" if name.startswith("read") else "written"]
    return figures


def before(ours: Contender) -> Contender:
    fixed = ("--threads", str(os.cpu_count() or 1))
    wait = ("env", "GOMP_SPINCOUNT=300000")
    return Contender("before", lambda model, port: [*wait, *ours.command(model, port), *fixed], ours.path)


def with_half_of_the_threads(known: Contender) -> Contender:
    """What helps llama-server most on a busy computer, without the rights that `--prio` needs."""
    flags = ("-t", str(-(-hardware.usable_cores() // 2)))
    return Contender(f"{known.name} {' '.join(flags)}", lambda *to: [*known.command(*to), *flags], known.path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="run only contenders whose name begins like this")
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    known = {contender.name: contender for contender in contenders()}
    del known["stock"]
    chosen = [before(known["llamachat"]), *known.values()]
    chosen += [with_half_of_the_threads(best) for name, best in known.items() if name.endswith("best flags")]
    chosen = [contender for contender in chosen if contender.name.startswith(arguments.only)]
    measured = {}
    for contender in chosen:
        print(contender.name, file=sys.stderr)
        measured[contender.name] = measure(contender, arguments.seconds)
    lines = [f"| | {' | '.join(measured)} |", f"|---|{'---:|' * len(measured)}"]
    for key, label in ROWS:
        form = ".0f" if key in ("written", "read") else ".2f"
        lines.append(f"| {label} | {' | '.join(format(f[key], form) for f in measured.values())} |")
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    report = "\n".join(lines) + f"\n\n{about}\n"
    print(report)
    if not arguments.only:
        (Path(__file__).parent / "results" / "busy.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
