"""Guard: an answer of no given length leaves room in the window for the next question.

Stock, a chat request without `max_tokens` writes until the window is full (abetlen/llama-cpp-python #903),
and a small model that rambles does. The next request of that conversation is then refused, whatever it asks,
and a client that sends all of its history, as simple ones do, is at its end. The answer still ends with
`finish_reason` `length`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
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
        if isinstance(prompt, list) and kwargs.get("max_tokens", 0) is None:
            kwargs["max_tokens"] = longest_answer(self.n_ctx(), len(prompt))
        return super().create_completion(prompt, *args, **kwargs)


def longest_answer(n_ctx: int, prompt_tokens: int) -> int | None:
    """Tokens, at least one; None where the prompt leaves no room at all, which the library refuses."""
    free = n_ctx - prompt_tokens
    return max(1, free // 2, free - n_ctx // KEPT_SHARE) if free > 0 else None


def install(options: EngineOptions) -> None:
    hooks.extend_llama(Room, "create_completion")
