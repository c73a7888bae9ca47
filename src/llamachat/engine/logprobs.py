"""How likely each token of an answer was, and which others were: from the logits that it was drawn from.

The library needs the logits of every token of the window for this (`logits_all`). Here it is the log-softmax
of that one row as the model made it, before penalties, biases and temperature.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LOWEST = -9999.0
"""What OpenAI says for a chance of nothing, which JSON has no number for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One token of an answer. `start` and `end` are in bytes of the answer, `offset` in characters."""

    text: bytes
    logprob: float
    top: Sequence[tuple[bytes, float]]
    start: int
    end: int
    offset: int


class Recorder:
    """Of one answer. `piece` is what a token adds to it; `name`, what one that adds nothing is called.

    `allowed_only` counts only what a grammar allows. A completion's offsets begin at `prompt_characters`.
    """

    def __init__(
        self,
        top: int,
        piece: Callable[[int], bytes],
        name: Callable[[int], bytes],
        *,
        allowed_only: bool = False,
        prompt_characters: int = 0,
    ) -> None:
        self.allowed_only = allowed_only
        self._top, self._piece, self._name = top, piece, name
        self._pending: deque[Entry] = deque()
        self._written = self._sent = 0
        self._offset = prompt_characters
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._has_ended = False

    def record(self, token: int, logits: npt.NDArray[np.single], allowed: Sequence[int] | None) -> None:
        """`token` was drawn from `logits`, of shape (n_vocab,), or from those of `allowed` alone."""
        candidates = np.asarray(allowed) if self.allowed_only and allowed else None
        scores = (logits if candidates is None else logits[candidates]).astype(np.float64)
        most = scores.max()
        total = most + np.log(np.exp(scores - most).sum())
        count = min(self._top, len(scores))
        best = np.argpartition(scores, -count)[-count:] if count else np.arange(0)
        best = best[np.argsort(-scores[best])]
        likeliest = (best if candidates is None else candidates[best]).tolist()
        text = self._piece(token)
        top = [
            (self._called(other), _at_least(scores[i] - total))
            for other, i in zip(likeliest, best, strict=True)
        ]
        self._pending.append(
            Entry(
                self._called(token),
                _at_least(logits[token] - total),
                top,
                self._written,
                self._written + len(text),
                self._offset,
            )
        )
        self._written += len(text)
        self._offset += len(self._decoder.decode(text))

    def _called(self, token: int) -> bytes:
        return self._piece(token) or self._name(token)

    def end(self) -> None:
        """The model ended its answer; else one that ends with `stop` ends before a stop string."""
        self._has_ended = True

    def take(self, text: str, finish_reason: str | None) -> list[Entry]:
        """The tokens of `text`, which is sent next; all that are left, where the answer ends."""
        self._sent += len(text.encode())
        if finish_reason is not None:
            cut = finish_reason == "stop" and not self._has_ended
            return [entry for entry in self._pending if not cut or entry.start < self._sent]
        taken = []
        while self._pending and self._pending[0].end <= self._sent:
            taken.append(self._pending.popleft())
        return taken


current: ContextVar[Recorder | None] = ContextVar("logprobs", default=None)


def put(answer: Any, recorder: Recorder | None) -> Any:
    """A reply of the library with logprobs: of a chat or a completion, whole or as a stream of chunks."""
    if recorder is None:
        return answer
    if not isinstance(answer, dict):
        return _streamed(answer, recorder)
    _put(answer["choices"][0], recorder)
    return answer


def _streamed(chunks: Iterator[dict[str, Any]], recorder: Recorder) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        _put(chunk["choices"][0], recorder)
        yield chunk


def joined(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    """Those of a chat's two chunks in one."""
    if first is None or second is None:
        return first or second
    return {**first, "content": [*first["content"], *second["content"]]}


def _put(choice: dict[str, Any], recorder: Recorder) -> None:
    """In OpenAI's form for a choice of this kind."""
    is_chat = "text" not in choice
    said = (choice.get("message") or choice.get("delta") or {}) if is_chat else choice
    text, reason = said.get("content" if is_chat else "text") or "", choice["finish_reason"]
    entries = recorder.take(text, reason) if text or reason else []
    choice["logprobs"] = None
    if entries or "delta" not in choice:
        choice["logprobs"] = _of_chat(entries) if is_chat else _of_completion(entries)


def _at_least(logprob: float) -> float:
    return max(float(logprob), LOWEST)


def _of_chat(entries: Sequence[Entry]) -> dict[str, Any]:
    content = [
        {**_token(entry.text, entry.logprob), "top_logprobs": [_token(*pair) for pair in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _token(text: bytes, logprob: float) -> dict[str, Any]:
    return {"token": text.decode(errors="replace"), "logprob": logprob, "bytes": list(text)}


def _of_completion(entries: Sequence[Entry]) -> dict[str, Any]:
    """The token itself is among its `top_logprobs`, which are one more where it was not."""
    top: list[dict[str, float]] = []
    for entry in entries:
        top.append({})
        for text, logprob in [*entry.top, (entry.text, entry.logprob)]:
            top[-1].setdefault(_name(text), logprob)
    return {
        "tokens": [_name(entry.text) for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": top,
        "text_offset": [entry.offset for entry in entries],
    }


def _name(text: bytes) -> str:
    """As OpenAI names a token that is a part of a character: names have to differ."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)
