"""/file: text from a file that goes out with the next message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.session import Session
from llamachat.client.counting import EstimatingCounter
from llamachat.core import pictures
from llamachat.core.conversation import Message
from llamachat.core.window import LEAST_ANSWER
from llamachat.errors import UsageError
from llamachat.language import _, counted
from llamachat.texts.documents import picture_url, read_bytes, text_of

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl

_RANGE = re.compile(r"(?P<path>.+?):(?P<first>\d+)(?:-(?P<last>\d*))?\Z")
DETACH = "off"
FAR_TOO_LARGE = 16
"""How many windows a text may seem to fill before its tokens are only estimated, not counted."""


def file(repl: Repl, argument: str) -> None:
    session = repl.session
    if argument == DETACH:
        session.detach()
        repl.terminal.tell(_("Nothing is attached now."))
        return
    path, first, last = _parse(argument)
    data = read_bytes(path)
    if pictures.is_picture(data):
        tokens = attach_picture(session, path.name, data)
        _tell_attached(repl, path.name, _tokens(session, tokens))
        return
    text = text_of(path, data)
    if first is not None:
        lines = text.splitlines()
        if not 1 <= first <= len(lines) or (last is not None and last < first):
            raise UsageError(_("{path} has lines 1 to {count}.").format(path=path, count=len(lines)))
        text = "\n".join(lines[first - 1 : last])
    where = (
        path.name
        if first is None
        else _("{name}, lines {first} to {last}").format(
            name=path.name, first=first, last=last or _("the end")
        )
    )
    tokens = attach(session, where, path.suffix.removeprefix("."), text)
    size = _("{characters}, {tokens}").format(
        characters=counted(len(text), "{} character", "{} characters"), tokens=_tokens(session, tokens)
    )
    _tell_attached(repl, where, size)


def _tokens(session: Session, tokens: int) -> str:
    about = "" if session.window.counter.exact else _("about ")
    return about + counted(tokens, "{} token", "{} tokens")


def _tell_attached(repl: Repl, where: str, size: str) -> None:
    repl.terminal.tell(
        _("{where}: {size}, goes out with the next message; /file {detach} detaches it.").format(
            where=where, size=size, detach=DETACH
        )
    )


def attach_picture(session: Session, name: str, data: bytes) -> int:
    """Let a picture go out with the next message; its tokens. Raises ServerError if the model can't see."""
    session.client.facts().check_vision()
    message = Message("user", "", pictures=(picture_url(data, name),))
    tokens = _fitting(session, name, message)
    session.pictures += message.pictures
    return tokens


def attach(session: Session, where: str, language: str, text: str) -> int:
    """Let `text` go out with the next message; its tokens. Raises UsageError if the window has no room."""
    quoted = _quote(where, language, text)
    tokens = _fitting(session, where, Message("user", quoted))
    session.attached.append(quoted)
    return tokens


def _fitting(session: Session, where: str, message: Message) -> int:
    """The tokens of `message`. UsageError if the window has no room for it and what is attached already."""
    counter = session.window.counter
    limit = session.window.n_ctx - LEAST_ANSWER
    limit -= sum(counter.message(Message("user", text)) for text in session.attached)
    limit -= sum(counter.message(Message("user", "", pictures=(url,))) for url in session.pictures)
    about = EstimatingCounter().message(message)
    # A server takes long to count what is far too large anyway.
    sure = about < FAR_TOO_LARGE * session.window.n_ctx
    tokens = counter.message(message) if sure else about
    if tokens <= limit:
        return tokens
    size = (
        counted(tokens, "{} token", "{} tokens")
        if sure and counter.exact
        else _("about {tokens} tokens").format(tokens=tokens)
    )
    rest = _(" more") if session.attachments else ""
    raise UsageError(
        _("{where} has {size}, and the window has room for {room}{rest}.").format(
            where=where, size=size, room=max(0, limit), rest=rest
        ),
        _("Start the server with a larger --n-ctx, send a part, or split it."),
        command_hint=_(
            "Attach lines of it: /file PATH:FROM-TO (/file {detach} detaches what is attached)."
        ).format(detach=DETACH),
    )


def _parse(argument: str) -> tuple[Path, int | None, int | None]:
    """The path and the first and last line, None if all are meant."""
    name = argument.strip("\"'") if argument[:1] in "\"'" else argument
    if re.match(r"https?://", name):
        raise UsageError(
            _("/file reads files of this computer, not addresses."), _("Download it first: curl -O ADDRESS")
        )
    if not name:
        raise UsageError(_("Which file?"), _("/file PATH or /file PATH:10-20"))
    match = _RANGE.match(name)
    if match is None or Path(name).expanduser().exists():
        return Path(name).expanduser(), None, None
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"]) if match["last"] else None
    return Path(match["path"].strip("\"'")).expanduser(), first, last


def _quote(where: str, language: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{where}:\n{fence}{language}\n{text.rstrip()}\n{fence}"
