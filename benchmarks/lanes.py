#!/usr/bin/env python3
"""Compare `llamachat serve` with several lanes to the same with one, on the small model, in one run.

    python benchmarks/lanes.py [--lanes 4 8] [--rounds 1]

Eight clients ask 64 rows behind a shared prefix of some 300 tokens, 32 tokens each; then one client is timed
alone, beside one that writes, and beside one whose long prompt is read. Ratios are to one lane of the same
round; a busy machine changes the times, and the ratios less.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine import small_model
from servers import N_CTX, Contender, Messages, Server, running

CLIENTS, ROWS, WRITTEN = 8, 64, 32
RULES = " ".join(f"Rule {i}: item {i * 7 % 97} counts as good." for i in range(25))
STRESS_CLIENTS, STRESS_REQUESTS = 64, 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lanes", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stress", action="store_true", help="300 requests, a third of them hung up")
    arguments = parser.parse_args()
    numbers = [1, *arguments.lanes]
    rounds: dict[int, list[dict[str, float]]] = {lanes: [] for lanes in numbers}
    for _ in range(arguments.rounds):
        for lanes in numbers:
            print(f"{lanes} lanes", file=sys.stderr)
            with (
                tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder,
                running(contender(lanes), small_model(), Path(folder)) as server,
            ):
                rounds[lanes].append(stress(server) if arguments.stress else measure(server))
    for name in rounds[1][0]:
        values = {n: statistics.median(figures[name] for figures in rounds[n]) for n in numbers}
        ratios = [f"{n}: {v:.3g} ({v / (values[1] or 1):.2f} x)" for n, v in values.items()]
        print(f"{name:44} {'   '.join(ratios)}")


def contender(lanes: int) -> Contender:
    def command(model: Path, port: int) -> Sequence[str]:
        options = ("--n-ctx", str(N_CTX), "--port", str(port), "--parallel", str(lanes))
        return [sys.executable, "-m", "llamachat", "serve", str(model), *options]

    return Contender(f"{lanes} lanes", command)


def measure(server: Server) -> dict[str, float]:
    rows = [row(number) for number in range(ROWS)]
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda messages: server.reply(messages, WRITTEN), rows))
    minutes = (time.perf_counter() - start) / 60
    alone = [server.reply(said(f"Write a long story about a river, {n}."), 128) for n in range(3)]
    gaps_alone = gaps(server, said("Write a long story about the sea."), 100)
    firsts = [server.reply(said(f"Say hello, {n}."), 1).first for n in range(3)]
    beside = beside_a_writer(server)
    while_read = gaps_while_another_is_read(server)
    return {
        "8 clients, rows a minute": ROWS / minutes,
        "alone, written tokens/s": statistics.median(reply.written_per_second for reply in alone),
        "first token alone, s": statistics.median(firsts),
        "first token while another writes, s": beside,
        "gap alone, 95th percentile, ms": 1e3 * percentile(gaps_alone),
        "gap while 1,500 tokens are read, the same, ms": 1e3 * percentile(while_read),
        "resident memory, MB": server.resident_mb(),
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


def stress(server: Server) -> dict[str, float]:
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
