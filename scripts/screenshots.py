"""Take the README's screenshots: a real session in a pty, drawn as SVG.

    llamachat serve                                 # in another terminal, with the model to show
    python scripts/screenshots.py [--base-url URL] [--output docs/images] [QUESTION…]

Makes chat.svg (the first screen and an answer), commands.svg (/help) and stopped.svg (Ctrl-C in an answer).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from io import StringIO
from itertools import groupby
from pathlib import Path

from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.pty_chat import Chat  # noqa: E402
from tests.support import clean_env  # noqa: E402

COLUMNS, ROWS = 90, 30
QUESTION = "Write a Python function that adds two numbers, and explain it in one sentence."


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the README's screenshots.")
    parser.add_argument("--base-url", default="http://localhost:8000/v1")
    parser.add_argument("--api-key", default=os.environ.get("LLAMACHAT_API_KEY", "not-needed"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("questions", nargs="*", default=[QUESTION])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        env = {**clean_env(Path(home)), "TERM": "xterm-256color", "LLAMACHAT_API_KEY": args.api_key}
        options = ["--base-url", args.base_url, "--stats", "--max-tokens", "200"]
        chat = Chat(options, env, COLUMNS, ROWS)
        try:
            take(chat, args.questions, args.output)
        finally:
            chat.kill()


def take(chat: Chat, questions: list[str], output: Path) -> None:
    finished(chat, 1)
    for number, question in enumerate(questions):
        chat.enter(question)
        finished(chat, number + 2)
    save(chat, output / "chat.svg", "llamachat chat")
    chat.enter("/help")
    chat.see("Ctrl-X Ctrl-E")
    chat.prompt()
    save(chat, output / "commands.svg", "/help")
    before = len(chat.text)
    chat.enter("Tell me a long story.")
    chat.until(lambda: len(chat.text) > before + 200, "some of the story")
    chat.type("\x03")
    chat.see("[stopped")
    chat.prompt()
    save(chat, output / "stopped.svg", "Ctrl-C")


def finished(chat: Chat, answers: int) -> None:
    """Wait for this many lines of numbers, and for the prompt below the last."""
    chat.until(lambda: chat.text.count("first token after") == answers, "an answer")
    chat.prompt()


def save(chat: Chat, path: Path, title: str) -> None:
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    for row in range(ROWS):
        console.print(line(chat, row), no_wrap=True, overflow="crop")
    console.save_svg(str(path), title=title, theme=MONOKAI)


def line(chat: Chat, row: int) -> Text:
    """One line of the screen with its colours."""
    cells = [chat.screen.buffer[row][column] for column in range(COLUMNS)]
    text = Text()
    for style, run in groupby(cells, look):
        text.append("".join(cell.data for cell in run), style)
    return text


def look(cell: Char) -> Style:
    return Style(color=color(cell.fg), bold=cell.bold, italic=cell.italics, underline=cell.underscore)


def color(name: str) -> str | None:
    """pyte's name of a colour as rich writes it."""
    if name == "default":
        return None
    if name.startswith("bright"):
        return f"bright_{name.removeprefix('bright')}".replace("brown", "yellow")
    return {"brown": "yellow"}.get(name, name if name.isalpha() else f"#{name}")


if __name__ == "__main__":
    main()
