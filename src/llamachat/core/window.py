"""What of a conversation is sent, so that it fits the model's window.

`fit` replays the conversation message by message, as it was spoken. When a message makes the prompt larger
than the budget, the oldest whole turns go out together, a block down to four fifths of the budget, and then
the start is left alone until it is full again: between two such moments each prompt is a prefix of the next,
which is what the engine's cache needs. The replay makes the choice a function of the conversation alone, so
that a resumed conversation is seen by the model exactly as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from llamachat.core.conversation import Conversation, Message
from llamachat.errors import MessageTooLarge

KEPT_AFTER_DROP = 0.8
"""Share of the prompt's room that is still used after a block went out; 60 % of the window by default."""
LEAST_ANSWER = 32
"""Tokens below which the room for an answer never falls: a longer prompt is refused."""
OVERRUN = 3
"""Tokens that `llama_cpp` writes beyond `max_tokens`, to end a character of several that it has begun."""

OnFull = Literal["drop", "summarise", "stop"]
ON_FULL: tuple[OnFull, ...] = get_args(OnFull)

Count = Callable[[Message], int]


@dataclass(frozen=True, slots=True)
class Budget:
    """Sizes in tokens: the window, the answer's room in it, and what the template adds around any prompt."""

    n_ctx: int
    max_tokens: int
    overhead: int = 0

    @property
    def prompt_limit(self) -> int:
        """The largest prompt that leaves the answer its room, which is at most half of the window."""
        return self.n_ctx - min(self.max_tokens + OVERRUN, self.n_ctx // 2)

    @property
    def hard_limit(self) -> int:
        """The largest prompt that can be answered at all."""
        return self.n_ctx - min(self.max_tokens + OVERRUN, LEAST_ANSWER)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is sent: `messages`, the nodes `kept` of the conversation; `dropped` are those left out."""

    messages: tuple[Message, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    prompt_tokens: int
    max_tokens: int


@dataclass(slots=True)
class _Turn:
    """A user message and what follows it, up to the next one; dropped whole or not at all."""

    nodes: list[int]
    tokens: int
    pinned: bool
    note: bool


def fit(conversation: Conversation, budget: Budget, count: Count) -> Fitted:
    """Choose what is sent of `conversation`, whose last message is always part of it.

    `count` gives the tokens that one message adds to a prompt. The system message, turns with a pinned
    message and the newest summary always stay. Raises MessageTooLarge if they and the last turn alone
    leave no room for an answer.
    """
    window = _Window(budget)
    for node in conversation.seen:
        window.add(node.id, node.message, count(node.message))
    if window.tokens > budget.hard_limit:
        last = count(conversation.messages[-1])
        free = budget.hard_limit - window.tokens + last
        raise MessageTooLarge(tokens=last, free=free, limit=budget.hard_limit)
    inside = set(window.kept())
    kept = [node for node in conversation.seen if node.id in inside]
    return Fitted(
        messages=tuple(node.message for node in kept),
        kept=tuple(node.id for node in kept),
        dropped=tuple(node.id for node in conversation.seen if node.id not in inside),
        prompt_tokens=window.tokens,
        max_tokens=min(budget.max_tokens, budget.n_ctx - window.tokens - OVERRUN),
    )


class _Window:
    """The state of the replay."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.tokens = budget.overhead
        self.system: list[int] = []
        self.turns: list[_Turn] = []

    def kept(self) -> Iterable[int]:
        return (*self.system, *(i for turn in self.turns for i in turn.nodes))

    def add(self, node_id: int, message: Message, tokens: int) -> None:
        self.tokens += tokens
        if message.role == "system":
            self.system.append(node_id)
        elif message.role == "user" or not self.turns:
            if message.note:
                self._remove([turn for turn in self.turns if turn.note])
            self.turns.append(_Turn([node_id], tokens, message.pinned, message.note))
        else:
            turn = self.turns[-1]
            turn.nodes.append(node_id)
            turn.tokens += tokens
            turn.pinned |= message.pinned
        if self.tokens > self.budget.prompt_limit:
            self._drop_block()

    def _drop_block(self) -> None:
        target = int(self.budget.prompt_limit * KEPT_AFTER_DROP)
        excess = self.tokens - target
        block = []
        for turn in self.turns[:-1]:
            if excess <= 0:
                break
            if not turn.pinned and not turn.note:
                block.append(turn)
                excess -= turn.tokens
        self._remove(block)

    def _remove(self, block: list[_Turn]) -> None:
        self.tokens -= sum(turn.tokens for turn in block)
        self.turns = [turn for turn in self.turns if turn not in block]
