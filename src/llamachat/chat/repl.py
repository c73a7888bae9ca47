"""The loop at a terminal: it tells a message, a command, Ctrl-C, Ctrl-D and an error apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llamachat.chat import commands, turn
from llamachat.chat.face import Terminal
from llamachat.chat.session import Session
from llamachat.chat.stats import footer
from llamachat.chat.template_commands import InUse
from llamachat.core.conversation import Message
from llamachat.core.presets import INTRODUCE
from llamachat.errors import AuthError, ExitStatus, LlamachatError
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
        if intro:
            self._introduce()
        warned = False
        while not self.leaving:
            try:
                text = self._read()
                warned = False
                self._attempt(text)
            except EOFError:
                break
            except KeyboardInterrupt:  # at the prompt, or before it came
                if not self.terminal.interactive:
                    raise
                if warned:
                    break
                warned = True
                self.terminal.tell(_("Ctrl-C again leaves, and so does Ctrl-D."))
        self.terminal.farewell(FAREWELL)
        return ExitStatus.OK if self.terminal.interactive else self.exit_status

    def after(self, reply: turn.Reply) -> None:
        """Say how an answer ended, and what can be typed then."""
        assert reply.done
        self.stats = footer(reply.done, reply.first, reply.last, self.session.window.status)
        if not reply.text.strip():
            self.terminal.tell(_("[the model has nothing to add]"))
        elif reply.done.finish_reason == "interrupted":
            self._tell_end(_("stopped"))
        elif reply.done.finish_reason == "length":
            self._tell_end(_("cut at its greatest length"))
        if self.show_stats and self.stats:
            self.terminal.tell(self.stats)

    def _read(self) -> str:
        draft, self.draft = self.draft, ""
        self.terminal.status(self.session.window.status)
        return self.terminal.read_message(draft)

    def _introduce(self) -> None:
        """The article's first question. A key that is refused now will always be refused."""
        try:
            with self.terminal.interruptible():
                asked = INTRODUCE[self.session.settings.lang]
                self.after(turn.ask(self.session, self.terminal, asked, titled=False))
        except AuthError:
            raise
        except LlamachatError as error:
            self._tell_of_cut(None)
            self._say(error)
        except KeyboardInterrupt:
            self.terminal.tell(_("Stopped."))

    def _attempt(self, text: str) -> None:
        """Do what was typed; whatever fails, the text comes back for editing."""
        cut = self.session.cut_answer
        try:
            with self.terminal.interruptible():
                self._handle(text)
        except LlamachatError as error:
            # First of all, because who sees the error may press Ctrl-C at once.
            self.draft, self.exit_status = text, error.exit_status
            self._tell_of_cut(cut)
            self._say(error)
        except KeyboardInterrupt:
            if not self.terminal.interactive:
                raise
            self.draft = text
            self.terminal.tell(_("Stopped."))

    def _tell_of_cut(self, before: Message | None) -> None:
        if self.session.cut_answer not in (None, before):
            self._tell_end(_("broken off"))

    def _tell_end(self, how: str) -> None:
        more = _(": /continue goes on from there") if self.terminal.commands else ""
        self.terminal.tell(f"[{how}{more}]")

    def _say(self, error: LlamachatError) -> None:
        self.terminal.error(error.with_commands() if self.terminal.commands else str(error))

    def _handle(self, text: str) -> None:
        if not text.strip():
            return
        if not self.terminal.commands:
            self._ask_by_template(text)
        elif text.strip().lower() in _LEAVE:
            self.leaving = True
        elif text.startswith("/") and not text.startswith("//"):
            commands.run(self, text)
        else:
            self._ask_by_template(text.removeprefix("/"))

    def _ask_by_template(self, text: str) -> None:
        self.ask(text, self.in_use.words if self.in_use else None)

    def ask(self, text: str, words: Words | None = None) -> None:
        """Send `text`, put into the `words` of a template, after what is attached."""
        compose = words.ask if words else turn.behind
        self.after(turn.ask(self.session, self.terminal, text, compose=compose))
