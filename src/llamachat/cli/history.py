"""`llamachat history`: find, show, export, import and remove conversations."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from llamachat import paths
from llamachat.cli import console
from llamachat.cli import history_output as output
from llamachat.errors import ExitStatus, NotFoundError, StoreError, UsageError
from llamachat.language import N_, _, counted
from llamachat.settings.base import add_options, load
from llamachat.settings.history import HistorySettings, seconds
from llamachat.store import exchange
from llamachat.store.records import to_iso
from llamachat.store.transcripts import Transcripts

Run = Callable[[Transcripts, HistorySettings, list[str]], int]

LISTED_BY = N_("See `llamachat history list`.")


@dataclass(frozen=True, slots=True)
class Action:
    """A subcommand: `words` names its arguments ("" for none), of which there must be at least `least`."""

    name: str
    summary: str
    run: Run
    options: tuple[str, ...] = ()
    words: str = ""
    least: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action in ACTIONS:
        sub = actions.add_parser(
            action.name, help=_(action.summary), description=_(action.summary), allow_abbrev=False
        )
        if action.words:
            sub.add_argument("words", metavar=action.words, nargs="+" if action.least else "*")
        add_options(sub, HistorySettings, ("transcripts", *action.options))


def run(args: argparse.Namespace) -> int:
    settings = load(HistorySettings, vars(args))
    action = next(a for a in ACTIONS if a.name == args.action)
    path = paths.transcripts_file(settings.transcripts)
    if not path.exists() and action.name != "import":
        return _nothing_there(path, settings)
    try:
        with Transcripts.open(path, console.report) as transcripts:
            return action.run(transcripts, settings, list(getattr(args, "words", ())))
    except NotFoundError as error:
        error.hint = _(LISTED_BY)
        raise


def _nothing_there(path: Path, settings: HistorySettings) -> int:
    if settings.transcripts is not None:
        raise StoreError(_("{path} does not exist.").format(path=path), _("Check --transcripts."))
    console.say(_("There are no conversations yet."))
    return ExitStatus.OK


def _list(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    found = transcripts.summaries(settings.limit)
    if settings.json_output:
        output.print_json(
            [
                {**asdict(s), "created_at": to_iso(s.created_at), "updated_at": to_iso(s.updated_at)}
                for s in found
            ]
        )
    else:
        output.print_summaries(found)
    return ExitStatus.OK


def _show(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    stored = transcripts.load(transcripts.find(words[0] if words else None), settings.branch)
    if settings.json_output:
        messages = [{"id": n.id, **exchange.message_value(n.message)} for n in stored.conversation.path]
        name, title = stored.heading.name, stored.heading.title
        output.print_json({"id": stored.id, "name": name, "title": title, "messages": messages})
    else:
        output.print_conversation(stored)
    return ExitStatus.OK


def _search(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    """Exit with status 1 if nothing is found, as grep does."""
    hits = transcripts.search(" ".join(words), settings.limit)
    if settings.json_output:
        output.print_json([{**asdict(hit), "created_at": to_iso(hit.created_at)} for hit in hits])
    else:
        output.print_hits(hits)
    return ExitStatus.OK if hits else ExitStatus.ERROR


def _export(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    if settings.all == bool(words):
        raise UsageError(_("Choose what to export."), _("Give ids or names, or --all, but not both."))
    ids = [s.id for s in reversed(transcripts.summaries())] if settings.all else map(transcripts.find, words)
    if settings.format == "json":
        text = exchange.to_json([transcripts.tree(i) for i in ids])
    else:
        form = exchange.to_jsonl if settings.format == "jsonl" else exchange.to_markdown
        text = ("" if settings.format == "jsonl" else "\n").join(form(transcripts.load(i)) for i in ids)
    if settings.output is None:
        output.write(text)
    else:
        exchange.write_new(settings.output, text)
    return ExitStatus.OK


def _import(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    trees = []
    for word in words:
        trees += exchange.read(output.read_file(word), time.time())
    ids = exchange.add(transcripts, trees)
    text = _("Imported: {count} (ids {first} to {last}).") if ids else _("Imported: {count}.")
    console.say(text.format(count=len(ids), first=min(ids, default=0), last=max(ids, default=0)))
    return ExitStatus.OK


def _remove(transcripts: Transcripts, settings: HistorySettings, words: list[str]) -> int:
    if not words and settings.older_than is None and not settings.all:
        raise UsageError(_("Choose what to remove."), _("Give ids or names, --older-than, or --all."))
    chosen = {transcripts.find(word) for word in words}
    if settings.older_than is not None:
        chosen |= set(transcripts.older_than(time.time() - seconds(settings.older_than)))
    if settings.all:
        chosen |= {s.id for s in transcripts.summaries()}
    if not chosen:
        console.say(_("No conversation is that old."))
        return ExitStatus.OK
    if not console.ask(_question(transcripts, chosen), settings.yes, default=False):
        console.say(_("Nothing was removed."))
        return ExitStatus.ERROR
    transcripts.remove(sorted(chosen))
    console.say(_("Removed: {count}.").format(count=len(chosen)))
    return ExitStatus.OK


def _question(transcripts: Transcripts, chosen: set[int]) -> str:
    found = [s for s in transcripts.summaries() if s.id in chosen]
    what = (
        repr(found[0].name or found[0].title)
        if len(found) == 1
        else _("{count} conversations").format(count=len(found))
    )
    return _("Remove {what} ({messages}) permanently?").format(
        what=what, messages=counted(sum(s.messages for s in found), "{} message", "{} messages")
    )


ACTIONS = (
    Action("list", N_("list conversations, newest first"), _list, ("limit", "json_output")),
    Action(
        "show",
        N_("show one conversation (default: the last one)"),
        _show,
        ("branch", "json_output"),
        "ID|NAME",
    ),
    Action(
        "search", N_("find messages that contain all the words"), _search, ("limit", "json_output"), "WORD", 1
    ),
    Action("export", N_("export conversations to files"), _export, ("all", "format", "output"), "ID|NAME"),
    Action("import", N_("import conversations from exported JSON or JSONL"), _import, (), "FILE", 1),
    Action("rm", N_("remove conversations permanently"), _remove, ("all", "older_than", "yes"), "ID|NAME"),
)
