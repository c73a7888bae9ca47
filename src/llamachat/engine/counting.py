"""Guard: count the tokens of a message list exactly as a completion of it would, without the model's lock.

Stock there is a count of plain text only, without the template, and it waits for a running reply. This one
takes the completion's own path through template and tokeniser, which touch the vocabulary alone, and stops
where the model would begin.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

_counting: ContextVar[bool] = ContextVar("counting", default=False)


class _Counted(BaseException):
    """Not an Exception, so that nobody on the way takes it for a failure."""

    def __init__(self, count: int) -> None:
        self.count = count


class Counting(Base):
    def count_chat(self, **request: Any) -> int:
        """Safe beside a running reply, from any thread."""
        token = _counting.set(True)
        try:
            self.create_chat_completion(**request)
        except _Counted as counted:
            return counted.count
        finally:
            _counting.reset(token)
        raise RuntimeError("This chat format makes no prompt that could be counted.")

    def create_completion(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        if not _counting.get():
            return super().create_completion(prompt, *args, **kwargs)
        if isinstance(prompt, str):  # some chat formats leave reading the text to the completion
            prompt = self.tokenize(prompt.encode(), add_bos=True, special=True)
        raise _Counted(len(prompt))


def install(options: EngineOptions) -> None:
    hooks.extend_llama(Counting, "create_chat_completion", "create_completion", "tokenize")
