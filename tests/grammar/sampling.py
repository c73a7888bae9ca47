"""Texts of a grammar, drawn at random byte by byte."""

from __future__ import annotations

import random

from llamachat.grammar.matcher import Matcher

WANDERING = 60
"""Bytes, behind which the text is brought to its end."""
LIMIT = 3_000
CLOSING = b'"}]0123456789'


def draw(matcher: Matcher, chance: random.Random, begin: bytes = b"") -> bytes | None:
    """One text that begins with `begin`; None if it found no end."""
    state, text = matcher.advance(matcher.start, begin), begin
    assert state is not None, "it can't begin so"
    while len(text) < LIMIT:
        following = matcher.next_bytes(state)
        if state.complete and (not following or len(text) > WANDERING or chance.random() < 0.3):
            return text
        byte = chance.choice(following)
        if len(text) > WANDERING or chance.random() < 0.4:
            byte = next((b for b in CLOSING if b in following), byte)
        matcher.renew()
        found = matcher.advance(state, bytes([byte]))
        assert found is not None, "a byte that may come next did not"
        state, text = found, text + bytes([byte])
    return None
