"""/t: a message by a template, or every message from now on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.core.presets import SYSTEM, Lang
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.programs import templates

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl

OFF = "off"
_PARAM = re.compile(r"""-p\s+(?P<name>\S+)\s+(?P<value>"[^"]*"|'[^']*'|\S+)\s*""")


@dataclass(frozen=True, slots=True)
class InUse:
    """A template that messages are put into; `before` is the system message of the settings without it."""

    words: templates.Words
    before: str | None


def words_of(name: str, params: Mapping[str, str], lang: Lang, folder: Path) -> templates.Words:
    """The template's words, with what the model is told of the answer's shape. Raises UsageError."""
    template = templates.find(name, folder)
    words = templates.compose(template.words(lang), template.params, params)
    system = "\n\n".join(filter(None, (words.system, template.shape.instruction)))
    return replace(words, system=system)


def use(repl: Repl, argument: str) -> None:
    """With a text, or with what is attached, one message; else every one from now on."""
    if not argument:
        lang = repl.session.settings.lang
        repl.terminal.table([(n.name, _about(n.words(lang))) for n in templates.available(repl.templates)])
        return
    if argument == OFF:
        _stop(repl)
        return
    name, params, text = _parse(argument)
    session = repl.session
    words = words_of(name, params, session.settings.lang, repl.templates)
    if text or (session.attachments and not words.wants_question):
        repl.ask(text, words.with_system_in_prompt())
        return
    before = repl.in_use.before if repl.in_use else session.settings.system
    repl.in_use = InUse(words, before)
    _set_system(repl, words.system or before)
    repl.terminal.tell(
        _("{name}: for every message from now on; /t {off} ends it.").format(name=name, off=OFF)
    )


def _about(words: templates.Words) -> str:
    options = ", ".join(f"-p {name} …" for name in words.parameters)
    return f"{words.about} ({options})" if options else words.about


def _stop(repl: Repl) -> None:
    if repl.in_use is None:
        raise UsageError(_("No template is in use."), _("/t NAME uses one, /t lists them."))
    before, repl.in_use = repl.in_use.before, None
    _set_system(repl, before)
    repl.terminal.tell(_("Messages are sent as they are typed."))


def _set_system(repl: Repl, system: str | None) -> None:
    """None is the language's own."""
    session = repl.session
    session.change(replace(session.settings, system=system))
    session.set_system(SYSTEM[session.settings.lang] if system is None else system)


def _parse(argument: str) -> tuple[str, dict[str, str], str]:
    """The name, the parameters, and the text."""
    name, rest = re.fullmatch(r"(\S+)\s*(.*)", argument, re.S).groups()  # type: ignore[union-attr]
    params: dict[str, str] = {}
    while match := _PARAM.match(rest):
        params[match["name"]] = match["value"].strip("\"'")
        rest = rest[match.end() :]
    return name, params, rest
