"""What is asked: a system message, a prompt with placeholders, and the shape of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llamachat.core import presets
from llamachat.core.conversation import Message
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.programs.probabilities import TOP
from llamachat.programs.shapes import AnyText, Shape

SAMPLING: Mapping[str, Any] = {"temperature": 0.0, "repeat_penalty": 1.0, "seed": 0}
"""A program wants the same answer to the same question; the chat's settings never reach it."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}\s][^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Question:
    """What many requests share: `max_tokens` None leaves the answer all the room that the window has.

    `probabilities`: those of the labels are wanted, too.
    """

    system: str = ""
    shape: Shape = field(default_factory=AnyText)
    sampling: Mapping[str, Any] = field(default_factory=lambda: SAMPLING)
    max_tokens: int | None = None
    model: str = presets.MODEL
    probabilities: bool = False

    def messages(self, prompt: str, images: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The messages that ask `prompt`; `images` are URLs. What many requests share comes first."""
        system = "\n\n".join(filter(None, (self.system, self.shape.instruction)))
        said = [Message("system", system)] if system else []
        return [m.as_request() for m in (*said, Message("user", prompt, pictures=images))]

    def body(self, messages: list[dict[str, Any]], max_tokens: int | None) -> dict[str, Any]:
        """The request, without what streaming needs."""
        room = {} if max_tokens is None else {"max_tokens": max_tokens}
        more = {"logprobs": True, "top_logprobs": TOP} if self.probabilities else {}
        return {
            "model": self.model,
            "messages": messages,
            **self.sampling,
            **self.shape.fields,
            **room,
            **more,
        }


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces, in order, each once."""
    return tuple(dict.fromkeys(m["name"] for m in _PLACEHOLDER.finditer(template) if m["name"]))


def fill(template: str, values: Mapping[str, Any], *, partly: bool = False) -> str:
    """`template` with `{name}` replaced; `{{` and `}}` are braces.

    Raises UsageError for an unknown name; `partly` leaves those, and double braces, for the next time.
    """

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if name in values:
            text = "" if values[name] is None else str(values[name])
            return escaped(text) if partly else text
        if partly:
            return match[0]
        if name is None:
            return match[0][0]
        known = ", ".join(values) or _("none")
        raise UsageError(
            _("The prompt uses {{{name}}}, which does not exist.").format(name=name),
            _("Choose one of {known}.").format(known=known),
        )

    return _PLACEHOLDER.sub(value, template)


def escaped(text: str) -> str:
    """`text` as a template that says it."""
    return text.replace("{", "{{").replace("}", "}}")
