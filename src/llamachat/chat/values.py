"""Commands that show and change values: what /set and /show know is one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from llamachat.chat.session import Session
from llamachat.core import sampling
from llamachat.core.window import ON_FULL
from llamachat.errors import UsageError


@dataclass(frozen=True, slots=True)
class Value:
    name: str
    show: Callable[[Session], str]
    change: Callable[[Session, str], None]


def _show_sampling(name: str, session: Session) -> str:
    value = getattr(session.sampling, name)
    if name == "max_tokens" and value is None:
        return f"{session.context.answer_room(None)}, a quarter of the window"
    if isinstance(value, tuple):
        return " ".join(stop.replace("\n", "\\n") for stop in value)
    return "the server's default" if value is None else str(value)


def _change_sampling(name: str, session: Session, text: str) -> None:
    session.sampling = session.sampling.with_value(name, text)


def _change_model(session: Session, text: str) -> None:
    session.model = text
    session.context.forget_server()  # another model has another window, and counts otherwise


def _change_on_full(session: Session, text: str) -> None:
    chosen = next((policy for policy in ON_FULL if policy == text), None)
    if chosen is None:
        raise UsageError(f"on-full can't be {text!r}.", f"There are {', '.join(ON_FULL)}.")
    session.context.on_full = chosen


VALUES: tuple[Value, ...] = (
    *(Value(n, partial(_show_sampling, n), partial(_change_sampling, n)) for n in sampling.NAMES),
    Value("model", lambda session: session.model, _change_model),
    Value("on-full", lambda session: session.context.on_full, _change_on_full),
)
NAMES = tuple(value.name for value in VALUES)


def change(session: Session, argument: str) -> None:
    name, _, text = argument.partition(" ")
    value = _find(name)
    if not text.strip():
        raise UsageError(f"What should {value.name} be?", f"/set {value.name} VALUE")
    value.change(session, text.strip())
    session.journal.remember(session.settings)
    session.terminal.notice(f"{value.name}: {value.show(session)}")


def show(session: Session, argument: str) -> None:
    chosen = (_find(argument),) if argument else VALUES
    session.terminal.table([(value.name, value.show(session)) for value in chosen])


def model(session: Session, argument: str) -> None:
    if argument:
        _change_model(session, argument)
    session.terminal.write(session.model)


def stats(session: Session, argument: str) -> None:
    if argument not in ("", "on", "off"):
        raise UsageError("/stats takes on or off, or nothing.")
    if argument:
        session.show_stats = argument == "on"
        session.terminal.notice(f"Numbers after each answer: {argument}.")
    else:
        session.terminal.write(session.stats or "No answer came yet.")


def _find(name: str) -> Value:
    wanted = name.lower().replace("_", "-")
    for value in VALUES:
        if value.name.replace("_", "-") == wanted:
            return value
    raise UsageError(
        f"There is no value {name!r} to set." if name else "Which value?", f"There are {', '.join(NAMES)}."
    )
