"""The options of `llamachat ask` and `llamachat batch`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from llamachat.core.presets import Lang
from llamachat.settings.base import StrList, option, sampling_bounds
from llamachat.settings.client import ClientOptions


class ProgramSettings(ClientOptions):
    """What both have: the server, the sampling, the shape of the answer."""

    section: ClassVar[str] = "ask"

    template: str | None = option(None, "a template's name or file", metavar="NAME", flags=("-t",))
    schema_: str | None = option(
        None,
        "answer with JSON of this schema: JSON Schema, a file, 'name, age int, until date?', or module:Model",
        metavar="SCHEMA",
    )
    choices: str | None = option(None, "answer with exactly one of these labels", metavar="A,B,…")
    max_tokens: int | None = option(
        None,
        "maximum length of an answer in tokens (default: what the window has room for)",
        **sampling_bounds("max_tokens"),
    )
    temperature: float = option(0.0, "randomness, 0 for none", **sampling_bounds("temperature"))
    seed: int = option(0, "seed of the randomness", **sampling_bounds("seed"))
    long: Literal["error", "map", "reduce", "refine", "find"] | None = option(
        None,
        "a text longer than the window: part by part (map), summed up (reduce), refined, or searched (find)",
    )
    extract: bool = option(False, "take the first code block of the answer alone", flags=("-x",))
    lang: Literal[Lang, "auto"] = option("auto", "language of the templates; auto: the system's")
    keep: bool = option(False, "keep a server running that was started for this")


class AskSettings(ProgramSettings):
    file: StrList = option(
        (), "a file whose text comes before the question; may be repeated", metavar="FILE", flags=("-f",)
    )
    attach: StrList = option(
        (), "a picture: a file, an address, or - for stdin; may be repeated", metavar="FILE", flags=("-a",)
    )
    overlap: int = option(0, "tokens shared by two neighbouring parts of a long text", ge=0)
    json_output: bool = option(False, "print answer, usage, timings and model as JSON", flags=("--json",))
    continue_last: bool = option(False, "continue the last conversation", flags=("-c", "--continue"))
    store: bool = option(True, "save question and answer in the transcripts")
    transcripts: Path | None = option(
        None, "the transcripts file (default: in the user's data folder)", metavar="FILE"
    )


class BatchSettings(ProgramSettings):
    section: ClassVar[str] = "batch"

    output: Path | None = option(
        None, "where the answers go: .csv, .tsv or .jsonl", metavar="OUT", flags=("-o",)
    )
    prompt: str | None = option(
        None, "the prompt of a row, with columns in braces: 'Translate: {text}'", metavar="TEXT"
    )
    parallel: int | None = option(None, "rows at once (default: as many as the server answers at once)", ge=1)
    retry_errors: bool = option(False, "ask rows that failed again")
    restart: bool = option(False, "ask every row again")
    dry_run: bool = option(False, "show the first prompt and what it would take, and ask nothing")
    sample: int | None = option(None, "ask only this many rows", metavar="N", ge=1)
