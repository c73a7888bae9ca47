"""Record docs/images/chat.svg: a real `llamachat chat` in a real shell, as an SVG that moves.

    python scripts/recording.py

The answers are written here and served on port 8000; all else is what the program shows, at its own speed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from html import escape
from http.server import ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import psutil
from pyte.screens import Char

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from llamachat.core.presets import INTRODUCE  # noqa: E402
from tests.fakes import server as fakes  # noqa: E402
from tests.pty_chat import Chat  # noqa: E402
from tests.support import clean_env  # noqa: E402

OUTPUT = ROOT / "docs" / "images" / "chat.svg"
COLUMNS, ROWS = 84, 25
PIECE, PAUSE = 5, 0.07
"""Characters of an answer at a time, and the seconds between them: some 20 tokens a second."""
FINEST = 0.1
"""Seconds: what follows sooner is drawn together."""

FIRST = "How do I find the largest files in a folder?"
SECOND = "And what is a KV cache?"
ANSWERS = {
    INTRODUCE[
        "en"
    ]: "Hello! I am a language model that runs on your own computer. I answer questions, write and "
    "translate texts, and help with code. What you type stays here. How can I help you today?",
    FIRST: """Let `du` add them up, and `sort` put the **largest first**:

```sh
du -ah . | sort -rh | head -n 10
```

- `-a` counts files, not only folders
- `-h` writes sizes that people can read
""",
    SECOND: """It is what the model keeps of the text it has **already read**: two vectors, \
a *key* and a *value*, for each token in each layer. With them it reads only what is new:

1. the first question is read whole;
2. after that, each turn costs only its own tokens;
3. when old turns leave a full window, the rest is moved, and not read again.
""",
}


class Model(fakes.Handler):
    health: ClassVar = {"status": "ok", "model": "Meta-Llama-3-8B-Instruct.Q4_K_M", "n_ctx": 8192}

    def _scene(self, asked: str, body: dict[str, Any]) -> fakes.Play:
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        if asked == SECOND and not said:
            for position in (2, 1):
                yield fakes.extra(queue={"position": position})
                time.sleep(1.2)
        yield from fakes.say(ANSWERS[asked][len(said) :], PIECE, PAUSE)
        yield from fakes.end()


class Recorder(Chat):
    """A shell whose screen is kept whenever it changes; `caption` says what is to be seen."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__([], env, COLUMNS, ROWS, ("bash", "--norc", "--noprofile", "-i"))
        self.caption = ""
        self.frames: list[tuple[float, list[str]]] = []

    def pump(self, seconds: float = 0.02) -> None:
        super().pump(seconds)
        screen = self.screen
        rows = [draw([screen.buffer[y][x] for x in range(COLUMNS)]) for y in range(ROWS)]
        if not screen.cursor.hidden:
            rows[screen.cursor.y] += f'<tspan x="{screen.cursor.x * CELL:.1f}" class="c">▏</tspan>'
        rows.append(f'<tspan class="t">{escape(self.caption)}</tspan>')
        if not self.frames or self.frames[-1][1] != rows:
            self.frames.append((time.monotonic(), rows))

    def wait_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump()

    def write(self, text: str) -> None:
        for char in text:
            self.type(char)
            self.wait_for(0.06)


def record(one: Recorder) -> None:
    one.see("$")
    one.frames.clear()
    one.caption = "The introduction comes while you type; Enter stops it."
    one.write("llamachat chat\r")
    one.see("your own")
    one.write(FIRST)
    one.enter()
    one.see("people can read")
    one.prompt()
    one.wait_for(1)
    one.caption = "Somebody else is served first: your place in the queue."
    one.write(f"{SECOND}\r")
    one.see("first question is")
    one.caption = "kill -9 in the middle of an answer"
    (chat,) = psutil.Process(one.process.pid).children()
    chat.kill()
    one.see("Killed")
    one.wait_for(1.5)
    one.caption = "Nothing is lost but half a second: --continue, and /continue finishes the answer."
    one.write("clear; llamachat chat --continue\r")
    one.see("/continue goes on")
    one.wait_for(1)
    one.write("/continue\r")
    one.see("not read again")
    one.prompt()
    one.wait_for(3)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 8000), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        env = clean_env(Path(home), TERM="xterm-256color", PS1="$ ", LANG="C.UTF-8")
        env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        config = Path(home) / "config" / "llamachat" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[chat]\nlang = "en"\n')
        one = Recorder(env)
        try:
            record(one)
        finally:
            one.kill()
    OUTPUT.write_text(animated(one.frames), encoding="utf-8")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, {one.frames[-1][0] - one.frames[0][0]:.0f} s")


# -- SVG ---------------------------------------------------------------------------------------------------

SIZE, CELL, LINE, MARGIN, HEAD = 14, 8.4, 18, 14, 40
COLORS = {
    "black": "#3a3f4b", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "blue": "#61afef",
    "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#dcdfe4", "brightblack": "#7f848e",
    "brightred": "#ff6b76", "brightgreen": "#5ee787", "brightbrown": "#ffd866", "brightblue": "#79b8ff",
    "brightmagenta": "#f78bd8", "brightcyan": "#66d9ef", "brightwhite": "#ffffff",
}  # fmt: skip
STYLE = f"""svg{{font:{SIZE}px 'JetBrains Mono','Cascadia Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;
white-space:pre}}text{{fill:#dcdfe4}}.b{{font-weight:bold}}.i{{font-style:italic}}.d{{opacity:.6}}
.u{{text-decoration:underline}}.c{{fill:#fff}}.t{{fill:#e5c07b;font-style:italic}}.a{{animation-timing-function:step-end;animation-iteration-count:infinite}}
"""


def draw(cells: Sequence[Char]) -> str:
    """A line of the screen as the inside of a <text>."""
    runs = [(key, "".join(cell.data for cell in run)) for key, run in groupby(cells, _look)]
    while runs and not runs[-1][1].strip():
        runs.pop()
    column, parts = 0, []
    for (fill, classes), text in runs:
        if text.strip():
            lead = len(text) - len(text.lstrip())
            shown = text.strip()
            attributes = (f' class="{classes}"' if classes else "") + (f' fill="{fill}"' if fill else "")
            x, width = (column + lead) * CELL, len(shown) * CELL
            parts.append(f'<tspan x="{x:.1f}" textLength="{width:.1f}"{attributes}>{escape(shown)}</tspan>')
        column += len(text)
    return "".join(parts)


def _look(cell: Char) -> tuple[str, str]:
    fill = COLORS.get(cell.fg, "" if cell.fg == "default" else f"#{cell.fg}")
    flags = (("b", cell.bold), ("i", cell.italics), ("u", cell.underscore))
    return fill, " ".join(name for name, is_set in flags if is_set)


def animated(frames: Sequence[tuple[float, list[str]]]) -> str:
    """Each line of the screen is a strip of what it showed, moved by a step at each change."""
    start = frames[0][0]
    total = frames[-1][0] - start
    width = COLUMNS * CELL + 2 * MARGIN
    height = HEAD + (ROWS + 1.5) * LINE + MARGIN
    ids: dict[str, int] = {}
    strips, styles = [], [STYLE]
    for y in range(ROWS + 1):
        values: list[tuple[float, str]] = []
        for moment, rows in frames:
            at = moment - start
            if values and at - values[-1][0] < FINEST and len(values) > 1:
                values[-1] = (values[-1][0], rows[y])
            elif not values or values[-1][1] != rows[y]:
                values.append((at, rows[y]))
        uses = []
        for place, (_, value) in enumerate(values):
            if value:
                number = ids.setdefault(value, len(ids))
                uses.append(f'<use href="#r{number}" x="{place * width:.0f}"/>')
        if not uses:
            continue
        top = HEAD + SIZE + y * LINE + (LINE / 2 if y == ROWS else 0)
        steps = "".join(
            f"{100 * at / total:.2f}%{{transform:translateX({-place * width:.0f}px)}}"
            for place, (at, _) in enumerate(values)
        )
        styles.append(f"@keyframes k{y}{{{steps}}}")
        last = f"transform:translateX({-(len(values) - 1) * width:.0f}px)"
        strips.append(
            f'<g transform="translate({MARGIN},{top:.0f})"><g class="a" style="{last};animation-name:k{y};'
            f'animation-duration:{total:.2f}s">{"".join(uses)}</g></g>'
        )
    texts = "".join(f'<text id="r{number}">{value}</text>' for value, number in ids.items())
    dots = "".join(
        f'<circle cx="{22 + 20 * n}" cy="20" r="6" fill="{fill}"/>'
        for n, fill in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    drawn = f"<defs>{texts}</defs>{''.join(strips)}"
    back = '<rect width="100%" height="100%" rx="10" fill="#1e2127"/>'
    styled = f"<style>{''.join(styles)}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{styled}{back}{dots}{drawn}</svg>\n'


if __name__ == "__main__":
    main()
