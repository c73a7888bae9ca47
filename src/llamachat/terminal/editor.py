"""The input line: keys, several lines, completion, history. prompt-toolkit does the editing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Filter, has_focus, has_selection
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style
from wcwidth import grapheme_boundary_before, iter_graphemes

from llamachat.terminal.blocks import BLOCK, is_open, unwrap
from llamachat.terminal.input_history import open_history
from llamachat.terminal.options import CommandHint
from llamachat.terminal.pastes import Pastes
from llamachat.terminal.theme import Theme

_STATUS_LEAST_WIDTH = 60


class InputLine:
    """Reads one message, of one line or many."""

    def __init__(self, history: Path | None, commands: Sequence[CommandHint], theme: Theme | None) -> None:
        self._status = ""
        self._pastes = Pastes()
        style = {}
        if theme:
            status = f"noinherit {theme.status.prompt_toolkit}"
            style = {"": theme.input.prompt_toolkit, "rprompt": status}
        self._session: PromptSession[str] = PromptSession(
            "> ",
            multiline=True,
            prompt_continuation=_continuation,
            history=open_history(history, self._pastes.unfold),
            key_bindings=_keys(self._pastes),
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

    def read(self, draft: str) -> str:
        """EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C, each on an empty line."""
        typed = self._session.prompt(default=self._pastes.fold_again(draft))
        return unwrap(self._pastes.unfold(typed))

    def set_status(self, text: str) -> None:
        self._status = text

    def _right(self) -> StyleAndTextTuples:
        wide = self._session.app.output.get_size().columns >= _STATUS_LEAST_WIDTH
        return [("class:rprompt", self._status)] if wide and self._status else []


def _continuation(width: int, line: int, wrapped: int) -> str:
    """What comes before another line; a line that the screen wraps gets blanks."""
    return " " * width if wrapped else "… "


def _keys(pastes: Pastes) -> KeyBindings:
    keys = KeyBindings()
    # Not in the line of Ctrl-R, which gives them its own meaning.
    typing = has_focus(DEFAULT_BUFFER)
    _add_message_keys(keys, typing)
    _add_character_keys(keys, typing & ~has_selection, pastes)
    _add_paste_keys(keys, typing, pastes)
    return keys


def _add_message_keys(keys: KeyBindings, typing: Filter) -> None:
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
            buffer.validate_and_handle()

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


def _add_paste_keys(keys: KeyBindings, typing: Filter, pastes: Pastes) -> None:
    """Show a long paste as its mark; an editor gets the text."""

    @keys.add(Keys.BracketedPaste, filter=typing)
    def _paste(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(pastes.fold(text))

    @keys.add(Keys.ControlX, Keys.ControlE, filter=typing)
    def _edit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.text = pastes.unfold(buffer.text)
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
