"""The slash commands: one table, from which help, completion and docs/commands.md come."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamachat.chat import attachments, clipboard, inspection, revisions, template_commands
from llamachat.chat import history_commands as history
from llamachat.chat import settings_commands as settings
from llamachat.errors import UsageError
from llamachat.language import N_, _

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl


@dataclass(frozen=True, slots=True)
class Command:
    """`run` gets what was typed after the name; `values` complete it; other programs have the `aliases`."""

    name: str
    arguments: str
    summary: str
    run: Callable[[Repl, str], None]
    values: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


def _help(repl: Repl, argument: str) -> None:
    if argument:
        command = find(argument.removeprefix("/"))
        repl.terminal.write(f"{command.usage}: {_(command.summary)}")
        return
    repl.terminal.table([(c.usage, _(c.summary)) for c in COMMANDS])
    repl.terminal.tell(_(KEYS))


def _exit(repl: Repl, argument: str) -> None:
    repl.leaving = True


COMMANDS: tuple[Command, ...] = (
    Command("help", "[COMMAND]", N_("shows the commands, or one of them"), _help, aliases=("?",)),
    Command(
        "exit",
        "",
        N_("leaves, as bye, quit, exit and Ctrl-D do"),
        _exit,
        aliases=("quit", "bye", "q"),
    ),
    Command("clear", "", N_("begins a new conversation"), revisions.clear),
    Command("system", "[TEXT]", N_("shows the system message, or replaces it"), revisions.system),
    Command(
        "lang",
        "[zh|en]",
        N_("shows or changes the language of new conversations"),
        revisions.lang,
        ("zh", "en"),
    ),
    Command("retry", "", N_("asks the last question again"), revisions.retry),
    Command("undo", "", N_("takes back the last question and its answer"), revisions.undo),
    Command("edit", "", N_("takes back the last question and gives it back for editing"), revisions.edit),
    Command("continue", "", N_("continues an answer that was stopped or cut"), revisions.go_on),
    Command("save", "NAME", N_("gives this conversation a name"), history.save),
    Command("load", "ID|NAME", N_("resumes another conversation"), history.load),
    Command("list", "", N_("lists the last conversations"), history.show_list),
    Command("search", "WORDS", N_("finds what was said, in all conversations"), history.search),
    Command(
        "export", "[FILE]", N_("writes this conversation to a .md, .json or .jsonl file"), history.export
    ),
    Command(
        "branches",
        "[ID]",
        N_("lists what /retry, /undo and /edit left, or goes there"),
        history.branches,
    ),
    Command(
        "context",
        "",
        N_("lists every message, its tokens, and whether the model sees it"),
        inspection.context,
    ),
    Command(
        "pin", "[N]", N_("pins message N (the last question) in the window, or unpins it"), inspection.pin
    ),
    Command(
        "set",
        "KEY VALUE",
        N_("changes a setting that /show lists; `default` leaves it to the server"),
        settings.change,
        settings.NAMES,
    ),
    Command("show", "[KEY]", N_("shows the settings that /set changes"), settings.show, settings.NAMES),
    Command("model", "[NAME]", N_("shows or changes the model that is asked"), settings.model),
    Command(
        "stats",
        "[on|off]",
        N_("shows the statistics of the last answer, or of every answer"),
        settings.stats,
        ("on", "off"),
    ),
    Command(
        "file",
        "PATH[:FROM-TO]",
        N_("attaches a file, lines of it, or a picture, to the next message; `off` detaches"),
        attachments.file,
    ),
    Command(
        "t",
        "[NAME [TEXT]]",
        N_("lists the templates, sends TEXT by one, or every message from now on; `off` ends that"),
        template_commands.use,
        (template_commands.OFF,),
    ),
    Command(
        "copy", "[N]", N_("copies the last answer, or its N-th code block, to the clipboard"), clipboard.copy
    ),
)

KEYS = N_(
    'Enter sends; Alt-Enter, Ctrl-J, a \\ at the end or """ around a block make more lines; Ctrl-R searches '
    "what was typed; Ctrl-X Ctrl-E opens an editor; // begins a message with a slash."
)


def find(name: str) -> Command:
    """The command of that name; raises UsageError, which names the nearest, if there is none."""
    named = {known: command for command in COMMANDS for known in (command.name, *command.aliases)}
    if name.lower() in named:
        return named[name.lower()]
    near = difflib.get_close_matches(name.lower(), named, n=1, cutoff=0.5)
    advice = _("Did you mean /{name}?").format(name=near[0]) if near else _("/help lists them.")
    raise UsageError(
        _("There is no command /{name}.").format(name=name),
        _("{advice} To send a message that begins with a slash, type //.").format(advice=advice),
    )


def run(repl: Repl, line: str) -> None:
    """Run what was typed, slash and all."""
    name, argument = re.fullmatch(r"/(\S*)\s*(.*)", line, re.S).groups()  # type: ignore[union-attr]
    find(name).run(repl, argument.strip())


def as_markdown(head: str = "| command | what it does |", translated: Callable[[str], str] = N_) -> str:
    """The table for docs/commands.md, or for that of another language."""
    rows = "\n".join(
        f"| `{c.usage.replace('|', chr(92) + '|')}` | {translated(c.summary)} |" for c in COMMANDS
    )
    return f"{head}\n| --- | --- |\n{rows}\n"
