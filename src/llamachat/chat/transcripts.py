"""Commands about what was kept: conversations to name, list, find, take up again and carry off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from llamachat.chat.session import Session
from llamachat.core import presets
from llamachat.core.conversation import Conversation
from llamachat.core.events import Done, TextDelta
from llamachat.core.sampling import Sampling
from llamachat.core.window import ON_FULL
from llamachat.errors import StoreError, UsageError
from llamachat.store import exchange
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Hit, Stored

TURNS_SHOWN = 2
LISTED = 20
BEFORE_HIT = 16
"""Characters that are shown before what was searched for."""


def take_up(session: Session, stored: Stored, keep: Sequence[str] = ()) -> None:
    """Go on with a stored conversation, under its own settings but for those named in `keep`.

    Settings that this version does not know, which an import can bring, are left out.
    """
    before = stored.heading.settings
    if "lang" not in keep and before.get("lang") in tuple(presets.SYSTEM):
        session.lang = before["lang"]
    session.sampling = _sampling(session.sampling, before.get("sampling"), keep)
    if "on_full" not in keep and before.get("on_full") in ON_FULL:
        session.context.on_full = before["on_full"]
    _go_on_from(session, stored.conversation)


def _go_on_from(session: Session, conversation: Conversation) -> None:
    """Show where `conversation` stands; a question that it ends with comes back for editing."""
    session.conversation = conversation.without_unanswered()
    session.cut = None
    session.look_at_window()
    if session.terminal.interactive:
        _show_last_turns(session)
    if conversation.model and conversation.model != session.answering:
        session.terminal.notice(f"[{conversation.model} answered so far; now it is {session.answering}]")
    if conversation.unanswered and session.terminal.interactive:
        session.draft = conversation.unanswered.content
        session.terminal.notice("[the last question has no answer yet: Enter sends it]")


def save(session: Session, argument: str) -> None:
    if not argument:
        raise UsageError("Which name should it have?", "/save NAME")
    session.journal.name(argument)
    session.terminal.notice(f"This conversation is called {argument!r}: /load {argument} takes it up again.")


def load(session: Session, argument: str) -> None:
    if not argument:
        raise UsageError("Which conversation?", "/load ID or /load NAME; /list shows them.")
    take_up(session, session.journal.resume(argument))


def show_list(session: Session, argument: str) -> None:
    with _reading(session) as transcripts:
        found = transcripts.summaries(LISTED)
    session.terminal.listing(
        (str(s.id), s.name or "", _when(s.updated_at), f"{s.messages} messages", s.title) for s in found
    )
    if not found:
        session.terminal.notice("There is no conversation yet.")


def search(session: Session, argument: str) -> None:
    if not argument:
        raise UsageError("Search for what?", "/search WORDS")
    with _reading(session) as transcripts:
        hits = transcripts.search(argument, LISTED)
    session.terminal.listing((str(h.conversation_id), _when(h.created_at), h.role, _around(h)) for h in hits)
    if not hits:
        session.terminal.notice("Nothing is found.")


def export(session: Session, argument: str) -> None:
    """The conversation as a file whose ending names the form: Markdown, JSON or JSONL."""
    conversation_id = session.journal.conversation_id
    if conversation_id is None:
        raise StoreError("Nothing of this conversation is kept.", "Say something first, without --no-store.")
    path = Path(argument or f"conversation-{conversation_id}.md").expanduser()
    with _reading(session) as transcripts:
        if path.suffix == ".json":
            text = exchange.to_json([transcripts.tree(conversation_id)])
        else:
            form = exchange.to_jsonl if path.suffix == ".jsonl" else exchange.to_markdown
            text = form(transcripts.load(conversation_id))
    exchange.write_new(path, text)
    session.terminal.notice(f"Written to {path}.")


def branches(session: Session, argument: str) -> None:
    """List the branches of this conversation, or go to the end of one."""
    conversation, ids = session.conversation, session.journal.message_ids
    if argument:
        wanted = next((i for i in conversation.nodes if str(ids.get(i, i)) == argument), None)
        if wanted is None:
            raise UsageError(f"There is no branch {argument!r}.", "/branches lists them.")
        session.journal.save(conversation.at(wanted))
        _go_on_from(session, conversation.at(wanted))
        return
    found = conversation.branches
    session.terminal.listing(
        (str(ids.get(b.id, b.id)), "now" if b.current else "", f"{b.messages} messages", b.question)
        for b in found
    )
    if len(found) > 1:
        session.terminal.notice("/branches ID goes to the end of another one.")


@contextmanager
def _reading(session: Session) -> Iterator[Transcripts]:
    if not session.transcripts.exists():
        raise StoreError("There is no conversation yet.")
    with Transcripts.open(session.transcripts, lambda error: session.terminal.error(str(error))) as opened:
        yield opened


def _sampling(now: Sampling, before: object, keep: Sequence[str]) -> Sampling:
    """`now` with what was set before. What this version does not know of it, or can't take, is left out."""
    for name, value in before.items() if isinstance(before, dict) else ():
        if name not in keep:
            now = now.restored(name, value)
    return now


def _show_last_turns(session: Session) -> None:
    spoken = [m for m in session.conversation if m.role != "system" and not m.note]
    if len(spoken) > 2 * TURNS_SHOWN:
        session.terminal.notice(f"[{len(spoken) - 2 * TURNS_SHOWN} earlier messages: /context lists them]")
    for message in spoken[-2 * TURNS_SHOWN :]:
        if message.role == "user":
            session.terminal.write(f"> {message.content}")
            continue
        with session.terminal.answer(lambda: None) as view:
            view.show(TextDelta(message.content))
            view.show(Done(message.finish_reason or "stop"))


def _around(hit: Hit) -> str:
    """The line from a little before what was found on."""
    start = (hit.spans[0][0] if hit.spans else 0) - BEFORE_HIT
    return f"…{hit.line[start:]}" if start > 0 else hit.line


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
