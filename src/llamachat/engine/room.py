"""Guard: an answer leaves room in the window, for the next question and for its own last character.

Stock, a chat request without `max_tokens` writes until the window is full (abetlen/llama-cpp-python #903),
and a small model that rambles does. The next request of that conversation is then refused, whatever it asks,
and a client that sends all of its history, as simple ones do, is at its end. And where the window is full in
the middle of a character of several tokens, the library reads on, which fails. Either way the answer ends
with `finish_reason` `length`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.core.window import OVERRUN
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

KEPT_SHARE = 4
"""A quarter of the window is kept, or half of what is free where that is less."""


class Room(Base):
    def create_completion(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """`prompt` of a chat is a list of tokens, and its `max_tokens` None where the client gave none."""
        if isinstance(prompt, list) and "max_tokens" in kwargs:
            kwargs["max_tokens"] = longest_answer(self.n_ctx(), len(prompt), kwargs["max_tokens"])
        return super().create_completion(prompt, *args, **kwargs)


def longest_answer(n_ctx: int, prompt_tokens: int, wanted: int | None) -> int | None:
    """Tokens, at least one: `wanted`, which is all that there is where it is not positive.

    As it is where the prompt leaves no room at all, which the library refuses.
    """
    free = n_ctx - prompt_tokens
    if free <= 0:
        return wanted
    if wanted is None:
        wanted = max(free // 2, free - n_ctx // KEPT_SHARE)
    return max(1, min(wanted, free - OVERRUN) if wanted > 0 else free - OVERRUN)


def install(options: EngineOptions) -> None:
    hooks.extend_llama(Room, "create_completion")
