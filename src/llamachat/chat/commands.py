"""The slash commands: one table, from which help, completion and docs/commands.md come."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamachat.chat import attachments, clipboard, inspection, revisions
from llamachat.chat import history_commands as history
from llamachat.chat import settings_commands as settings
from llamachat.errors import UsageError

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl


@dataclass(frozen=True, slots=True)
class Command:
    """`run` gets what was typed after the name; `values` complete it with Tab."""

    name: str
    arguments: str
    summary: str
    run: Callable[[Repl, str], None]
    values: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


def _help(repl: Repl, argument: str) -> None:
    if argument:
        command = find(argument.removeprefix("/"))
        repl.terminal.write(f"{command.usage}: {command.summary}")
        return
    repl.terminal.table([(c.usage, c.summary) for c in COMMANDS])
    repl.terminal.tell(KEYS)


def _exit(repl: Repl, argument: str) -> None:
    repl.leaving = True


COMMANDS: tuple[Command, ...] = (
    Command("help", "[COMMAND]", "shows the commands, or one of them", _help),
    Command("exit", "", "leaves, as bye, quit, exit and Ctrl-D do", _exit),
    Command("clear", "", "begins a new conversation", revisions.clear),
    Command("system", "[TEXT]", "shows the system message, or replaces it", revisions.system),
    Command(
        "lang", "[zh|en]", "shows or changes the language of new conversations", revisions.lang, ("zh", "en")
    ),
    Command("retry", "", "asks the last question again", revisions.retry),
    Command("undo", "", "takes back the last question and its answer", revisions.undo),
    Command("edit", "", "takes back the last question and gives it back for editing", revisions.edit),
    Command("continue", "", "continues an answer that was stopped or cut", revisions.go_on),
    Command("save", "NAME", "gives this conversation a name", history.save),
    Command("load", "ID|NAME", "resumes another conversation", history.load),
    Command("list", "", "lists the last conversations", history.show_list),
    Command("search", "WORDS", "finds what was said, in all conversations", history.search),
    Command("export", "[FILE]", "writes this conversation to a .md, .json or .jsonl file", history.export),
    Command(
        "branches",
        "[ID]",
        "lists what /retry, /undo and /edit left, or goes there",
        history.branches,
    ),
    Command(
        "context", "", "lists every message, its tokens, and whether the model sees it", inspection.context
    ),
    Command("pin", "[N]", "pins message N (the last question) in the window, or unpins it", inspection.pin),
    Command(
        "set",
        "KEY VALUE",
        "changes a setting that /show lists; `default` leaves it to the server",
        settings.change,
        settings.NAMES,
    ),
    Command("show", "[KEY]", "shows the settings that /set changes", settings.show, settings.NAMES),
    Command("model", "[NAME]", "shows or changes the model that is asked", settings.model),
    Command(
        "stats",
        "[on|off]",
        "shows the numbers of the last answer, or of every one",
        settings.stats,
        ("on", "off"),
    ),
    Command(
        "file",
        "PATH[:FROM-TO]",
        "attaches a text file, or lines of it, to the next message; `off` detaches",
        attachments.file,
    ),
    Command(
        "copy", "[N]", "copies the last answer, or its N-th code block, to the clipboard", clipboard.copy
    ),
)

KEYS = (
    'Enter sends; Alt-Enter, Ctrl-J, a \\ at the end or """ around a block make more lines; Ctrl-R searches '
    "what was typed; Ctrl-X Ctrl-E opens an editor; // begins a message with a slash."
)


def find(name: str) -> Command:
    """The command of that name; raises UsageError, which names the nearest, if there is none."""
    found = next((c for c in COMMANDS if c.name == name.lower()), None)
    if found:
        return found
    near = difflib.get_close_matches(name.lower(), [c.name for c in COMMANDS], n=1, cutoff=0.5)
    advice = f"Did you mean /{near[0]}?" if near else "/help lists them."
    raise UsageError(
        f"There is no command /{name}.", f"{advice} To send a message that begins with a slash, type //."
    )


def run(repl: Repl, line: str) -> None:
    """Run what was typed, slash and all."""
    name, argument = re.fullmatch(r"/(\S*)\s*(.*)", line, re.S).groups()  # type: ignore[union-attr]
    find(name).run(repl, argument.strip())


def as_markdown() -> str:
    """The table for docs/commands.md."""
    rows = "\n".join(f"| `{c.usage.replace('|', chr(92) + '|')}` | {c.summary} |" for c in COMMANDS)
    return f"| command | what it does |\n| --- | --- |\n{rows}\n"
