"""Guard: what goes wrong in a whole reply is told as it is in a stream, and a bad grammar is no crash.

Stock, every exception but a context overflow is a 500, which clients try again, a grammar that doesn't
parse is a null pointer in the chain of samplers, and one that is nested deeply kills the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks
from llamachat.engine.failures import Refused, refusal

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

GRAMMAR_BYTES = 64 * 1024
GRAMMAR_DEPTH = 200
"""llama.cpp calls itself for each parenthesis and each rule, and the stack of a thread has an end."""
GRAMMAR_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^]\\])*\]|#.*')


class Failing(Base):
    def create_chat_completion(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().create_chat_completion(*args, **kwargs)
        except Exception as error:
            raise refusal(error) from error

    def create_completion(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if kwargs.get("grammar") is not None:
                self._check_grammar(kwargs["grammar"])
            self._check_bias(kwargs.get("logit_bias") or ())
            return super().create_completion(*args, **kwargs)
        except Exception as error:
            raise refusal(error) from error

    def generate(self, tokens: Any, *args: Any, **kwargs: Any) -> Any:
        """Stock, nothing to read is an assertion that fails where the first token is drawn."""
        if not len(tokens):
            raise Refused(400, "The prompt is empty.", param="prompt")
        return super().generate(tokens, *args, **kwargs)

    def create_embedding(self, *args: Any, **kwargs: Any) -> Any:
        if not self.context_params.embeddings:
            raise Refused(400, "This server makes no embeddings; start it with `-- --embedding true`.")
        return super().create_embedding(*args, **kwargs)

    def _check_grammar(self, grammar: Any) -> None:
        import llama_cpp

        vocab = llama_cpp.llama_model_get_vocab(self.model)
        text, root = grammar._grammar.encode(), grammar._root.encode()
        if len(text) > GRAMMAR_BYTES or _depth(grammar._grammar) > GRAMMAR_DEPTH:
            raise Refused(400, "The grammar is too large or nested too deeply.", param="grammar")
        sampler = llama_cpp.llama_sampler_init_grammar(vocab, text, root)
        if not sampler:
            raise Refused(400, "The grammar does not parse.", param="grammar")
        llama_cpp.llama_sampler_free(sampler)

    def _check_bias(self, tokens: Iterable[object]) -> None:
        """Stock, the sampler's callback fails at each token, and the model goes on without any bias."""
        for token in tokens:
            if not str(token).isdecimal() or int(str(token)) >= self.n_vocab():
                raise Refused(400, f"logit_bias: {token!r} is no token of this model.", param="logit_bias")


def _depth(grammar: str) -> int:
    """How deep its parentheses are nested, beside those in quotes, classes and comments."""
    depth = deepest = 0
    for char in GRAMMAR_TEXT.sub("", grammar):
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    return deepest


def install(options: EngineOptions) -> None:
    import llama_cpp

    for name in ("llama_model_get_vocab", "llama_sampler_init_grammar", "llama_sampler_free"):
        hooks.require(llama_cpp, name)
    hooks.extend_llama(Failing, "create_chat_completion", "create_completion", "generate", "create_embedding")
