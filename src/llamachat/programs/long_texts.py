"""Texts longer than the window: cut at paragraphs and sentences, asked part by part, and put together again.

- `map`: each part by itself, the answers joined (translation).
- `reduce`: each part, then their answers, as often as it takes (summaries).
- `refine`: the answer so far with each next part.
- `find`: only the passages that the question needs (questions, recommendations, legal texts).

Every character of the text is in some prompt of `map`, `reduce` and `refine`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from llamachat.core.conversation import Message
from llamachat.core.events import TextDelta
from llamachat.errors import TextTooLong
from llamachat.language import _
from llamachat.programs.asking import Answer, Asker, Show
from llamachat.programs.questions import Question
from llamachat.programs.shapes import AnyText, check_quotes
from llamachat.store.segment import index_text

Long = Literal["error", "map", "reduce", "refine", "find"]
LONG: tuple[Long, ...] = get_args(Long)

Compose = Callable[[str], str]
"""The prompt that asks about this text."""
Tell = Callable[[str], None]
"""Shows how far it is, in one line."""

PASSAGE_TOKENS = 160
"""Small enough that five of them fit a window of 2048, large enough to hold what belongs together."""
BETWEEN = "\n\n"
"""What the answers to parts are joined with."""
PARTS = "These are the answers to parts of one text, in its order. Make one answer of them.\n\n"
SO_FAR = (
    "This is the answer for the text so far:\n\n{answer}\n\nImprove it with the next part of the text.\n\n"
)
PASSAGES = "These are passages of a longer text; […] stands for what is left out.\n\n"


@dataclass(frozen=True, slots=True)
class Part:
    """Characters [start, end) of a text."""

    start: int
    end: int


def cut(text: str, tokens: int, count: Callable[[str], int], overlap: int = 0) -> list[Part]:
    """Parts of about `tokens` at most that cover all of `text`; two neighbours share `overlap` tokens."""
    from semchunk.semchunk import chunkerify

    chunker: Any = chunkerify(count, max(tokens, 1))
    offsets: list[tuple[int, int]] = chunker(text, offsets=True, overlap=overlap or None)[1]
    if not offsets:
        return [Part(0, len(text))]
    starts = [0, *(start for start, _ in offsets[1:])]
    # What lies between two parts, and white space at the ends, goes with the part before it.
    followers = [*starts[1:], len(text)]
    ends = [max(end, follower) for (_, end), follower in zip(offsets, followers, strict=True)]
    return [Part(start, end) for start, end in zip(starts, ends, strict=True)]


class LongText:
    """One question about a text that may be longer than the window."""

    def __init__(
        self,
        asker: Asker,
        question: Question,
        compose: Compose,
        *,
        overlap: int = 0,
        tell: Tell = lambda _: None,
    ) -> None:
        self._asker, self._question, self._compose = asker, question, compose
        self._overlap, self._tell = overlap, tell

    def ask(self, text: str, mode: Long, show: Show | None = None) -> Answer:
        """The answer; in one request where the text fits. A `quote` in it must be in the text.

        Raises TextTooLong if `mode` is `error`, and what `Asker.ask` raises.
        """
        answer = self._answer(text, mode, show)
        check_quotes(answer.value, self._compose(text))
        return answer

    def _answer(self, text: str, mode: Long, show: Show | None) -> Answer:
        if mode == "error" or self._fits(self._compose(text)):
            return self._one(self._compose(text), show)
        if mode == "find":
            return self._find(text, show)
        return {"map": self._map, "reduce": self._reduce, "refine": self._refine}[mode](text, show)

    def _map(self, text: str, show: Show | None) -> Answer:
        # An answer may be as long as its part: a translation is.
        answers = list(self._answers(text, self._room(self._compose("")) // 2, show))
        joined = BETWEEN.join(a.text.strip() for a in answers)
        values = joined if isinstance(self._question.shape, AnyText) else [a.value for a in answers]
        return replace(_sum(answers), text=joined, value=values)

    def _reduce(self, text: str, show: Show | None) -> Answer:
        answers = list(self._answers(text, self._part_tokens(self._compose("")), None))
        while True:
            said = "\n\n".join(a.text.strip() for a in answers)
            if len(answers) == 1:
                return answers[0]
            prompt = self._compose(PARTS + said)
            if self._fits(prompt):
                return replace(self._one(prompt, show), usage=None)
            parts = self._part_tokens(self._compose(PARTS))
            fewer = list(self._answers(said, parts, None, PARTS))
            if len(fewer) >= len(answers):
                raise TextTooLong(self._count(said), parts)
            answers = fewer

    def _refine(self, text: str, show: Show | None) -> Answer:
        longest = self._answer_tokens()
        room = self._room(self._compose(SO_FAR)) - 2 * longest
        answer: Answer | None = None
        parts = cut(text, room, self._count, self._overlap)
        for number, part in enumerate(parts, 1):
            self._tell(_("part {number} of {count}").format(number=number, count=len(parts)))
            before = SO_FAR.format(answer=answer.text.strip()) if answer else ""
            last = number == len(parts)
            answer = self._one(
                self._compose(before + text[part.start : part.end]), show if last else None, longest
            )
        assert answer
        return answer

    def _find(self, text: str, show: Show | None) -> Answer:
        question = self._compose("")
        passages = cut(text, PASSAGE_TOKENS, self._count, PASSAGE_TOKENS // 8)
        best = rank([text[p.start : p.end] for p in passages], question)
        chosen: list[int] = []
        for index in best:
            prompt = self._compose(
                PASSAGES + _excerpts(text, [passages[i] for i in sorted([*chosen, index])])
            )
            if not self._fits(prompt, self._answer_tokens()):
                break
            chosen.append(index)
        self._tell(_("{chosen} of {total} passages").format(chosen=len(chosen), total=len(passages)))
        excerpts = _excerpts(text, [passages[i] for i in sorted(chosen)])
        return self._one(self._compose(PASSAGES + excerpts), show)

    def _answers(self, text: str, tokens: int, show: Show | None, before: str = "") -> Iterator[Answer]:
        parts = cut(text, tokens, self._count, self._overlap)
        for number, part in enumerate(parts, 1):
            if show and number > 1:
                show(TextDelta(BETWEEN))
            self._tell(_("part {number} of {count}").format(number=number, count=len(parts)))
            yield self._one(self._compose(before + text[part.start : part.end]), show)

    def _one(self, prompt: str, show: Show | None, max_tokens: int | None = None) -> Answer:
        question = self._question
        if max_tokens and question.max_tokens is None:
            question = replace(question, max_tokens=max_tokens)
        return self._asker.ask(question, question.messages(prompt), show)

    def _fits(self, prompt: str, answer: int = 0) -> bool:
        limit = self._asker.limit(self._question)
        return limit is None or self._asker.tokens(self._question.messages(prompt)) <= limit - answer

    def _room(self, prompt: str) -> int:
        """Tokens of the window that `prompt` leaves free."""
        n_ctx = self._asker.window.n_ctx or 2048
        room = n_ctx - self._asker.tokens(self._question.messages(prompt))
        if room < n_ctx // 8:
            raise TextTooLong(n_ctx - room, n_ctx - n_ctx // 8)
        # A part is measured by itself: where it meets the prompt a token or two may be added.
        return room - max(4, n_ctx // 64)

    def _part_tokens(self, prompt: str) -> int:
        return self._room(prompt) - self._answer_tokens()

    def _answer_tokens(self) -> int:
        return self._question.max_tokens or (self._asker.window.n_ctx or 2048) // 6

    def _count(self, text: str) -> int:
        return self._asker.window.counter.message(Message("user", text))


def rank(passages: Sequence[str], question: str) -> list[int]:
    """The indexes of passages that share a word with `question`, the best first by BM25."""
    words = dict.fromkeys(index_text(question).split())
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE passage USING fts5(words, tokenize = 'unicode61')")
        db.executemany(
            "INSERT INTO passage (rowid, words) VALUES (?, ?)", enumerate(map(index_text, passages))
        )
        match = " OR ".join(f'"{word}"' for word in words)
        rows = (
            db.execute("SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY rank", (match,))
            if match
            else ()
        )
        return [row[0] for row in rows] or list(range(len(passages)))


def _excerpts(text: str, parts: Sequence[Part]) -> str:
    """The parts in the order of the text; those that meet are one."""
    pieces = [text[parts[0].start : parts[0].end]] if parts else []
    for before, part in pairwise(parts):
        if part.start <= before.end:
            pieces.append(text[before.end : part.end])
        else:
            pieces += ["\n[…]\n", text[part.start : part.end]]
    return "".join(pieces)


def _sum(answers: Sequence[Answer]) -> Answer:
    """The last answer, with the worst `finish_reason` of all."""
    cut_short = next((a.finish_reason for a in answers if a.finish_reason != "stop"), "stop")
    return replace(answers[-1], finish_reason=cut_short, usage=None, timings=None)
