"""Guard: `continue_final_message` lets the model go on with the last message, which is its own.

Stock, the template closes that message and opens another, so an answer that was cut can't be taken up. The
field's name is that of vLLM; llama-server does the same unasked. Here the end of the message is marked before
the template is rendered, and what stands behind the mark is cut off.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import call as calls
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object


END_MARK = secrets.token_hex(16)
"""Drawn once, not by whoever comes first: two that come at once would draw two."""


class Prefill(Base):
    def create_chat_completion(
        self, messages: Any, *args: Any, continue_final_message: bool = False, **kwargs: Any
    ) -> Any:
        call = calls.current.get()
        if continue_final_message or (call is not None and call.continue_final_message):
            last = messages[-1]
            messages = [*messages[:-1], {**last, "content": f"{last['content']}{END_MARK}"}]
        return super().create_chat_completion(messages, *args, **kwargs)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return super().tokenize(text.partition(END_MARK.encode())[0], add_bos, special)


def install(options: EngineOptions) -> None:
    hooks.extend_llama(Prefill, "create_chat_completion", "tokenize")
