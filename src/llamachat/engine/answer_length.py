"""How long an answer may be: it leaves room for the next question and for its own last character.

Otherwise a chat request without `max_tokens` writes until the window is full (abetlen/llama-cpp-python #903),
and a small model that rambles does. The next request of that conversation is then refused, whatever it asks,
and a client that sends all of its history, as simple ones do, is at its end. And where the window is full in
the middle of a character of several tokens, the library reads on, which fails. Either way the answer ends
with `finish_reason` `length`.
"""

from __future__ import annotations

from llamachat.core.window import OVERRUN

KEPT_SHARE = 4
"""A quarter of the window is kept, or half of what is free where that is less."""


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
