"""How many tokens a message adds to a prompt: counted by the server if it can, else estimated.

A chat template is a frame around each message and one around the whole, and no token spans the edge of a
message. So a prompt's size is a sum, and the size of a message is measured once, by itself. Where a
template breaks this rule (one that rewrites old answers, say), the first reply's `usage` shows it, and whole
prompts are counted from then on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from llamachat.core.conversation import Message, Role
from llamachat.errors import CannotCount

CountPrompt = Callable[[Sequence[Message]], int]
"""Tokens of a prompt that consists of these messages, as the server would read it."""

PROBE = "x"
PICTURE_TOKENS = 1024
"""What a picture is taken for where the server can't count it: models take from 64 to some 3,000."""


class TokenCounter(Protocol):
    """Sizes in tokens. `exact` says whether they are the server's own."""

    @property
    def exact(self) -> bool: ...

    def overhead(self, has_system: bool) -> int:
        """What the template adds around any prompt."""

    def message(self, message: Message) -> int:
        """What one message adds to a prompt."""

    def prompt(self, messages: Sequence[Message]) -> int:
        """The size of a whole prompt, as a sum."""

    def whole(self, messages: Sequence[Message]) -> int:
        """The same in one request, for a prompt of which no part comes again."""

    def learn(self, messages: Sequence[Message], prompt_tokens: int) -> None:
        """Take in what the server said of a prompt that it has read."""


def _sum(counter: TokenCounter, messages: Sequence[Message]) -> int:
    has_system = bool(messages) and messages[0].role == "system"
    return counter.overhead(has_system) + sum(map(counter.message, messages))


class ServerCounter:
    """Exact sizes, from a server that counts prompts; each text is counted once."""

    exact = True

    def __init__(self, count_prompt: CountPrompt) -> None:
        self._count_prompt = count_prompt
        self._sizes: dict[tuple[Role, str, tuple[str, ...]], int] = {}
        self._additive = True
        self._alone = self._probe("user")

    def overhead(self, has_system: bool) -> int:
        return self._overheads[has_system]

    def message(self, message: Message) -> int:
        key = (message.role, message.content, message.pictures)
        if key not in self._sizes:
            self._sizes[key] = self._alone_with(message) - self._alone + self._frames[message.role]
        return self._sizes[key]

    def _alone_with(self, message: Message) -> int:
        try:
            return self._count_prompt([Message("user", message.content, pictures=message.pictures)])
        except CannotCount:
            if not message.pictures:
                raise
            # One that can't be read: what the server says of the request itself is the better error.
            text = self._count_prompt([Message("user", message.content or PROBE)])
            return text + len(message.pictures) * PICTURE_TOKENS

    def prompt(self, messages: Sequence[Message]) -> int:
        return _sum(self, messages) if self._additive else self._count_prompt(messages)

    def whole(self, messages: Sequence[Message]) -> int:
        try:
            return self._count_prompt(messages)
        except CannotCount:
            return self.prompt(messages)

    def learn(self, messages: Sequence[Message], prompt_tokens: int) -> None:
        self._additive = self._additive and _sum(self, messages) == prompt_tokens

    @cached_property
    def _frames(self) -> Mapping[Role, int]:
        exchange = self._probe("user", "assistant", "user") - self._alone
        frame = exchange // 2
        return {"system": frame, "user": frame, "assistant": exchange - frame}

    @cached_property
    def _overheads(self) -> Mapping[bool, int]:
        frame = self._frames["user"]
        return {False: self._alone - frame, True: self._probe("system", "user") - 2 * frame}

    def _probe(self, *roles: Role) -> int:
        return self._count_prompt([Message(role, PROBE) for role in roles])


class EstimatingCounter:
    """Sizes for a server that can't count, on the safe side, and calibrated by what it says of its prompts.

    The weights before the first calibration are those of SmolLM2's tokenizer, the hungriest of the usual
    ones: 1.6 to 2.3 tokens for the three bytes of a Chinese character, where Llama 3 takes 0.7, and about as
    many a byte for emoji and Thai; one for each digit; one for 4.8 letters of English, or 3.3 of code. No
    tokenizer takes more tokens than a text has bytes.
    """

    exact = False
    FRAME = 8
    SINGLE = re.compile(rb"[^A-Za-z ]")
    """ASCII that seldom shares a token: digits, punctuation, ends of lines."""
    BYTES_PER_TOKEN = 3.0
    TOKENS_PER_FOREIGN_BYTE = 0.75
    MARGIN = 1.05
    SLACK = 0.7

    def __init__(self) -> None:
        self._factor = 1.0

    def overhead(self, has_system: bool) -> int:
        return 2 * self.FRAME if has_system else 4 * self.FRAME

    def message(self, message: Message) -> int:
        most = len(message.content.encode("utf-8", "replace")) + 1
        text = min(int(self._content(message.content) * self._factor), most)
        return self.FRAME + text + len(message.pictures) * PICTURE_TOKENS

    def prompt(self, messages: Sequence[Message]) -> int:
        return _sum(self, messages)

    whole = prompt

    def learn(self, messages: Sequence[Message], prompt_tokens: int) -> None:
        """Grow at once if the estimate was too low; shrink only if it was far too high.

        Each change may move the start of what is sent, which costs the server a fresh reading.
        """
        estimated = sum(self._content(m.content) for m in messages)
        framed = prompt_tokens - self.FRAME * len(messages)
        wanted = max(0.2, framed / max(1.0, estimated) * self.MARGIN)
        if wanted > self._factor or wanted < self._factor * self.SLACK:
            self._factor = wanted

    def _content(self, text: str) -> float:
        plain = text.encode("ascii", "ignore")
        foreign = len(text.encode("utf-8", "replace")) - len(plain)
        single = len(self.SINGLE.findall(plain))
        return foreign * self.TOKENS_PER_FOREIGN_BYTE + single + (len(plain) - single) / self.BYTES_PER_TOKEN


def requests(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The messages in the form that servers take."""
    return [message.as_request() for message in messages]
