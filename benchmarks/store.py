"""How fast the transcripts are at 100,000 messages: a turn, a list, a resumed conversation, searches.

    python benchmarks/store.py [--messages 100000] [--output benchmarks/results/store.md]

The text is made up: half Chinese, half English, words as unevenly frequent as in real text (Zipf), 20 to 120
words a message. Times are in milliseconds, in one process, the file in the system's cache.
"""

from __future__ import annotations

import argparse
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from llamachat.core.conversation import Conversation, Message
from llamachat.errors import StoreError
from llamachat.store.journal import Journal
from llamachat.store.records import Heading, title_from
from llamachat.store.segment import Finder
from llamachat.store.transcripts import Transcripts

PER_CONVERSATION = 50
HAN = [chr(0x4E00 + n) for n in random.Random(1).sample(range(20000), 3000)]
COMMON = ["模型", "学习", "上下文", "窗口", "问题", "回答"]
CHINESE = COMMON + ["".join(random.Random(n).choices(HAN, k=1 + n % 3)) for n in range(8000)]
ENGLISH = ["the", "model", "context", "window", "token", "answer"] + [
    "".join(random.Random(n).choices("etaoinshrdlu", k=3 + n % 7)) for n in range(8000)
]
QUERIES = [
    "模", "模型", "上下文", "上下文窗口", "模型 学习", "the", "model", "mod", "context window", "answer 问题",
    CHINESE[6000], ENGLISH[6000], "nowheretobefound", "不存在的词", "😀",
]  # fmt: skip


def fail(error: StoreError) -> None:
    raise error


def weights(words: Sequence[str]) -> list[float]:
    return [1 / (rank + 1) for rank in range(len(words))]


def texts(count: int) -> list[str]:
    chance = random.Random(0)
    frequent = {joint: list(accumulate(weights(words))) for words, joint in ((CHINESE, ""), (ENGLISH, " "))}
    made = []
    for number in range(count):
        words, joint = (CHINESE, "") if number // PER_CONVERSATION % 2 else (ENGLISH, " ")
        drawn = chance.choices(words, cum_weights=frequent[joint], k=chance.randint(20, 120))
        lines = [joint.join(drawn[i : i + 15]) for i in range(0, len(drawn), 15)]
        made.append("\n".join(lines))
    return made


def fill(path: Path, made: Sequence[str]) -> None:
    with Transcripts.open(path, fail) as transcripts, transcripts.changes():
        for start in range(0, len(made), PER_CONVERSATION):
            moment = 1.7e9 + start
            heading = Heading(title=title_from(made[start]), created_at=moment, updated_at=moment)
            conversation = transcripts.create(heading)
            parent = None
            for number, text in enumerate(made[start : start + PER_CONVERSATION]):
                answer = number % 2 == 1
                message = Message(
                    "assistant" if answer else "user",
                    text,
                    created_at=moment + number,
                    finish_reason="stop" if answer else None,
                    model="made-up" if answer else None,
                )
                parent = transcripts.append(conversation, parent, message)
            transcripts.change_heading(conversation, Heading(heading.title, None, parent, {}, moment, moment))


def measure(work: Callable[[], object], times: int = 15) -> tuple[float, float]:
    """Median and worst, in milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken), max(taken)


def turns(path: Path) -> list[tuple[str, float, float, str]]:
    with Journal(path, fail) as journal:
        conversation = Conversation().with_system("short")
        journal.start(conversation, {})
        text = "word 模型 " * 60

        def ask() -> None:
            nonlocal conversation
            conversation = conversation.with_message(Message("user", text))
            journal.save(conversation, title=text, wait=True)

        def answer() -> None:
            nonlocal conversation
            message = Message("assistant", "", model="made-up", server="http://localhost:8000/v1")
            conversation = conversation.with_message(message)
            journal.save(conversation)
            for _ in range(100):
                journal.write("word ")
            assert conversation.head is not None
            whole = replace(message, content="word " * 100, finish_reason="stop", finished_at=time.time())
            conversation = conversation.changed(conversation.head, whole)
            journal.save(conversation, wait=True)

        asked = measure(ask)
        answered = measure(answer)
        return [
            ("ask (question on the disk)", *asked, "1 message"),
            ("answer of 100 pieces, to its end", *answered, "1 message"),
        ]


def reads(path: Path, made: Sequence[str]) -> list[tuple[str, float, float, str]]:
    def reopen() -> None:
        with Transcripts.open(path, fail):
            pass

    rows = [("open", *measure(reopen), "")]
    with Transcripts.open(path, fail) as transcripts:
        rows.append(("list", *measure(lambda: transcripts.summaries(50)), "50 conversations"))
        rows.append(
            ("list all", *measure(transcripts.summaries), f"{len(transcripts.summaries())} conversations")
        )
        rows.append(
            (
                "resume",
                *measure(lambda: transcripts.load(1)),
                f"{len(transcripts.load(1).conversation.path)} messages",
            )
        )
        for query in QUERIES:
            found = len(transcripts.search(query))
            finder = Finder(query)
            holding = sum(map(finder.matches, made))
            rows.append(
                (
                    f"search `{query}`",
                    *measure(lambda q=query: transcripts.search(q)),
                    f"{found} of {holding}",
                )
            )
        scan = measure(lambda: sum(map(Finder("模型").matches, made)), 1)
        rows.append(("for comparison: the same words without an index", *scan, ""))
    return rows


def report(count: int, rows: Sequence[tuple[str, float, float, str]], facts: Sequence[str]) -> str:
    lines = [
        f"# Transcripts at {count:,} messages",
        "",
        *facts,
        "",
        "| | median ms | worst ms | |",
        "|-|-:|-:|-|",
    ]
    lines += [f"| {what} | {median:.1f} | {worst:.1f} | {note} |" for what, median, worst, note in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "store.md")
    args = parser.parse_args()
    made = texts(args.messages)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transcripts.db"
        begun = time.perf_counter()
        fill(path, made)
        rate = args.messages / (time.perf_counter() - begun)
        text_size = sum(len(text.encode()) for text in made) / 1e6
        rows = reads(path, made) + turns(path)
        facts = [
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}.",
            f"{text_size:.0f} MB of text make a file of {path.stat().st_size / 1e6:.0f} MB,"
            f" written at {rate:,.0f} messages/s.",
            "Searches show the newest 50 hits; the last column gives shown and all.",
        ]
    table = report(args.messages, rows, facts)
    print(table)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
