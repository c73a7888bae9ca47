"""Every error that a user can cause, with its exit status.

    LlamachatError              1
    ├── MessageTooLarge         1   a message that leaves its answer no room in the window
    ├── WindowFull              1   the model would forget turns, and the user wants to decide
    ├── Stopped                 1   an answer that was stopped before it began
    ├── UsageError              2   a flag, an environment variable or config.toml is wrong
    │   ├── NothingThere        2   what was asked for is right, but there is nothing to do it with
    │   ├── ConversationBusy    2   a conversation that another turn is using
    │   └── ConversationChanged 2   a conversation that changed since it was read
    ├── ModelError              3   a model that can't be found, read, trusted or fitted into memory
    ├── AddressError            4   a host or port that the server can't use
    ├── ServerError             5   the server is not there, died, or answered with an error
    │   ├── Unavailable         5   no server answers, or it is loading: try again later
    │   ├── CannotCount         5   a server that does not count tokens as others of its kind do
    │   ├── ContextExceeded     5   the prompt is larger than the model's window
    │   └── BrokenAnswer        5   a stream that ended before the answer did
    ├── AuthError               6   a key that was refused
    ├── NetworkError            7   a hub or mirror that can't be reached, a broken transfer
    ├── StoreError              8   the transcripts can't be read or written
    │   ├── DamagedError        8   the file is not a database, or contradicts itself
    │   ├── GoneError           8   the conversation was removed meanwhile
    │   └── NotFoundError       8   there is no conversation of that id or name
    └── IncompleteError         9   an answer that is incomplete
        ├── TextTooLong         9   a text that does not fit into the window
        ├── AnswerCut           9   an answer that was cut off at the maximum length
        ├── ShapeError          9   an answer without the shape that was asked for
        └── RowsFailed          9   rows of a batch that failed

A foreign exception is translated into one of these where it enters (the adapter), with ``from``.
`llamachat.cli.program` is the only place that turns one into a line on stderr and an exit status.
"""

from __future__ import annotations

import enum

from llamachat.language import _


class ExitStatus(enum.IntEnum):
    OK = 0
    ERROR = 1
    USAGE = 2
    MODEL = 3
    ADDRESS = 4
    SERVER = 5
    AUTH = 6
    NETWORK = 7
    STORE = 8
    INCOMPLETE = 9
    INTERRUPTED = 130


class LlamachatError(Exception):
    """One line for the user: what happened, and in `hint` what to do next.

    `command_hint` is the hint for those who can type slash commands, if it is another one.
    """

    exit_status = ExitStatus.ERROR

    def __init__(self, message: str, hint: str = "", *, command_hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command_hint = command_hint

    def __str__(self) -> str:
        """Message and hint as the single line that is shown."""
        return self._line(self.hint)

    def with_commands(self) -> str:
        """The same where slash commands can be typed."""
        return self._line(self.command_hint or self.hint)

    def _line(self, hint: str) -> str:
        gap = "" if self.message.endswith(("。", "？")) else " "
        return " ".join(f"{self.message}{gap}{hint}".split())


class MessageTooLarge(LlamachatError):
    """A message of `tokens` when only `free` of the `limit` are left after what can't go out."""

    def __init__(self, *, tokens: int, free: int, limit: int) -> None:
        super().__init__(
            _("The message has {tokens} tokens, and {free} of {limit} are free.").format(
                tokens=tokens, free=max(0, free), limit=limit
            )
        )
        self.tokens = tokens
        self.free = free
        self.limit = limit


class WindowFull(LlamachatError):
    """The user wants to be asked: with this message the model would no longer see `turns` turns."""

    def __init__(self, turns: int) -> None:
        what = _("the oldest turn") if turns == 1 else _("the {turns} oldest turns").format(turns=turns)
        super().__init__(
            _("The window is full: with this message the model would no longer see {what}.").format(what=what)
        )
        self.turns = turns


class Stopped(LlamachatError):
    """The user stopped an answer before there was any of it."""


class UsageError(LlamachatError):
    exit_status = ExitStatus.USAGE


class NothingThere(UsageError):
    """There is nothing yet that the command could be about: typing it otherwise would not help."""


class ConversationBusy(UsageError):
    """Another turn runs in the conversation."""


class ConversationChanged(UsageError):
    """Somebody else has changed the conversation since it was shown."""


class ModelError(LlamachatError):
    exit_status = ExitStatus.MODEL


class AddressError(LlamachatError):
    exit_status = ExitStatus.ADDRESS


class ServerError(LlamachatError):
    exit_status = ExitStatus.SERVER


class Unavailable(ServerError):
    """No server answers at the address, or it is still loading or full: the same request may work later."""


class CannotCount(ServerError):
    """The server does not count tokens as others of its kind do."""


class ContextExceeded(ServerError):
    """The prompt does not fit: `prompt_tokens` into `n_ctx`, either None if the server did not say."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        command_hint: str = "",
        prompt_tokens: int | None = None,
        n_ctx: int | None = None,
    ) -> None:
        super().__init__(message, hint, command_hint=command_hint)
        self.prompt_tokens = prompt_tokens
        self.n_ctx = n_ctx


class BrokenAnswer(ServerError):
    """A stream that ended without a `finish_reason`; `empty` if nothing at all came before the end.

    A stock `llama_cpp.server` sends an empty stream if the prompt is larger than its window.
    """

    def __init__(self, message: str, hint: str = "", *, command_hint: str = "", empty: bool) -> None:
        super().__init__(message, hint, command_hint=command_hint)
        self.empty = empty


class AuthError(LlamachatError):
    exit_status = ExitStatus.AUTH


class NetworkError(LlamachatError):
    exit_status = ExitStatus.NETWORK


class StoreError(LlamachatError):
    exit_status = ExitStatus.STORE


class DamagedError(StoreError):
    """The file is not a database, or one that contradicts itself."""


class GoneError(StoreError):
    """The conversation was removed meanwhile."""


class NotFoundError(StoreError):
    """There is no conversation of that id or name."""


class IncompleteError(LlamachatError):
    exit_status = ExitStatus.INCOMPLETE


class TextTooLong(IncompleteError):
    """A prompt of `tokens` when `limit` would leave room for an answer."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            _("The text has {tokens} tokens, and the window has room for {limit}.").format(
                tokens=tokens, limit=limit
            ),
            _(
                "Cut it in parts with --long map|reduce|refine|find, "
                "or start the server with a larger --n-ctx."
            ),
        )
        self.tokens = tokens
        self.limit = limit


class AnswerCut(IncompleteError):
    """An answer that was cut off at the maximum length, `tokens`; `text` is what there is of it.

    `tokens` is 0 for an answer in parts, of which one was cut; `prompt_tokens` is given where both together
    fill the window.
    """

    def __init__(self, tokens: int, text: str, prompt_tokens: int | None = None) -> None:
        if prompt_tokens is None:
            super().__init__(
                _("The answer was cut after {tokens} tokens.").format(tokens=tokens)
                if tokens
                else _("The answer to a part of the text was cut."),
                _("Give it more room with --max-tokens, or ask for less."),
            )
        else:
            super().__init__(
                _(
                    "The answer was cut after {tokens} tokens: "
                    "with the prompt's {prompt_tokens} they fill the window."
                ).format(tokens=tokens, prompt_tokens=prompt_tokens),
                _("Ask for less, or start the server with a larger --n-ctx."),
            )
        self.tokens = tokens
        self.text = text


class ShapeError(IncompleteError):
    """An answer without the shape that was asked for."""


class RowsFailed(IncompleteError):
    """Rows of a batch have an error instead of an answer."""
