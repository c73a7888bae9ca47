"""Guard: writing a token costs the same at the end of a long reply as at its beginning.

Stock, every token turns the whole reply so far into text again, by one foreign call for each token in it.
Here each token's text is asked for once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object


class Pieces(Base):
    @cached_property
    def _pieces(self) -> dict[int, bytes]:
        return {}

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        if special or not self._is_own_tokenizer:
            return super().detokenize(tokens, prev_tokens, special)
        pieces = self._pieces
        for token in tokens:
            if token not in pieces:
                pieces[token] = super().detokenize([token])
        text = b"".join([pieces[token] for token in tokens])
        # As the library does: older models put a space in front of the first word.
        return text[1:] if text[:1] == b" " and tokens[0] == self.token_bos() else text

    @cached_property
    def _is_own_tokenizer(self) -> bool:
        """Others may look at the tokens before."""
        from llama_cpp.llama_tokenizer import LlamaTokenizer

        return type(self.tokenizer_) is LlamaTokenizer


def install(options: EngineOptions) -> None:
    hooks.extend_llama(Pieces, "detokenize")
