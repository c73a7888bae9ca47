"""Hold an answer to a grammar: before each token, what may not come gets no chance.

The library's own way, llama.cpp's sampler, looks at the whole vocabulary for each token, has no bounds, and
ends the process over some grammars. Here the likeliest tokens are tried, as many as the sampler takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from llamachat.engine.compiler import Rules
from llamachat.engine.failures import Refused
from llamachat.grammar.matcher import State
from llamachat.grammar.nodes import GrammarError
from llamachat.grammar.vocabulary import Vocabulary

RECENT_TOKENS = 64
"""As many as the library's penalties look back on; each may fall behind others."""
NO_TOP_K = 1_000
"""Without `top_k`: what is less likely than so many others is not drawn anyway."""
FIRST_TRY = 512
MANY_BYTES = 64
ALL_TOKENS = 1_000
"""Places that take as much memory as a list of the tokens that may come."""
PLACES_AT_FIRST, PLACES_A_TOKEN = 60_000, 3_000
"""In the grammar, that may be looked at in the model's thread: a microsecond each, for which others wait."""
ALL_AT_FIRST, ALL_A_TOKEN = 400_000, 30_000
"""The same where every token of the vocabulary is tried."""


class Constraint:
    """Of one answer: a logits processor, told of each token that was sampled.

    `wanted` is how many of the likeliest tokens the sampler looks at; None for all. An error is kept until
    `accept`, for it can't pass through llama.cpp, which calls this.
    """

    def __init__(self, rules: Rules, words: Words, wanted: int | None) -> None:
        self._rules, self.words, self._wanted = rules, words, wanted
        self._state: State = rules.matcher.start
        self._most, self._a_token = PLACES_AT_FIRST, PLACES_A_TOKEN
        if wanted is None:
            self._most, self._a_token = ALL_AT_FIRST, ALL_A_TOKEN
        self._places = self._most
        self._error: Exception | None = None
        self.allowed: list[int] | None = None
        """What the last token was drawn from."""

    def __call__(
        self, tokens: npt.NDArray[np.intc], scores: npt.NDArray[np.single]
    ) -> npt.NDArray[np.single]:
        matcher = self._rules.matcher
        try:
            with self._rules.lock:
                matcher.renew(min(self._places + self._a_token, self._most))
                allowed = self._allowed(scores)
                self._places = matcher.left
        except Exception as error:  # noqa: BLE001
            self._error = error
            allowed = list(self.words.ends)
        self.allowed = allowed
        result = np.full_like(scores, -np.inf)
        result[allowed] = np.maximum(scores[allowed], np.finfo(np.single).min)
        return result

    def accept(self, token: int) -> None:
        """Raises what went wrong while it was chosen."""
        if self._error is not None:
            raise refused(self._error)
        if token in self.words.ends:
            return
        with self._rules.lock:
            found = self.words.vocabulary.after(self._rules.matcher, self._state, token)
        if found is None:
            raise RuntimeError(f"The sampler chose token {token} against the grammar.")
        self._state = found

    def feed(self, text: bytes) -> bool:
        """Begin behind `text`; False if the grammar doesn't allow it."""
        with self._rules.lock:
            self._rules.matcher.renew(self._most)
            found = self._rules.matcher.advance(self._state, text)
        self._state = self._state if found is None else found
        return found is not None

    def prepare(self) -> None:
        """Look at what may come first, as far as that is known without the model. Raises GrammarError."""
        with self._rules.lock:
            self._rules.matcher.renew(ALL_AT_FIRST)
            if len(self._rules.matcher.next_bytes(self._state)) <= MANY_BYTES:
                self._all()

    @property
    def is_over(self) -> bool:
        """Nothing more may come."""
        return self._state.complete and not self._state.places

    def _allowed(self, scores: npt.NDArray[np.single]) -> list[int]:
        matcher, state = self._rules.matcher, self._state
        wanted = len(scores) if self._wanted is None else self._wanted
        if wanted < len(scores) and len(matcher.next_bytes(state)) > MANY_BYTES:
            found = self._likeliest(scores, wanted)
        else:
            found = self._all()
        if not found:
            raise Refused(400, "The grammar asks for what this model has no tokens for.", param="grammar")
        return found

    def _likeliest(self, scores: npt.NDArray[np.single], wanted: int) -> list[int]:
        """`wanted` of them, or all where so many are not among the very likeliest."""
        count = min(max(FIRST_TRY, 2 * wanted), len(scores))
        best = np.argpartition(scores, -count)[-count:]
        best = best[np.argsort(scores[best])[::-1]]
        found = list(itertools.islice(filter(self._fits, best.tolist()), wanted))
        return found if len(found) == wanted else self._all()

    def _fits(self, token: int) -> bool:
        known = self._state.remembered
        if token not in known:
            self._rules.matcher.count(1)
            if token in self.words.ends:
                known[token] = self._state.complete
            else:
                known[token] = (
                    self.words.vocabulary.after(self._rules.matcher, self._state, token) is not None
                )
        return bool(known[token])

    def _all(self) -> list[int]:
        known = self._state.remembered
        if "all" not in known:
            ends = self.words.ends if self._state.complete else ()
            self._rules.matcher.count(ALL_TOKENS)
            known["all"] = [*self.words.vocabulary.allowed(self._rules.matcher, self._state), *ends]
        found: Any = known["all"]
        return list(found)


class Words:
    """The model's tokens, as grammars see them."""

    def __init__(self, pieces: Iterable[bytes], ends: frozenset[int]) -> None:
        self.ends = ends
        self.any_end = sorted(ends)[:1]
        self.vocabulary = Vocabulary([b"" if token in ends else piece for token, piece in enumerate(pieces)])


class Processors(llama_cpp.LogitsProcessorList):
    """With the constraint behind all others, which may raise what it forbids."""

    def __init__(self, others: Iterable[Any], constraint: Any) -> None:
        super().__init__([*others, constraint])
        self.constraint = constraint

    def extend(self, others: Iterable[Any]) -> Processors:  # type: ignore[override]
        """The library goes on with what this returns: of a list's own `extend`, with nothing."""
        self[:0] = list(others)
        return self


def refused(error: Exception) -> Exception:
    return Refused(400, str(error), param="grammar") if isinstance(error, GrammarError) else error


def wanted(top_k: int, temperature: float, mirostat_mode: int, lowers: bool) -> int | None:
    """How many tokens the sampler looks at; `lowers` if penalties make no token likelier."""
    if mirostat_mode or temperature < 0 or not lowers:
        return None
    if temperature == 0:
        return 1 + RECENT_TOKENS
    return (top_k if top_k > 0 else NO_TOP_K) + RECENT_TOKENS
