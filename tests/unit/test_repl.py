from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from llamachat.chat.repl import Repl
from llamachat.chat.session import Session, Settings
from llamachat.client.stream import ChatClient
from llamachat.errors import ExitStatus
from llamachat.store.journal import NoJournal
from llamachat.terminal.options import DisplayOptions
from llamachat.terminal.plain import PlainTerminal


class HastyTerminal(PlainTerminal):
    """A person's, who presses Ctrl-C while an error is still being shown."""

    interactive = True

    def __init__(self, *lines: str) -> None:
        self.errors, self.drafts = io.StringIO(), [""]
        lines_in = io.StringIO("".join(f"{line}\n" for line in lines))
        super().__init__(lines_in, io.StringIO(), self.errors, DisplayOptions(color=False, markdown=False))

    def read_message(self, draft: str = "", meanwhile: Callable[[PlainTerminal], None] | None = None) -> str:
        self.drafts.append(draft)
        return super().read_message(draft, meanwhile)

    def error(self, text: str) -> None:
        super().error(text)
        if "There is no command" in text:
            raise KeyboardInterrupt


def test_ctrl_c_while_an_error_is_shown_leaves_neither_the_chat_nor_the_text_behind() -> None:
    terminal = HastyTerminal("/nothing", "bye")
    client = ChatClient("http://127.0.0.1:9/v1", "none")
    session = Session.open(client, NoJournal(), Settings())
    assert Repl(session, terminal, Path("none.db"), Path("none")).run(intro=False) == ExitStatus.OK
    assert "There is no command /nothing." in terminal.errors.getvalue()
    assert "/nothing" in terminal.drafts
    client.close()
