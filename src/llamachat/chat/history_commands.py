"""Commands about what was kept: conversations to name, list, find, take up again and carry off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.face import tell_end
from llamachat.core.conversation import Conversation
from llamachat.core.events import Done, TextDelta
from llamachat.errors import NotFoundError, StoreError, UsageError
from llamachat.language import _, counted
from llamachat.store import exchange
from llamachat.store.records import Hit
from llamachat.store.transcripts import Transcripts

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl

TURNS_SHOWN = 2
LISTED = 20
BEFORE_HIT = 16
"""Characters that are shown before what was searched for."""


def resume(repl: Repl, reference: str | None = None, keep: Sequence[str] = ()) -> None:
    """Go on with a stored conversation, under its own settings except those named in `keep`."""
    _show(repl, repl.session.resume(reference, keep))


def _show(repl: Repl, conversation: Conversation) -> None:
    """Show where the session is now; a question that `conversation` ends with comes back for editing."""
    answering = repl.session.answering
    if repl.terminal.interactive:
        _show_last_turns(repl)
    if conversation.model and conversation.model != answering:
        repl.terminal.tell(
            _("[{model} answered so far; now it is {answering}]").format(
                model=conversation.model, answering=answering
            )
        )
    if conversation.unanswered and repl.terminal.interactive:
        repl.draft = conversation.unanswered.content
        repl.terminal.tell(_("[the last question has no answer yet: Enter sends it]"))


def save(repl: Repl, argument: str) -> None:
    if not argument:
        raise UsageError(_("Which name should it have?"), "/save NAME")
    repl.session.journal.name(argument)
    repl.terminal.tell(
        _("This conversation is called {argument!r}: /load {argument} takes it up again.").format(
            argument=argument
        )
    )


def load(repl: Repl, argument: str) -> None:
    if not argument:
        raise UsageError(_("Which conversation?"), _("/load ID or /load NAME; /list shows them."))
    try:
        resume(repl, argument)
    except NotFoundError as error:
        error.hint = _("/list shows them.")
        raise


def show_list(repl: Repl, argument: str) -> None:
    with _reading(repl) as transcripts:
        found = transcripts.summaries(LISTED)
    repl.terminal.listing(
        (
            str(s.id),
            s.name or "",
            _when(s.updated_at),
            counted(s.messages, "{} message", "{} messages"),
            s.title,
        )
        for s in found
    )
    if not found:
        repl.terminal.tell(_("There is no conversation yet."))


def search(repl: Repl, argument: str) -> None:
    if not argument:
        raise UsageError(_("Search for what?"), "/search WORDS")
    with _reading(repl) as transcripts:
        hits = transcripts.search(argument, LISTED)
    repl.terminal.listing((str(h.conversation_id), _when(h.created_at), h.role, _around(h)) for h in hits)
    if not hits:
        repl.terminal.tell(_("Nothing found."))


def export(repl: Repl, argument: str) -> None:
    """The conversation as a file whose ending names the form: Markdown, JSON or JSONL."""
    stored = repl.session.journal.current()
    path = Path(argument or f"conversation-{stored.id}.md").expanduser()
    if path.suffix == ".json":
        text = exchange.to_json([(stored.heading, tuple(stored.conversation.nodes.values()))])
    else:
        form = exchange.to_jsonl if path.suffix == ".jsonl" else exchange.to_markdown
        text = form(stored)
    exchange.write_new(path, text)
    repl.terminal.tell(_("Written to {path}.").format(path=path))


def branches(repl: Repl, argument: str) -> None:
    """List the branches of this conversation, or go to the end of one."""
    conversation, ids = repl.session.conversation, repl.session.journal.message_ids
    if argument:
        wanted = next((i for i in conversation.nodes if str(ids.get(i, i)) == argument), None)
        if wanted is None:
            raise UsageError(
                _("There is no branch {argument!r}.").format(argument=argument), _("/branches lists them.")
            )
        repl.session.switch_to(conversation.at(wanted))
        _show(repl, conversation.at(wanted))
        return
    found = conversation.branches
    repl.terminal.listing(
        (
            str(ids.get(b.id, b.id)),
            _("now") if b.current else "",
            counted(b.messages, "{} message", "{} messages"),
            b.question,
        )
        for b in found
    )
    if len(found) > 1:
        repl.terminal.tell(_("/branches ID goes to the end of another one."))


@contextmanager
def _reading(repl: Repl) -> Iterator[Transcripts]:
    if not repl.transcripts.exists():
        raise StoreError(_("There is no conversation yet."))
    with Transcripts.open(repl.transcripts, lambda error: repl.terminal.error(str(error))) as opened:
        yield opened


def _show_last_turns(repl: Repl) -> None:
    spoken = [m for m in repl.session.conversation if m.role != "system" and not m.note]
    if len(spoken) > 2 * TURNS_SHOWN:
        earlier = counted(len(spoken) - 2 * TURNS_SHOWN, "{} earlier message", "{} earlier messages")
        repl.terminal.tell(_("[{earlier}: /context lists them]").format(earlier=earlier))
    for message in spoken[-2 * TURNS_SHOWN :]:
        if message.role == "user":
            repl.terminal.write(f"> {message.content}")
            continue
        with repl.terminal.answer(lambda: None) as view:
            view.show(TextDelta(message.content))
            view.show(Done(message.finish_reason or "stop"))
        tell_end(repl.terminal, message.cut, last=message is spoken[-1])


def _around(hit: Hit) -> str:
    """The line from a little before what was found on."""
    start = (hit.spans[0][0] if hit.spans else 0) - BEFORE_HIT
    return f"…{hit.line[start:]}" if start > 0 else hit.line


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
