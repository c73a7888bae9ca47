"""What the model sees of the conversation: fits each turn into the window, and says what went out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llamachat.client.counting import TokenCounter
from llamachat.core.conversation import Conversation, Message
from llamachat.core.window import Budget, Fitted, fit
from llamachat.errors import ContextExceeded, LlamachatError

OnFull = Literal["drop", "summarise", "stop"]

SUMMARY_TOKENS = 150
SUMMARY_REQUEST = {
    "zh": "请用不超过100个字总结我们到目前为止的对话，保留其中的事实、名字、数字和决定。只输出总结。",
    "en": "Summarise our conversation so far in at most 100 words. Keep facts, names, numbers and decisions. "
    "Output the summary only.",
}
TIGHTER = 0.75
"""How much smaller the window is taken to be, after a server said without a number that it is full."""

Ask = Callable[[Sequence[Message], int], str]
"""Answer these messages in at most so many tokens; empty where that failed."""


class WindowFull(LlamachatError):
    """With `on_full` set to `stop`: sending this message would make the model forget `turns` turns."""

    def __init__(self, turns: int) -> None:
        what = "the oldest turn" if turns == 1 else f"the {turns} oldest turns"
        super().__init__(
            f"The window is full: with this message the model would no longer see {what}.",
            "Decide: `/set on-full drop` or `summarise`, `/undo`, or `/clear`; /context shows what is there.",
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One message as /context lists it: its tokens, and whether the model sees it."""

    index: int
    message: Message
    tokens: int
    seen: bool


class Context:
    """The window of one conversation with one server.

    `n_ctx` and `max_tokens` in tokens; without `max_tokens` the answer's room is a quarter of the window.
    """

    def __init__(
        self, n_ctx: int, counter: TokenCounter, *, max_tokens: int | None = None, on_full: OnFull = "drop"
    ) -> None:
        self.n_ctx = n_ctx
        self.counter = counter
        self.max_tokens = max_tokens
        self.on_full: OnFull = on_full
        self._dropped: frozenset[int] = frozenset()
        self._sent: tuple[Message, ...] = ()

    @property
    def answer_room(self) -> int:
        return self.max_tokens or self.n_ctx // 4

    def fit(self, candidate: Conversation) -> Fitted:
        """What is sent of `candidate`. Raises MessageTooLarge where its last message does not fit."""
        budget = Budget(self.n_ctx, self.answer_room, self.counter.overhead(candidate.system is not None))
        fitted = fit(candidate, budget, self.counter.message)
        total = self.counter.prompt(fitted.messages)
        if total > fitted.prompt_tokens:
            # A template in which the sizes of messages do not add up.
            budget = replace(budget, overhead=budget.overhead + total - fitted.prompt_tokens)
            fitted = fit(candidate, budget, self.counter.message)
        return fitted

    def resume(self, conversation: Conversation) -> None:
        """Take `conversation` as one that goes on: what is outside the window already is no news."""
        self._sent = ()
        self._dropped = frozenset(self.fit(conversation).dropped) if conversation.messages else frozenset()

    def dropped_now(self, fitted: Fitted) -> tuple[int, ...]:
        """The indexes of messages that go out of the window with this turn."""
        return tuple(i for i in fitted.dropped if i not in self._dropped)

    def sent(self, fitted: Fitted, answer: str, prompt_tokens: int | None) -> None:
        """Remember a turn that was answered, and learn from what the server counted."""
        self._dropped = frozenset(fitted.dropped)
        self._sent = (*fitted.messages, Message("assistant", answer))
        if prompt_tokens:
            self.counter.learn(fitted.messages, prompt_tokens)

    def tighten(self, fitted: Fitted, error: ContextExceeded) -> None:
        """Correct the sizes after a server refused a prompt that should have fitted."""
        if error.n_ctx:
            self.n_ctx = min(self.n_ctx, error.n_ctx)
        if error.prompt_tokens:
            self.counter.learn(fitted.messages, error.prompt_tokens)
        if not error.n_ctx or error.prompt_tokens == fitted.prompt_tokens:
            self.n_ctx = int(self.n_ctx * TIGHTER)

    def summarise(self, conversation: Conversation, ask: Ask) -> Conversation:
        """`conversation` with a note that sums it up; unchanged where none could be had.

        The request is the prompt that the model has just answered and one question more, and it stays in the
        conversation as it is: all that the engine reads anew is the question.
        """
        request = Message("user", SUMMARY_REQUEST[_language(conversation)], note=True)
        for seen in (self._sent, self._sent[:-2], self.fit(conversation).messages):
            prompt = (*seen, request)
            if seen and self.counter.prompt(prompt) + SUMMARY_TOKENS <= self.n_ctx:
                summary = ask(prompt, SUMMARY_TOKENS).strip()
                note = Message("assistant", summary, note=True)
                return conversation.with_turn(request, note) if summary else conversation
        return conversation

    def lines(self, conversation: Conversation) -> list[Line]:
        """Every message with its tokens and whether the model sees it."""
        seen = set(self.fit(conversation).kept) if conversation.messages else set()
        return [Line(i, m, self.counter.message(m), i in seen) for i, m in enumerate(conversation)]


def _language(conversation: Conversation) -> Literal["zh", "en"]:
    """The language of most of what was said: a Chinese character counts as much as an English word."""
    text = "".join(m.content for m in conversation if m.role != "system")
    chinese = len(re.findall(r"[\u4e00-\u9fff]", text))
    return "zh" if chinese > len(re.findall(r"[A-Za-z]+", text)) else "en"
