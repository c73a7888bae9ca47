"""The options of `llamachat pull`, `models` and `doctor`."""

from __future__ import annotations

from typing import ClassVar, Literal

from llamachat.core.presets import Lang
from llamachat.settings.base import Options, option


class PullSettings(Options):
    section: ClassVar[str] = "pull"

    list: str | None = option(None, "show a repository's quantisations and whether they fit", metavar="REPO")
    folder: str | None = option(None, "where to put it (default: the models folder)", metavar="DIR")
    n_ctx: int = option(
        2048, "context window that the memory is estimated for", flags=("--n_ctx",), ge=1, le=1 << 50
    )
    connections: int = option(4, "connections at once, if the server supports ranges", ge=1, le=16)
    mirror: bool = option(False, "use hf-mirror.com (HF_ENDPOINT names any other)")
    projector: bool = option(True, "fetch what the model sees pictures with, if it is in the repository")
    lang: Literal[Lang, "auto"] = option("auto", "language of the recommended model")
    yes: bool = option(False, "answer yes to every question, the licence included")
    force: bool = option(False, "fetch a model that does not fit into memory")
    quiet: bool = option(False, "no progress, only errors and the path at the end")
    patience: float = option(600, "give up after this long without a byte", metavar="SECONDS", gt=0)


class ModelsSettings(Options):
    section: ClassVar[str] = "models"

    folder: str | None = option(None, "the models folder", metavar="DIR")
    n_ctx: int = option(
        2048, "context window that the memory is estimated for", flags=("--n_ctx",), ge=1, le=1 << 50
    )
    lang: Literal[Lang, "auto"] = option("auto", "language of explanations")
    yes: bool = option(False, "remove without asking")


class DoctorSettings(Options):
    section: ClassVar[str] = "doctor"

    port: int = option(8000, "the port that `serve` will use", ge=0, le=65535)
    network: bool = option(True, "check whether the hub and its mirror answer")
    timeout: float = option(60, "seconds the engine may take for one token", metavar="SECONDS", gt=0)
