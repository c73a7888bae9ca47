"""What the model sees of the conversation: each turn fitted into the window, and what goes out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from llamachat.client import ServerWindow
from llamachat.client.counting import TokenCounter
from llamachat.core.conversation import Conversation, Message
from llamachat.core.presets import Lang
from llamachat.core.window import OVERRUN, Budget, Fitted, fit
from llamachat.errors import BrokenAnswer, CannotCount, ContextExceeded, LlamachatError, MessageTooLarge
from llamachat.language import _

DEFAULT_N_CTX = 2048
"""llama_cpp.server's own default."""
SUMMARY_TOKENS = 150
"""The longest summary, or an eighth of a small window."""
SUMMARY_REQUEST = {
    "zh": "请用不超过100个字总结我们到目前为止的对话，保留其中的事实、名字、数字和决定。只输出总结。",
    "en": "Summarise our conversation so far in at most 100 words. Keep facts, names, numbers and decisions. "
    "Output the summary only.",
}
TIGHTER = 0.75
"""How much smaller the window is taken to be, after a server said without a number that it is full."""
LEAST_WINDOW = 256
"""No such guess goes below these tokens: no window is smaller, so something else is wrong."""

Ask = Callable[[Sequence[Message], int], str]
"""Answer these messages in at most that many tokens; empty if that failed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message as /context lists it: its tokens, and whether the model sees it."""

    message: Message
    tokens: int
    seen: bool


class ContextWindow:
    """The window of one conversation with one server, which is asked for its size when it is first needed.

    `n_ctx` in tokens is used if the server does not say it; `max_tokens` is the longest answer that is
    wanted, None for a quarter of the window.
    """

    def __init__(self, ask_server: Callable[[], ServerWindow], *, n_ctx: int | None = None) -> None:
        self.max_tokens: int | None = None
        self._ask_server = ask_server
        self._given = n_ctx
        self._window: ServerWindow | None = None
        self._limit: int | None = None
        self._dropped: frozenset[int] = frozenset()
        self._sent: tuple[Message, ...] = ()
        self._used = 0
        self._resumed: Conversation | None = None

    @property
    def n_ctx(self) -> int:
        size = self._known.n_ctx or self._given or DEFAULT_N_CTX
        return min(size, self._limit or size)

    @property
    def counter(self) -> TokenCounter:
        return self._known.counter

    @property
    def status(self) -> str:
        """Tokens in the window after the last answer and its size; empty if there was none yet."""
        self.measure()
        # An estimate can come out larger than the window.
        return f"{min(self._used, self.n_ctx)}/{self.n_ctx}" if self._used and self._window else ""

    @property
    def answer_room(self) -> int:
        """The room for an answer in tokens."""
        return self.max_tokens or self.n_ctx // 4

    def fit(self, candidate: Conversation) -> Fitted:
        """What is sent of `candidate`. Raises MessageTooLarge if its last message does not fit."""
        try:
            return self._fit(candidate)
        except CannotCount:
            # Another server has come in its place, or it has lost the way to count.
            self.forget_server()
            return self._fit(candidate)
        except MessageTooLarge as error:
            _advise(error, candidate.messages[-1])
            raise

    def _fit(self, candidate: Conversation) -> Fitted:
        overhead = self.counter.overhead(candidate.system is not None)
        budget = Budget(self.n_ctx, self.answer_room, overhead)
        fitted = fit(candidate, budget, self.counter.message)
        total = self.counter.prompt(fitted.messages)
        if total > fitted.prompt_tokens:
            # A template in which the sizes of messages do not add up.
            budget = replace(budget, overhead=overhead + total - fitted.prompt_tokens)
            fitted = fit(candidate, budget, self.counter.message)
        return fitted

    def resume(self, conversation: Conversation) -> None:
        """Take `conversation` as one that continues: what is already outside the window is not news.

        Its messages are counted when that is first needed, or by `measure`.
        """
        self._sent, self._dropped, self._used = (), frozenset(), 0
        self._resumed = conversation if len(conversation) > 1 else None

    @property
    def measured(self) -> bool:
        """Whether nothing has to be counted to know what is in the window."""
        return self._resumed is None

    def measure(self) -> None:
        """Count the messages of a conversation that was resumed, unless that was done: a request for each."""
        conversation, self._resumed = self._resumed, None
        if conversation is not None:
            seen = self._measure(conversation)
            self._dropped = frozenset(seen.dropped if seen else ())

    def system_changed(self, conversation: Conversation) -> None:
        """Take `conversation` as what was sent last, but for its system message.

        Turns that this drives out are news, and can still be summed up.
        """
        self.measure()
        self._measure(conversation)

    def _measure(self, conversation: Conversation) -> Fitted | None:
        """Find out how full the window is; what the model sees of `conversation`, as far as is known."""
        seen = None
        # A server that is away now will be asked again for the next message.
        with suppress(LlamachatError):
            seen = self._seen(conversation) if len(conversation) > 1 else None
        self._used = seen.prompt_tokens if seen else 0
        return seen

    def dropped_now(self, fitted: Fitted) -> tuple[int, ...]:
        """The nodes that go out of the window with this turn."""
        self.measure()
        return tuple(i for i in fitted.dropped if i not in self._dropped)

    def has_dropped(self, node_id: int) -> bool:
        """Whether a message was out of the window at the last answer, as far as is known."""
        return node_id in self._dropped

    def questions_dropped_now(self, conversation: Conversation, fitted: Fitted) -> tuple[Message, ...]:
        """The questions of the turns that go out of the window with this turn."""
        now = set(self.dropped_now(fitted))
        return tuple(n.message for n in conversation.seen if n.id in now and n.message.is_question)

    def sent(self, fitted: Fitted, answer: str, prompt_tokens: int | None, completion_tokens: int) -> None:
        """Remember a turn that was answered, and learn from what the server counted."""
        self._resumed = None
        self._dropped = frozenset(fitted.dropped)
        last = fitted.messages[-1]
        goes_on = last.role == "assistant"
        before = fitted.messages[:-1] if goes_on else fitted.messages
        said = Message("assistant", last.content + answer if goes_on else answer)
        self._sent = (*before, said)
        if not completion_tokens:
            with suppress(LlamachatError):
                completion_tokens = self.counter.message(Message("assistant", answer))
        self._used = (prompt_tokens or fitted.prompt_tokens) + completion_tokens
        if prompt_tokens and not goes_on:
            self.counter.learn(fitted.messages, prompt_tokens)

    def tighten(self, fitted: Fitted, error: ContextExceeded | BrokenAnswer) -> None:
        """Correct the sizes after a server refused a prompt that should have fitted."""
        n_ctx, prompt_tokens = (
            (error.n_ctx, error.prompt_tokens) if isinstance(error, ContextExceeded) else (None, None)
        )
        corrects = bool(n_ctx and n_ctx < self.n_ctx)
        if prompt_tokens and prompt_tokens > fitted.prompt_tokens:
            self.counter.learn(fitted.messages, prompt_tokens)
            corrects = True
        smaller = min(int(self.n_ctx * TIGHTER), fitted.prompt_tokens)
        self._limit = n_ctx if corrects and n_ctx else max(LEAST_WINDOW, smaller)

    def forget_server(self) -> None:
        """Ask again for the window at the next turn: another server may have come."""
        self._window, self._limit = None, None

    def summarise(self, conversation: Conversation, ask: Ask) -> Conversation:
        """`conversation` with a note that sums it up; unchanged if none could be had.

        The request is the prompt that the model has just answered and one question more, and it stays in the
        conversation as it is: all that the engine reads is the question.
        """
        request = Message("user", SUMMARY_REQUEST[_language(conversation)], note=True)
        room = min(SUMMARY_TOKENS, self.n_ctx // 8)
        fitted = self._seen(conversation)
        seen = self._sent or (fitted.messages if fitted else ())
        # Where the window has no room for the request, the last turns stay out: they are not what goes.
        for end in range(len(seen), 1, -2):
            prompt = (*seen[:end], request)
            if self.counter.prompt(prompt) + room + OVERRUN <= self.n_ctx:
                summary = ask(prompt, room).strip()
                note = Message("assistant", summary, note=True)
                return conversation.with_turn(request, note) if summary else conversation
        return conversation

    def lines(self, conversation: Conversation) -> list[Line]:
        """Every message with its tokens and whether the model sees it."""
        fitted = self._seen(conversation)
        seen = set(fitted.kept) if fitted else set()
        return [Line(n.message, self.counter.message(n.message), n.id in seen) for n in conversation.seen]

    def _seen(self, conversation: Conversation) -> Fitted | None:
        """What the model saw when it answered last, and that answer; None if there is no room for any.

        What does not fit any more (an answer that went on, a window that has become smaller) is left out.
        """
        with suppress(MessageTooLarge):
            return self._answered(conversation) or self.fit(conversation)
        with suppress(MessageTooLarge):
            fitted = self.fit(conversation.with_message(Message("user", "")))
            return replace(fitted, messages=fitted.messages[:-1], kept=fitted.kept[:-1])
        return None

    def _answered(self, conversation: Conversation) -> Fitted | None:
        """The last prompt with its answer; None if there was none, or both do not fit together."""
        answer = conversation.last
        if answer is None or answer.message.role != "assistant":
            return None
        asked = self.fit(conversation.without_last())
        tokens = asked.prompt_tokens + self.counter.message(answer.message)
        if tokens > self.n_ctx:
            return None
        messages, kept = (*asked.messages, answer.message), (*asked.kept, answer.id)
        return replace(asked, messages=messages, kept=kept, prompt_tokens=tokens)

    @property
    def _known(self) -> ServerWindow:
        if self._window is None:
            self._window = self._ask_server()
        return self._window


def _advise(error: MessageTooLarge, last: Message) -> None:
    """Say what can be done about it."""
    if last.role == "assistant":
        error.message = _("The question and this answer fill the whole window.")
        error.hint = _("Ask for the rest in a new message, or start the server with a larger --n-ctx.")
    elif error.tokens > error.limit // 2:
        error.hint = _("Start the server with a larger --n-ctx, send a part, or split it.")
        error.command_hint = _(
            "Start the server with a larger --n-ctx, send a part (/file PATH:FROM-TO), or split it; "
            "`llamachat ask -f FILE --long map` reads all of it."
        )
    else:
        error.hint = _("Pinned messages and the system message take the rest.")
        error.command_hint = _(
            "Pinned messages and the system message take the rest: /context lists them, /pin N unpins one."
        )


def _language(conversation: Conversation) -> Lang:
    """The language of most of what was said: a Chinese character counts as much as an English word."""
    text = "".join(m.content for m in conversation if m.role != "system")
    chinese = len(re.findall(r"[\u4e00-\u9fff]", text))
    return "zh" if chinese > len(re.findall(r"[A-Za-z]+", text)) else "en"
