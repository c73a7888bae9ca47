#!/usr/bin/env python3
"""Compare `llamachat serve` with several lanes to the same with one, on one machine in one run.

    python benchmarks/lanes.py [--lanes 4 8] [--large] [--rows 64] [--rounds 1] [--stress]
                               [--examples-server FILE]

Eight clients ask rows behind a shared prefix of some 300 tokens, 32 tokens each; then one client is timed
beside one that writes, and beside one whose long prompt is read. One client alone is timed on all servers in
turns, as the speed of a computer drifts by more than what is compared. Ratios are to one lane of the same
round. llama-server takes part if it is on the PATH, with as many slots, and examples/server/server.py of
llama-cpp-python's source archive if it is named. `--stress` asks 300 requests at once from 64 clients, of
which a third hangs up at random. The last result is kept in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from engine import HERE, Figures, large_model, machine, small_model
from servers import N_CTX, Contender, Messages, Server, running

CLIENTS, WRITTEN = 8, 32
RULES = " ".join(f"Rule {i}: item {i * 7 % 97} counts as good." for i in range(25))
STRESS_CLIENTS, STRESS_REQUESTS = 64, 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lanes", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--large", action="store_true", help="the Llama-3-shaped model of 1b")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stress", action="store_true", help="300 requests, a third of them hung up")
    parser.add_argument("--examples-server", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    model = large_model() if arguments.large else small_model()
    chosen = contenders([1, *arguments.lanes])
    if arguments.examples_server:
        chosen.append(example(arguments.examples_server, max(arguments.lanes)))
    rounds: dict[str, list[Figures]] = {one.name: [] for one in chosen}
    for _ in range(arguments.rounds):
        for one in chosen:
            print(one.name, file=sys.stderr)
            with (
                tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder,
                running(one, model, Path(folder)) as server,
            ):
                figures = stress(server) if arguments.stress else measure(server, arguments.rows)
            rounds[one.name].append(figures)
        if not arguments.stress:
            for name, figures in alone(chosen, model).items():
                rounds[name][-1] |= figures
    medians = {
        name: {key: statistics.median(figures[key] for figures in found) for key in found[0]}
        for name, found in rounds.items()
    }
    report = table(medians)
    print(report)
    about = machine() | {"model": "1b" if arguments.large else "small", "rows": arguments.rows}
    described = ", ".join(f"{key} {value}" for key, value in about.items())
    name = "lanes-stress" if arguments.stress else "lanes-large" if arguments.large else "lanes-small"
    (HERE / "results" / f"{name}.md").write_text(f"{report}\n\n{described}\n", encoding="utf-8")


def table(medians: dict[str, Figures]) -> str:
    """A row a figure: its value, and its multiple of the first contender's."""
    first = next(iter(medians.values()))
    lines = [f"| | {' | '.join(medians)} |", f"|---|{'---:|' * len(medians)}"]
    for key, unit in first.items():
        cells = (f"{m[key]:.3g} ({m[key] / (unit or 1):.2f})" for m in medians.values())
        lines.append(f"| {key} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contenders(lanes: Sequence[int]) -> list[Contender]:
    def ours(n: int) -> Contender:
        def command(model: Path, port: int) -> Sequence[str]:
            options = ("--n-ctx", str(N_CTX), "--port", str(port), "--parallel", str(n))
            return [sys.executable, "-m", "llamachat", "serve", str(model), *options]

        return Contender(f"{n} lanes", command)

    def native(n: int) -> Contender:
        def command(model: Path, port: int) -> Sequence[str]:
            options = ("-c", str(N_CTX * n), "-np", str(n), "-fa", "off", "--port", str(port))
            return ["llama-server", "-m", str(model), *options]

        return Contender(f"llama-server, {n}", command, "/health")

    has_native = shutil.which("llama-server") is not None
    return [*map(ours, lanes), *(map(native, lanes) if has_native else ())]


def example(program: Path, n: int) -> Contender:
    def command(model: Path, port: int) -> Sequence[str]:
        options = {"path": str(model), "n_ctx": N_CTX * n, "n_seq_max": n, "n_batch": 512, "n_ubatch": 512}
        config = Path(tempfile.mkdtemp()) / "config.json"
        config.write_text(json.dumps({"server": {"port": port}, "model": options}), encoding="utf-8")
        return [sys.executable, str(program), "-C", str(config)]

    return Contender(f"examples/server, {n}", command, "/healthz")


def measure(server: Server, n_rows: int) -> Figures:
    rows = [row(number) for number in range(n_rows)]
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda messages: server.reply(messages, WRITTEN), rows))
    minutes = (time.perf_counter() - start) / 60
    gaps_alone = gaps(server, said("Write a long story about the sea."), 100)
    beside = beside_a_writer(server)
    while_read = gaps_while_another_is_read(server)
    return {
        "8 clients, rows a minute": n_rows / minutes,
        "first token while another writes, s": beside,
        "gap alone, 95th percentile, ms": 1e3 * percentile(gaps_alone),
        "gap while 1,500 tokens are read, the same, ms": 1e3 * percentile(while_read),
        "resident memory, MB": server.resident_mb(),
    }


def alone(chosen: Sequence[Contender], model: Path, turns: int = 7) -> dict[str, Figures]:
    written: dict[str, list[float]] = {one.name: [] for one in chosen}
    firsts: dict[str, list[float]] = {one.name: [] for one in chosen}
    with ExitStack() as stack:
        servers = {}
        for one in chosen:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="llamachat-benchmark-"))
            servers[one.name] = stack.enter_context(running(one, model, Path(folder)))
        for turn in range(turns):
            for name, server in servers.items():
                story = said(f"Write a long story about a river, {turn}.")
                written[name].append(server.reply(story, 128).written_per_second)
            for name, server in servers.items():
                hellos = (said(f"Say hello, {turn} {n}.") for n in range(4))
                firsts[name] += [server.reply(hello, 1).first for hello in hellos][1:]
    return {
        name: {
            "alone, written tokens/s": statistics.median(written[name]),
            "first token alone, s": statistics.median(firsts[name]),
        }
        for name in servers
    }


def row(number: int) -> Messages:
    words = " ".join(f"word{number * i % 89}" for i in range(8 + number % 8))
    return [{"role": "system", "content": f"You classify reviews. {RULES}"}, *said(f"Review: {words}.")]


def said(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def percentile(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def gaps(server: Server, messages: Messages, max_tokens: int) -> list[float]:
    """Seconds between the chunks of a stream that have text."""
    times: list[float] = []
    body = {"messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True}
    with urllib.request.urlopen(asked(server, body), timeout=900) as response:
        for line in response:
            if b'"content"' in line:
                times.append(time.perf_counter())
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def beside_a_writer(server: Server) -> float:
    writer = threading.Thread(target=server.reply, args=(said("Write a long story about snow."), 300))
    writer.start()
    time.sleep(0.5)
    first = server.reply(said("Say hello, you."), 1).first
    writer.join()
    return first


def gaps_while_another_is_read(server: Server) -> list[float]:
    long = " ".join(f"{n} boats in the year {n * 37 % 1000}." for n in range(140))
    reader = threading.Timer(0.5, server.reply, args=(said(long), 1))
    reader.start()
    found = gaps(server, said("Write a long story about the moon."), 100)
    reader.join()
    return found


def asked(server: Server, body: dict[str, object]) -> urllib.request.Request:
    headers = {"Content-Type": "application/json"}
    return urllib.request.Request(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), headers)


def stress(server: Server) -> Figures:
    """A third of the clients hang up at random; whoever stays gets a whole reply."""
    chance = random.Random(7)
    plans = [(n, chance.randint(1, 20) if chance.random() < 1 / 3 else None) for n in range(STRESS_REQUESTS)]
    resident: list[float] = []

    def ask(plan: tuple[int, int | None]) -> bool:
        number, lines = plan
        body = {"messages": row(number), "max_tokens": 24, "stream": True}
        with urllib.request.urlopen(asked(server, body), timeout=900) as response:
            for count, line in enumerate(response):
                if lines is not None and count >= lines:
                    return True
                if b'"error"' in line:
                    return False
                if line.startswith(b"data: [DONE]"):
                    break
            else:
                return False
        resident.append(server.resident_mb())
        return True

    with ThreadPoolExecutor(STRESS_CLIENTS) as pool:
        answered = list(pool.map(ask, plans))
    quarter = len(resident) // 4
    return {
        "errors and lost": float(answered.count(False)),
        "memory behind the first quarter, MB": resident[quarter],
        "memory at the end, MB": resident[-1],
    }


if __name__ == "__main__":
    main()
