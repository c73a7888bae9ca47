#!/usr/bin/env python3
"""What `ask` and `batch` are measured by, on the small model, a part at a time.

    python benchmarks/programs.py rows      rows a minute: `batch`, `llm` in a loop, llama-server
    python benchmarks/programs.py kills     kill -9 at 50 random moments of a batch of 300
    python benchmarks/programs.py schemas   200 schemas, max_tokens from 1 up: valid, or an error
    python benchmarks/programs.py facts     40 facts in a text of 20 windows: in the first 5 passages?
    python benchmarks/programs.py start     `ask` beside curl on a warm server

`llm` comes with the demo extra; llama-server is measured if it is in PATH.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine import small_model
from servers import N_CTX, Contender, Server, running

ROOT = Path(__file__).parent.parent
SYSTEM = " ".join(f"Rule {i}: item {i * 7 % 97} counts as good." for i in range(25))
"""Some 300 tokens that all rows begin with."""
LLAMACHAT = (sys.executable, "-m", "llamachat")


def serve(lanes: int, home: Path) -> Contender:
    def command(model: Path, port: int) -> list[str]:
        flags = ("--n-ctx", str(N_CTX), "-np", str(lanes), "--port", str(port))
        return [*LLAMACHAT, "serve", str(model), *flags]

    return Contender(f"{lanes} lanes", command, "/health")


def own_environment(home: Path, url: str = "") -> dict[str, str]:
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    return {**os.environ, **folders, "LLM_USER_PATH": str(home / "llm"), "LLAMACHAT_BASE_URL": f"{url}/v1"}


def questions(count: int) -> list[str]:
    return [f"Is item {i * 13 % 97} good? Say why, number {i}." for i in range(count)]


# -- rows ----------------------------------------------------------------------------------------------


def rows(arguments: argparse.Namespace) -> None:
    for tokens in arguments.tokens:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llamachat-benchmark-")))
            server = stack.enter_context(running(serve(arguments.lanes, home), small_model(), home))
            loop = by_llm(server, home, tokens, arguments.loop_rows)
            ours = by_batch(server, home, tokens, arguments.rows)
        report = {
            "tokens": tokens,
            "batch": round(ours),
            "llm in a loop": round(loop, 1),
            "times": ours / loop,
        }
        if shutil.which("llama-server"):
            report |= {f"llama-server -np {n}": round(by_threads(n, tokens, arguments.rows)) for n in (1, 8)}
        print(json.dumps(report))


def by_batch(server: Server, home: Path, tokens: int, count: int) -> float:
    given = home / f"{tokens}.csv"
    with given.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in questions(count))])
    options = ["-s", SYSTEM, "--prompt", "{text}", "--max-tokens", str(tokens)]
    began = time.perf_counter()
    # The status is 9: every answer is cut.
    subprocess.run(
        [*LLAMACHAT, "batch", str(given), "-o", str(home / f"{tokens}.out.csv"), *options],
        env=own_environment(home, server.url),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    seconds = time.perf_counter() - began
    assert len(list(csv.DictReader((home / f"{tokens}.out.csv").open()))) == count
    return count * 60 / seconds


def by_llm(server: Server, home: Path, tokens: int, count: int) -> float:
    (home / "llm").mkdir(exist_ok=True)
    (home / "llm" / "extra-openai-models.yaml").write_text(
        f"- model_id: here\n  model_name: m\n  api_base: {server.url}/v1\n"
    )
    command = [str(Path(sys.executable).with_name("llm")), "-m", "here", "--key", "x", "-s", SYSTEM]
    options = ["-o", "max_tokens", str(tokens), "-o", "temperature", "0"]
    began = time.perf_counter()
    for text in questions(count):
        subprocess.run(
            [*command, *options, text],
            env=own_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return count * 60 / (time.perf_counter() - began)


def by_threads(slots: int, tokens: int, count: int) -> float:
    """As its users do: 8 threads with a client."""

    def command(model: Path, port: int) -> list[str]:
        flags = ("-c", str(N_CTX * slots), "-np", str(slots), "--port", str(port))
        return ["llama-server", "-m", str(model), *flags]

    with (
        tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder,
        running(Contender("llama-server", command, "/health"), small_model(), Path(folder)) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        began = time.perf_counter()
        list(pool.map(lambda text: server.reply(messages(text), tokens), questions(count)))
        return count * 60 / (time.perf_counter() - began)


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


# -- kills ---------------------------------------------------------------------------------------------


def kills(arguments: argparse.Namespace) -> None:
    """On a server that answers at once, so that the moments fall on reading, sending, keeping and writing."""
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder, ExitStack() as stack:
        home = Path(folder)
        recorder = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.recorder", str(home / "asked"), "--pause", "0.15"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        stack.callback(recorder.kill)
        assert recorder.stdout
        url = f"http://127.0.0.1:{int(recorder.stdout.readline())}"
        (home / "in.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(300)))
        command = [*LLAMACHAT, "batch", "in.csv", "-o", "out.csv", "--prompt", "{text}"]
        killed = 0
        while killed < arguments.kills:
            process = subprocess.Popen(
                command, cwd=home, env=own_environment(home, url), stderr=subprocess.DEVNULL
            )
            try:
                process.wait(draw.uniform(0.3, 1.5))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
            else:  # complete before all the kills: once more from nothing
                for path in home.glob("out.csv*"):
                    path.unlink()
        subprocess.run(command, cwd=home, env=own_environment(home, url), check=True)
        said = [row["text"] for row in csv.DictReader((home / "out.csv").open())]
        journal = [json.loads(line) for line in (home / "out.csv.journal").read_text().splitlines()]
        keys = [record["key"] for record in journal[1:]]
        lost = len({f"row {i}" for i in range(300)} - set(said))
        twice = len(said) - len(set(said)) + len(keys) - len(set(keys))
        print(json.dumps({"kills": killed, "rows": len(said), "lost": lost, "twice": twice}))


# -- schemas -------------------------------------------------------------------------------------------


def schemas(arguments: argparse.Namespace) -> None:
    import jsonschema

    import llamachat
    from llamachat.errors import LlamachatError

    draw = random.Random(arguments.seed)
    outcome = {"valid": 0, "error": 0, "invalid": 0}
    with tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder:
        home = Path(folder)
        with running(serve(1, home), small_model(), home) as server:
            for number in range(arguments.schemas):
                schema = drawn_schema(draw, 2)
                room = 1 + number % arguments.longest
                try:
                    value = llamachat.ask(
                        "Make something up.", schema=schema, max_tokens=room, base_url=f"{server.url}/v1"
                    )
                except LlamachatError:
                    outcome["error"] += 1
                    continue
                valid = jsonschema.Draft202012Validator(schema).is_valid(value)
                outcome["valid" if valid else "invalid"] += 1
    print(json.dumps(outcome))


def drawn_schema(draw: random.Random, depth: int) -> dict[str, Any]:
    leaves: Sequence[dict[str, Any]] = (
        {"type": "string", "maxLength": draw.randint(1, 20)},
        {"type": "integer", "minimum": 0, "maximum": draw.randint(1, 999)},
        {"type": "boolean"},
        {"enum": [f"label {i}" for i in range(draw.randint(2, 5))]},
        {"type": "string", "format": "date"},
        {"type": "number"},
        {"type": "null"},
    )
    if not depth:
        return draw.choice(leaves)
    if draw.random() < 0.3:
        return {"type": "array", "items": drawn_schema(draw, depth - 1), "maxItems": draw.randint(0, 3)}
    names = [f"field{i}" for i in range(draw.randint(1, 4))]
    properties = {name: drawn_schema(draw, depth - 1) for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": names[: draw.randint(0, len(names))],
        "additionalProperties": False,
    }


# -- facts ---------------------------------------------------------------------------------------------


def facts(arguments: argparse.Namespace) -> None:
    """Licences of the system, with facts in English and Chinese between their sentences."""
    from llamachat.programs.long_texts import PASSAGE_TOKENS, cut, rank

    def count(text: str) -> int:
        return -(-len(text) // 4)

    folder = Path("/usr/share/common-licenses")
    source = "\n\n".join(path.read_text() for path in sorted(folder.glob("*")) if path.is_file())
    size = 20 * N_CTX * 4
    source = (source * -(-size // len(source)))[:size]
    names = [f"{a}{b}" for a in ("Mar", "Tor", "Vel", "Kan", "Sul") for b in ("ina", "obo", "eka", "uri")]
    planted = [f"The seal of {name} is kept in drawer {i * 37}." for i, name in enumerate(names)]
    planted += [f"{name}的钟楼里藏着第{i}号钥匙。" for i, name in enumerate(names)]
    asked = [f"Where is the seal of {name} kept?" for name in names]
    asked += [f"{name}的钟楼里藏着什么钥匙？" for name in names]
    ends = [match.end() for match in re.finditer(r"\. ", source)]
    places = ends[:: len(ends) // len(planted)][: len(planted)]
    text, at = "", 0
    for place, fact in zip(places, planted, strict=True):
        text, at = text + source[at:place] + fact + " ", place
    text += source[at:]
    passages = [text[p.start : p.end] for p in cut(text, PASSAGE_TOKENS, count, PASSAGE_TOKENS // 8)]
    hits = sum(
        any(fact in passages[i] for i in rank(passages, question)[:5])
        for fact, question in zip(planted, asked, strict=True)
    )
    covered = "".join(text[p.start : p.end] for p in cut(text, N_CTX // 2, count)) == text
    print(json.dumps({"facts": len(planted), "in the first 5": hits, "every character seen": covered}))


# -- start ---------------------------------------------------------------------------------------------


def start(arguments: argparse.Namespace) -> None:
    body = {
        "messages": [{"role": "user", "content": "Say hi."}],
        "max_tokens": 1,
        "temperature": 0,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory(prefix="llamachat-benchmark-") as folder:
        home = Path(folder)
        with running(serve(1, home), small_model(), home) as server:
            curl = ["curl", "-s", "-H", "Content-Type: application/json", "-d", json.dumps(body)]
            commands = {
                "curl": [*curl, f"{server.url}/v1/chat/completions"],
                "ask": [*LLAMACHAT, "ask", "Say hi.", "--max-tokens", "1"],
                "ask --no-store": [*LLAMACHAT, "ask", "Say hi.", "--max-tokens", "1", "--no-store"],
            }
            times: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(arguments.rounds):
                for name, command in commands.items():
                    began = time.perf_counter()
                    subprocess.run(
                        command,
                        env=own_environment(home, server.url),
                        stdin=subprocess.DEVNULL,
                        capture_output=True,
                        check=False,
                    )
                    times[name].append(time.perf_counter() - began)
    print(json.dumps({name: round(statistics.median(values), 3) for name, values in times.items()}))


PARTS = {part.__name__: part for part in (rows, kills, schemas, facts, start)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 40], help="of an answer")
    parser.add_argument("--loop-rows", type=int, default=40, help="rows that `llm` is asked, one by one")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--longest", type=int, default=40, help="max_tokens goes from 1 to this")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    PARTS[arguments.part](arguments)


if __name__ == "__main__":
    main()
