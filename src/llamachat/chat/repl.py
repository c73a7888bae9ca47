"""The loop at a terminal: it tells a message, a command, Ctrl-C, Ctrl-D and an error apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamachat.chat import commands, turn
from llamachat.chat.face import Display, Face, Terminal, tell_end
from llamachat.chat.session import Session
from llamachat.chat.stats import footer
from llamachat.chat.template_commands import InUse
from llamachat.core.conversation import Message
from llamachat.core.presets import INTRODUCE
from llamachat.errors import (
    AuthError,
    ExitStatus,
    LlamachatError,
    NotFoundError,
    NothingThere,
    Stopped,
    StoreError,
)
from llamachat.language import _
from llamachat.programs.templates import Words

FAREWELL = "BYE BYE!"
_LEAVE = ("bye", "quit", "exit")


@dataclass(slots=True)
class Repl:
    """A session at a terminal. It outlives any turn.

    `draft` is given back for editing at the next prompt; `stats` are the numbers of the last answer, and
    `show_stats` has them shown after each; `transcripts` is the file that other conversations are read from,
    `templates` the folder of the user's; `in_use` is the one that messages are put into.
    """

    session: Session
    terminal: Terminal
    transcripts: Path
    templates: Path
    in_use: InUse | None = None
    show_stats: bool = False
    stats: str = ""
    draft: str = ""
    leaving: bool = False
    exit_status: ExitStatus = ExitStatus.OK

    def run(self, *, intro: bool) -> ExitStatus:
        """Chat until the user leaves; the status of the last failure if nobody could correct it."""
        meanwhile = self._introduce if intro else None
        warned = False
        while not self.leaving:
            try:
                text = self._read(meanwhile)
                meanwhile, warned = None, False
                self._attempt(text)
            except EOFError:
                break
            except KeyboardInterrupt:  # at the prompt, or before it came
                if not self.terminal.interactive:
                    raise
                if warned:
                    break
                meanwhile, warned = None, True
                self.terminal.tell(_("Ctrl-C again leaves, and so does Ctrl-D."))
        self.terminal.farewell(FAREWELL)
        return ExitStatus.OK if self.terminal.interactive else self.exit_status

    def after(self, reply: turn.Reply, shown: Face | None = None) -> None:
        """Say how an answer ended, and what can be typed then: where it was `shown`, or at the terminal."""
        assert reply.done
        shown = shown or self.terminal
        self.stats = footer(reply.done, reply.first, reply.last, self.session.window.status)
        if not reply.text.strip():
            shown.tell(_("[the model has nothing to add]"))
        else:
            tell_end(shown, reply.done.finish_reason)
        if self.show_stats and self.stats:
            shown.tell(self.stats)

    def _read(self, meanwhile: Callable[[Display], None] | None) -> str:
        draft, self.draft = self.draft, ""
        self.terminal.status(self.session.window.status)
        return self.terminal.read_message(draft, meanwhile)

    def _introduce(self, shown: Display) -> None:
        """The article's first question. A key that is refused now will always be refused."""
        try:
            question = INTRODUCE[self.session.settings.lang]
            self.after(turn.ask(self.session, shown, question, titled=False), shown)
            self.terminal.status(self.session.window.status)
        except AuthError:
            raise
        except Stopped:
            pass
        except LlamachatError as error:
            self._report(error, shown, None)

    def _attempt(self, text: str) -> None:
        """Do what was typed. What fails comes back for editing, unless nothing in it can be corrected."""
        cut = self.session.cut_answer
        try:
            with self.terminal.interruptible():
                self._handle(text)
        except LlamachatError as error:
            # First of all, because who sees the error may press Ctrl-C at once.
            self.exit_status = error.exit_status
            if not self._is_command(text) or not _was_right(error):
                self.draft = text
            self._report(error, self.terminal, cut)
        except KeyboardInterrupt:
            if not self.terminal.interactive:
                raise
            self.draft = text
            self.terminal.tell(_("Stopped."))

    def _report(self, error: LlamachatError, shown: Display, cut_before: Message | None) -> None:
        if self.session.cut_answer not in (None, cut_before):
            tell_end(shown, "error")
        shown.error(error.with_commands() if shown.commands else str(error))

    def _handle(self, text: str) -> None:
        if not text.strip():
            return
        if not self.terminal.commands:
            self._ask_by_template(text)
        elif text.strip().lower() in _LEAVE:
            self.leaving = True
        elif self._is_command(text):
            commands.run(self, text)
        else:
            self._ask_by_template(text.removeprefix("/"))

    def _is_command(self, text: str) -> bool:
        return self.terminal.commands and text.startswith("/") and not text.startswith("//")

    def _ask_by_template(self, text: str) -> None:
        self.ask(text, self.in_use.words if self.in_use else None)

    def ask(self, text: str, words: Words | None = None) -> None:
        """Send `text`, put into the `words` of a template, after what is attached."""
        compose = words.ask if words else turn.behind
        self.after(turn.ask(self.session, self.terminal, text, compose=compose))


def _was_right(error: LlamachatError) -> bool:
    """Whether a command failed that would fail again, however it were typed."""
    return isinstance(error, (NothingThere, StoreError)) and not isinstance(error, NotFoundError)
