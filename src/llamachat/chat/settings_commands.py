"""Commands that show and change settings: what /set and /show know is one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from llamachat.chat.revisions import system
from llamachat.chat.session import Session, Settings
from llamachat.core import sampling
from llamachat.core.window import ON_FULL
from llamachat.errors import UsageError
from llamachat.language import _

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    show: Callable[[Session], str]
    changed: Callable[[Settings, str], Settings]


def _show_sampling(name: str, session: Session) -> str:
    value = getattr(session.settings.sampling, name)
    if name == "max_tokens" and value is None:
        return _("{answer_room}, a quarter of the window").format(answer_room=session.window.answer_room)
    if isinstance(value, tuple):
        shown = (stop.replace("\n", "\\n") for stop in value)
        return " ".join(f'"{stop}"' if " " in stop else stop for stop in shown)
    return _("the server's default") if value is None else str(value)


def _with_sampling(name: str, settings: Settings, text: str) -> Settings:
    return replace(settings, sampling=settings.sampling.with_value(name, text))


def _with_model(settings: Settings, text: str) -> Settings:
    return replace(settings, model=text)


def _with_on_full(settings: Settings, text: str) -> Settings:
    chosen = next((policy for policy in ON_FULL if policy == text), None)
    if chosen is None:
        raise UsageError(
            _("on-full can't be {text!r}.").format(text=text),
            _("Choose one of {names}.").format(names=", ".join(ON_FULL)),
        )
    return replace(settings, on_full=chosen)


SETTINGS: tuple[Setting, ...] = (
    *(Setting(n, partial(_show_sampling, n), partial(_with_sampling, n)) for n in sampling.NAMES),
    Setting("model", lambda session: session.settings.model, _with_model),
    Setting("on-full", lambda session: session.settings.on_full, _with_on_full),
)
NAMES = tuple(setting.name for setting in SETTINGS)


def change(repl: Repl, argument: str) -> None:
    session = repl.session
    name, _space, text = argument.partition(" ")
    if name.lower() == "system" and text.strip():  # as in Ollama
        system(repl, text.strip())
        return
    setting = _find(name)
    if not text.strip():
        raise UsageError(_("What should {name} be?").format(name=setting.name), f"/set {setting.name} VALUE")
    session.change(setting.changed(session.settings, text.strip()))
    repl.terminal.tell(f"{setting.name}: {setting.show(session)}")


def show(repl: Repl, argument: str) -> None:
    chosen = (_find(argument),) if argument else SETTINGS
    repl.terminal.table([(setting.name, setting.show(repl.session)) for setting in chosen])


def model(repl: Repl, argument: str) -> None:
    session = repl.session
    if argument:
        session.change(_with_model(session.settings, argument))
    repl.terminal.write(session.settings.model)


def stats(repl: Repl, argument: str) -> None:
    if argument not in ("", "on", "off"):
        raise UsageError(_("Use /stats, /stats on or /stats off."))
    if argument:
        repl.show_stats = argument == "on"
        repl.terminal.tell(_("Statistics after each answer: {argument}.").format(argument=argument))
    else:
        repl.terminal.write(repl.stats or _("No answer came yet."))


def _find(name: str) -> Setting:
    wanted = name.lower().replace("_", "-")
    for setting in SETTINGS:
        if setting.name.replace("_", "-") == wanted:
            return setting
    raise UsageError(
        _("There is no setting {name!r}.").format(name=name) if name else _("Which setting?"),
        _("Choose one of {names}.").format(names=", ".join(NAMES)),
    )
