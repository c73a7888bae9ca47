"""Which tokens of a model may come next, by their texts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from llamachat.grammar.matcher import Matcher, State
from llamachat.grammar.nodes import common_start


class Vocabulary:
    """`pieces[token]` is the text of a token, empty for one that has none, such as a control token."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self._tokens = sorted((t for t, piece in enumerate(pieces) if piece), key=lambda t: pieces[t])
        self._sorted = [pieces[token] for token in self._tokens]

    def after(self, matcher: Matcher, state: State, token: int) -> State | None:
        """The state behind `token`; None if it may not come."""
        if token in matcher.tokens(state):
            return matcher.advance_token(state, token)
        piece = self.pieces[token]
        return matcher.advance(state, piece) if piece else None

    def allowed(self, matcher: Matcher, state: State) -> list[int]:
        """All that may come, in no order. Tokens that begin alike are looked at together."""
        tokens, texts = self._tokens, self._sorted
        found = list(matcher.tokens(state))
        path, states = b"", [state]
        at = 0
        while at < len(texts):
            text = texts[at]
            depth = common_start(path, text)
            del states[depth + 1 :]
            path = text
            at += 1
            for byte in text[depth:]:
                after = matcher.advance(states[-1], bytes((byte,)))
                if after is None:
                    path = text[: len(states)]
                    at = bisect_left(texts, _behind(path), at)
                    path = path[:-1]
                    break
                states.append(after)
            else:
                found.append(tokens[at - 1])
        return found


def _behind(prefix: bytes) -> bytes:
    """The first text that is sorted behind all that begin with `prefix`."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes((head[-1] + 1,)) if head else prefix + b"\xff" * 64
