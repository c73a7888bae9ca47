"""The options of `llamachat chat`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from llamachat.core.presets import Lang
from llamachat.core.sampling import Sampling
from llamachat.core.thinking import Think
from llamachat.core.window import OnFull
from llamachat.settings.base import option, sampling_bounds
from llamachat.settings.client import ClientOptions


class ConversationOptions(ClientOptions):
    """What new conversations are set to, in a terminal or a page."""

    temperature: float = option(
        Sampling().temperature, "randomness, 0 for none", **sampling_bounds("temperature")
    )
    max_tokens: int | None = option(
        None,
        "maximum length of an answer in tokens (default: a quarter of the window)",
        **sampling_bounds("max_tokens"),
    )
    n_ctx: int | None = option(
        None, "the context window, if the server doesn't report it (default: 2048)", ge=1
    )
    on_full: OnFull = option(
        "drop", "when the window is full: drop the oldest turns, summarise them first, or stop and ask"
    )
    lang: Literal[Lang, "auto"] = option(
        "auto", "language of the first messages; auto: Chinese, but English for the bundled model"
    )
    transcripts: Path | None = option(
        None, "the transcripts file (default: in the user's data folder)", metavar="FILE"
    )


class ChatSettings(ConversationOptions):
    section: ClassVar[str] = "chat"

    template: str | None = option(None, "put every message into this template", metavar="NAME", flags=("-t",))
    intro: bool = option(True, "ask the model to introduce itself first")
    color: Literal["auto", "always", "never"] = option(
        "auto", "colours; auto: in a terminal, without NO_COLOR"
    )
    theme: Literal["auto", "dark", "light"] = option(
        "auto", "colours for a dark or a light background; auto: by COLORFGBG, else dark"
    )
    markdown: Literal["auto", "always", "never"] = option("auto", "render Markdown; auto: in a terminal")
    think: Think = option("fold", "show the model's thinking: as one line, in full, or not at all")
    stats: bool = option(False, "show tokens, speed, time to first token and window after each answer")
    input_history: bool = option(
        True, "keep typed messages for the next chat's up key and Ctrl-R", formerly="history"
    )
    store: bool = option(True, "save the conversation in the transcripts")
    continue_last: bool = option(False, "continue the last conversation", flags=("--continue",))
    resume: str | None = option(None, "continue the conversation with this id or name", metavar="ID|NAME")
    lines: bool = option(
        False,
        "in a pipe, each line is what would be typed: a message or a command (default: all is one message)",
    )
    wait: float = option(0.0, "wait this many seconds for the server", metavar="SECONDS", ge=0)
