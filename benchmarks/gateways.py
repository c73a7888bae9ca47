"""What a gateway costs, and whether it keeps conversations at their replica and loses no request.

    python -m benchmarks.gateways [--output benchmarks/results/gateways.md]

Real `serve` processes on the small model, one thread each, behind HAProxy and vllm-router as docs/scale.md
configures them.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration import gateways
from tests.integration.engine_process import Engine, question, text_of
from tests.support import ServerProcess, clean_env, free_port


@contextmanager
def setup(names: list[str], count: int) -> Iterator[tuple[dict[str, Engine], list[ServerProcess]]]:
    """The gateways named, all before the same replicas."""
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        folder, env = Path(path), clean_env(Path(path))
        ports = [free_port() for _ in range(count)]
        servers = stack.enter_context(gateways.replicas(ports, env, folder))
        yield {n: stack.enter_context(gateways.routing(n, ports, env, folder)) for n in names}, servers


def first_token(server: Engine, number: int) -> float:
    began = time.perf_counter()
    stream = server.open_stream(question("Hello", max_tokens=1), headers={"X-Session-ID": "one"})
    next(event for event in stream if event["choices"] and event["choices"][0]["delta"].get("content"))
    took = time.perf_counter() - began
    list(stream)
    return took


def first_tokens(rounds: int) -> list[str]:
    """Direct and through each gateway in turn, to the one replica; the medians of the differences."""
    lines = ["| | first token, median ms | more than direct, median ms | 95 % |", "|-|-:|-:|-:|"]
    with setup(list(gateways.GATEWAYS), 1) as (routes, servers):
        ways = {"direct": Engine(servers[0].port, servers[0].process, Path()), **routes}
        took: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, server in ways.items():
                took[name].append(1000 * first_token(server, number))
        for name, times in took.items():
            more = sorted(a - b for a, b in zip(times, took["direct"], strict=True))
            lines.append(
                f"| {name} | {statistics.median(times):.1f} | {statistics.median(more):.1f} "
                f"| {more[int(0.95 * len(more))]:.1f} |"
            )
    return lines


def stay(name: str, chats: int, turns: int) -> str:
    """The share of turns behind the first whose history came from the replica's own cells."""
    own: list[bool] = []

    def chat(gateway: Engine, number: int) -> None:
        messages: list[dict[str, str]] = []
        held = 0
        for turn in range(turns):
            words = " ".join(f"word{number}" for _ in range(40))  # less is read again sooner than parked
            messages.append({"role": "user", "content": f"Chat {number}, question {turn}: {words}?"})
            body = {"messages": messages, "max_tokens": 8, "stream_options": {"include_usage": True}}
            events = list(gateway.open_stream(body, headers={"X-Session-ID": f"chat-{number}"}))
            usage = events[-2]["usage"]
            if turn:
                # The end of a turn is written by the template, and a prefix is cut to a multiple of four.
                own.append(usage["prompt_tokens_details"]["cached_tokens"] >= held - 12)
            held = usage["total_tokens"]
            messages.append({"role": "assistant", "content": text_of(events)})

    with setup([name], 3) as (routes, _):
        threads = [threading.Thread(target=chat, args=(routes[name], n)) for n in range(chats)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return f"| {name} | {chats} chats of {turns} turns, 3 replicas | {100 * sum(own) / len(own):.1f} % |"


def drain(name: str, requests: int) -> str:
    """Requests that got no whole answer while one replica after the other is drained and started again."""
    ends: list[object] = []
    over = threading.Event()

    def ask(gateway: Engine, number: int) -> None:
        for n in range(requests // 8):
            try:
                stream = gateway.open_stream(
                    question("Hello", max_tokens=2), headers={"X-Session-ID": f"{number}-{n % 5}"}
                )
                ends.append(list(stream)[-1])
            except Exception as error:  # noqa: BLE001
                ends.append(repr(error))

    drains = 0
    with setup([name], 2) as (routes, servers), ExitStack() as stack:
        env = clean_env(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        threads = [threading.Thread(target=ask, args=(routes[name], n)) for n in range(8)]
        for thread in threads:
            thread.start()

        def rolling() -> None:
            nonlocal drains
            current = list(servers)
            while not over.is_set():
                for n, server in enumerate(current):
                    if over.is_set():
                        return
                    server.process.send_signal(signal.SIGTERM)
                    server.wait()
                    drains += 1
                    again = ServerProcess(
                        "--n-threads", "1", "--no-keep", env=env, cwd=Path.cwd(), port=server.port
                    )
                    current[n] = stack.enter_context(again).wait_until_ready()
                    over.wait(3)  # until the gateway has noticed

        roller = threading.Thread(target=rolling)
        roller.start()
        for thread in threads:
            thread.join()
        over.set()
        roller.join()
    lost = [end for end in ends if end != "[DONE]"]
    print(name, "lost", lost[:5])
    return f"| {name} | {len(ends)} requests, {drains} drains | {len(lost)} lost |"


def rows(name: str, rounds: int, count: int) -> str:
    """Rows a minute of `llamachat batch` over two replicas as a multiple of one, both up, in turns."""

    def minute(server: Engine, folder: Path) -> float:
        given, answers = folder / "rows.csv", folder / "answers.csv"
        given.write_text("text\n" + "".join(f"Row {n}\n" for n in range(count)), encoding="utf-8")
        command = [sys.executable, "-m", "llamachat", "batch", str(given), "-o", str(answers)]
        options = ["--prompt", "{text}", "--max-tokens", "16", "--parallel", "16", "--restart"]
        began = time.perf_counter()
        subprocess.run(
            [*command, *options, "--base-url", f"http://127.0.0.1:{server.port}/v1"],
            env=clean_env(folder),
            stderr=subprocess.DEVNULL,
            check=False,  # the status is 9: answers are cut
        )
        took = time.perf_counter() - began
        assert answers.read_text(encoding="utf-8").count("Row ") >= count
        return 60 * count / took

    with setup([name], 2) as (routes, servers), tempfile.TemporaryDirectory() as path:
        one = Engine(servers[0].port, servers[0].process, Path())
        pairs = [(minute(one, Path(path)), minute(routes[name], Path(path))) for _ in range(rounds)]
    alone, both = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return f"| {name} | {alone:.0f} rows a minute on one replica, {both:.0f} on two | {ratio:.2f} × |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--only-rows", action="store_true")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    names = list(gateways.GATEWAYS)
    batch = [f"| | a batch of {args.rows} rows | |", "|-|-|-:|", *(rows(n, 2, args.rows) for n in names)]
    if args.only_rows:
        print("\n".join(batch))
        return
    parts = [
        "# Two gateways",
        "\n".join(first_tokens(args.rounds)),
        "\n".join(
            ["| | turns from the replica's own cells | |", "|-|-|-:|", *(stay(n, 50, 4) for n in names)]
        ),
        "\n".join(["| | while replicas drain | |", "|-|-|-:|", *(drain(n, args.requests) for n in names)]),
    ]
    parts.append("\n".join(batch))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
