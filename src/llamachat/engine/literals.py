"""Guard: text in a message that spells a control token stays text.

Stock, the whole rendered prompt is read with control tokens on, so a pasted `<|eot_id|>` ends the turn and
what follows may open another role (ggml-org/llama.cpp #11270 warns of this). Here such spellings are broken
by a random mark before the template is rendered; then only the stretches of text that hold a mark are read
with control tokens off, and without the mark. Without such spellings a prompt takes the stock path.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

SPACES = b" \t\n\v\f\r"
MARK = secrets.token_hex(16)
"""Drawn once, not by whoever comes first: two that come at once would draw two and mix them up."""


class Marks:
    """`strips_left` and `strips_right`: control tokens that swallow the spaces beside them."""

    def __init__(self, control: Mapping[str, int], strips_left: int, strips_right: int) -> None:
        self._attributes = {text.encode(): attributes for text, attributes in control.items()}
        self._strips_left, self._strips_right = strips_left, strips_right
        longest_first = sorted(control, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or r"(?!)"
        self._text = re.compile(pattern)
        self._bytes = re.compile(b"(" + pattern.encode() + b")")
        self.mark = MARK

    def put(self, value: Any, key: str = "") -> Any:
        """The same messages with every spelling of a control token broken, except in roles."""
        if isinstance(value, str):
            return value if key in ("role", "type") else self._text.sub(self._broken, value)
        if isinstance(value, list):
            return [self.put(item) for item in value]
        if isinstance(value, dict):
            return {name: self.put(item, name) for name, item in value.items()}
        return value

    def _broken(self, match: re.Match[str]) -> str:
        return match[0][0] + self.mark + match[0][1:]

    def split(self, prompt: bytes) -> Iterator[tuple[bytes, bool]]:
        """The prompt in stretches, each with whether it is text alone; the marks are gone."""
        mark, stock = self.mark.encode(), b""
        parts = self._bytes.split(prompt)
        for index, part in enumerate(parts):
            if mark not in part:
                stock += part
                continue
            if stock:
                yield stock, False
                stock = b""
            text = part.replace(mark, b"")
            if index and self._attributes[parts[index - 1]] & self._strips_right:
                text = text.lstrip(SPACES)
            if index + 1 < len(parts) and self._attributes[parts[index + 1]] & self._strips_left:
                text = text.rstrip(SPACES)
            yield text, True
        if stock:
            yield stock, False


class Literals(Base):
    @cached_property
    def _marks(self) -> Marks:
        import llama_cpp

        vocab = llama_cpp.llama_model_get_vocab(self.model)
        wanted = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        control: dict[str, int] = {}
        for token in range(llama_cpp.llama_vocab_n_tokens(vocab)):
            attributes = llama_cpp.llama_vocab_get_attr(vocab, token)
            if attributes & wanted and (text := llama_cpp.llama_vocab_get_text(vocab, token)):
                control[text.decode("utf-8", errors="replace")] = attributes
        return Marks(control, llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP, llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP)

    def create_chat_completion(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        return super().create_chat_completion(self._marks.put(messages), *args, **kwargs)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        if not special or self._marks.mark.encode() not in text:
            return super().tokenize(text, add_bos, special)
        tokens = [
            token
            for part, literal in self._marks.split(text)
            for token in super(Literals, self).tokenize(part, False, not literal)
        ]
        return self._with_edges(tokens) if add_bos else tokens

    def _with_edges(self, tokens: list[int]) -> list[int]:
        """With the begin and end tokens that the vocabulary wants around every text."""
        import llama_cpp

        vocab = llama_cpp.llama_model_get_vocab(self.model)
        first = [self.token_bos()] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
        last = [self.token_eos()] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
        return [*first, *tokens, *last]


def install(options: EngineOptions) -> None:
    import llama_cpp

    for name in ("llama_vocab_get_attr", "llama_vocab_get_text", "LLAMA_TOKEN_ATTR_CONTROL"):
        hooks.require(llama_cpp, name)
    hooks.extend_llama(Literals, "create_chat_completion", "tokenize")
