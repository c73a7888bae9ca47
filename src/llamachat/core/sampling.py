"""How the next token is chosen, as `/set` changes it and as a request carries it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from llamachat.errors import UsageError
from llamachat.language import _


@dataclass(frozen=True, slots=True)
class Sampling:
    """None leaves a value to the server."""

    temperature: float | None = 0.7
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def given(self) -> dict[str, float | int | list[str]]:
        """The values that are set, in the form that a request takes."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}

    def with_value(self, name: str, text: str) -> Sampling:
        """This with `name` read from `text`; `default` leaves it to the server. Raises UsageError."""
        if text.lower() in ("default", "none"):
            return replace(self, **{name: None})
        parse = _PARSERS[name]
        lowest, highest = BOUNDS.get(name, (-_ANY, _ANY))
        try:
            value: Any = parse(text)
        except ValueError as error:
            wanted = _("a whole number") if parse is int else _("a number")
            raise UsageError(
                _("{name} can't be {text!r}: it must be {wanted}.").format(
                    name=name, text=text, wanted=wanted
                )
            ) from error
        if isinstance(value, (int, float)) and not lowest <= value <= highest:
            wanted = (
                _("at least {lowest}").format(lowest=lowest)
                if highest == _ANY
                else _("{lowest} to {highest}").format(lowest=lowest, highest=highest)
            )
            raise UsageError(
                _("{name} can't be {text}: it must be {wanted}.").format(name=name, text=text, wanted=wanted)
            )
        return replace(self, **{name: value})

    def restored(self, name: str, value: object) -> Sampling:
        """This with a value of an earlier `given`; unchanged if this version does not know it."""
        if name == "stop" and isinstance(value, list):
            return replace(self, stop=tuple(map(str, value)))
        try:
            return self.with_value(name, str(value))
        except (KeyError, UsageError):
            return self


def _stops(text: str) -> tuple[str, ...]:
    """Stop texts, separated by spaces, or in quotes with spaces in them; `\\n` stands for a new line."""
    parts = re.findall(r'"([^"]+)"|(\S+)', text)
    return tuple((quoted or word).replace("\\n", "\n") for quoted, word in parts)


_ANY = float("inf")
BOUNDS: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 10),
    "top_p": (0, 1),
    "top_k": (0, _ANY),
    "min_p": (0, 1),
    "repeat_penalty": (0, 10),
    "max_tokens": (1, _ANY),
    "seed": (0, 2**32 - 1),
}
"""The lowest and the highest value, for `/set` as for flags and requests."""
_PARSERS: Mapping[str, Callable[[str], object]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "repeat_penalty": float,
    "max_tokens": int,
    "seed": int,
    "stop": _stops,
}
NAMES = tuple(_PARSERS)
