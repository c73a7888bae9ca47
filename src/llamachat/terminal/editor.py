"""The input line: keys, several lines, completion, history. prompt-toolkit does the editing."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, Filter, has_focus, has_selection
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style
from wcwidth import grapheme_boundary_before, iter_graphemes

from llamachat.terminal.background import Background, Work
from llamachat.terminal.blocks import BLOCK, is_open, unwrap
from llamachat.terminal.display import Display
from llamachat.terminal.input_history import open_history
from llamachat.terminal.options import CommandHint, DisplayOptions
from llamachat.terminal.pastes import Pastes
from llamachat.terminal.screen import TextOut
from llamachat.terminal.theme import Theme
from llamachat.terminal.tty_state import exits_call

_STATUS_LEAST_WIDTH = 60
StopFirst = Callable[[Callable[[], None]], None]


class InputLine:
    """Reads one message, of one line or many."""

    def __init__(self, history: Path | None, commands: Sequence[CommandHint], theme: Theme | None) -> None:
        self._status = ""
        self._pastes = Pastes()
        self._background: Background | None = None
        self._typed_ahead = False
        style = {}
        if theme:
            status = f"noinherit {theme.status.prompt_toolkit}"
            style = {"": theme.input.prompt_toolkit, "rprompt": status}
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            multiline=True,
            prompt_continuation=_continuation,
            history=open_history(history, self._pastes.unfold),
            key_bindings=self._keys(),
            input_processors=[TabsProcessor(char1=" ", char2=" ")],
            completer=_CommandCompleter(commands),
            complete_while_typing=False,
            enable_open_in_editor=True,
            enable_suspend=True,
            tempfile_suffix=".md",
            rprompt=self._right,
            style=Style.from_dict(style),
            color_depth=None if theme else ColorDepth.DEPTH_1_BIT,
        )
        self._session.app.key_processor.after_key_press += self._now

    def read(self, draft: str) -> str:
        """EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C, each on an empty line."""
        with exits_call(self._leave):
            typed = self._session.prompt(default=self._pastes.fold_again(draft), pre_run=self._begin)
        return unwrap(self._pastes.unfold(typed))

    def _leave(self, error: SystemExit) -> None:
        """Raised within a task of the loop, it would be shown as that task's failure."""
        app = self._session.app
        if not app.is_running or app.loop is None:
            raise error

        def leave() -> None:
            if app.future is None or app.future.done():
                raise error
            app.exit(exception=error)

        app.loop.call_soon_threadsafe(leave)

    @contextmanager
    def background(self, work: Work, out: TextOut, options: DisplayOptions) -> Iterator[Display]:
        """While entered, a message is read while `work` goes on; the face that shows it above the prompt.

        Whatever ends the prompt stops the work first; so does Ctrl-C.
        """
        self._background = Background(work, out, options, self._session.app)
        try:
            yield self._background.face
        finally:
            self._background.close()
            self._background = None

    def _begin(self) -> None:
        """The prompt begins; what was typed before it came is read first, and its Enter keys send."""
        app = self._session.app
        self._typed_ahead = True
        if not self._is_readable() and app.loop:
            app.loop.call_soon(self._now)
        if self._background:
            self._background.start()

    def _now(self, *_: object) -> None:
        if not self._session.app.key_processor.input_queue:
            self._typed_ahead = False

    def _is_readable(self) -> bool:
        if sys.platform == "win32":
            return False
        return bool(select.select([self._session.app.input.fileno()], [], [], 0)[0])

    def _in_paste(self) -> bool:
        """Whether text came together with this key, as a paste does in a terminal without bracketed paste.

        What came before the prompt did, commands, and a line that ends with a `\\` are taken as typed.
        """
        text, keys = self._session.default_buffer.text, self._session.app.key_processor.input_queue
        typed = self._typed_ahead or text.startswith("/") or text.endswith("\\")
        return not typed and any(len(press.key) == 1 for press in keys)

    def _prompt(self) -> StyleAndTextTuples:
        above = self._background.above.last_line() if self._background else []
        return [*above, ("", "> ")]

    def _at_work(self) -> bool:
        return self._background is not None and self._background.running

    def _stop_first(self, then: Callable[[], None]) -> None:
        """Do it at once, or as soon as what runs in the background has stopped."""
        if self._background and self._background.running:
            self._background.stop(then)
        else:
            then()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        # Not in the line of Ctrl-R, which gives them its own meaning.
        typing = has_focus(DEFAULT_BUFFER)
        _add_message_keys(keys, typing, self._stop_first)

        @keys.add(Keys.Enter, filter=typing & Condition(self._in_paste))
        def _pasted(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        _add_character_keys(keys, typing & ~has_selection, self._pastes)
        _add_paste_keys(keys, typing, self._pastes, self._stop_first)
        at_work = Condition(self._at_work)

        @keys.add(Keys.ControlC, filter=at_work)
        @keys.add(Keys.SIGINT, filter=at_work)
        def _stop(event: KeyPressEvent) -> None:
            self._stop_first(lambda: None)

        @keys.add(Keys.ControlD, filter=at_work & Condition(lambda: not self._session.default_buffer.text))
        def _leave(event: KeyPressEvent) -> None:
            self._stop_first(lambda: event.app.exit(exception=EOFError()))

        return keys

    def set_status(self, text: str) -> None:
        self._status = text

    def _right(self) -> StyleAndTextTuples:
        wide = self._session.app.output.get_size().columns >= _STATUS_LEAST_WIDTH
        return [("class:rprompt", self._status)] if wide and self._status else []


def _continuation(width: int, line: int, wrapped: int) -> str:
    """What comes before another line; a line that the screen wraps gets blanks."""
    return " " * width if wrapped else "… "


def _add_message_keys(keys: KeyBindings, typing: Filter, stop_first: StopFirst) -> None:
    """End a message, continue it on another line, or discard it."""

    @keys.add(Keys.Enter, filter=typing)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state:
            buffer.complete_state = None
        elif buffer.document.is_cursor_at_the_end and is_open(buffer.text):
            if not buffer.text.lstrip().startswith(BLOCK):
                buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            stop_first(buffer.validate_and_handle)

    @keys.add(Keys.Escape, Keys.Enter, filter=typing)
    @keys.add(Keys.ControlJ, filter=typing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add(Keys.ControlC, filter=typing)
    @keys.add(Keys.SIGINT)
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)


def _add_paste_keys(keys: KeyBindings, typing: Filter, pastes: Pastes, stop_first: StopFirst) -> None:
    """Show a long paste as its mark; an editor gets the text."""

    @keys.add(Keys.BracketedPaste, filter=typing)
    def _paste(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(pastes.fold(text))

    @keys.add(Keys.ControlX, Keys.ControlE, filter=typing)
    def _edit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.text = pastes.unfold(buffer.text)
        stop_first(lambda: _open(buffer))

    def _open(buffer: Buffer) -> None:
        buffer.open_in_editor(validate_and_handle=True)


def _add_character_keys(keys: KeyBindings, typing: Filter, pastes: Pastes) -> None:
    """Delete and move by what looks like one character: a letter with accents, an emoji of parts."""

    @keys.add(Keys.Backspace, filter=typing, save_before=lambda event: not event.is_repeat)
    def _delete_before(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        before = buffer.document.text_before_cursor
        buffer.delete_before_cursor(pastes.mark_before(before) or _last_size(before))

    @keys.add(Keys.Delete, filter=typing, save_before=lambda event: not event.is_repeat)
    def _delete_after(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.delete(_first_size(buffer.document.text_after_cursor))

    @keys.add(Keys.Left, filter=typing)
    @keys.add(Keys.ControlB, filter=typing)
    def _left(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.cursor_left(_last_size(buffer.document.current_line_before_cursor))

    @keys.add(Keys.Right, filter=typing)
    @keys.add(Keys.ControlF, filter=typing)
    def _right(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.cursor_right(_first_size(buffer.document.current_line_after_cursor))


def _first_size(text: str) -> int:
    return len(next(iter_graphemes(text), ""))


def _last_size(text: str) -> int:
    return len(text) - grapheme_boundary_before(text, len(text)) if text else 0


class _CommandCompleter(Completer):
    """Slash commands, and the values or files that they take."""

    def __init__(self, commands: Sequence[CommandHint]) -> None:
        self._commands = {c.name: c for c in commands}
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, argument = text[1:].partition(" ")
        if not space:
            for command in self._commands.values():
                if command.name.startswith(name):
                    shown = f"/{command.name} {command.arguments}".rstrip()
                    yield Completion(command.name, -len(name), display=shown, display_meta=command.summary)
        elif name in self._commands and self._commands[name].arguments.startswith("PATH"):
            yield from self._paths.get_completions(Document(argument), complete_event)
        elif name in self._commands and " " not in argument:
            for value in self._commands[name].values:
                if value.startswith(argument):
                    yield Completion(value, -len(argument))
