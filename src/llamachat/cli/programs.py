"""What `ask` and `batch` share: from options to a question and a server."""

from __future__ import annotations

import argparse
import locale
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from llamachat.core.presets import Lang
from llamachat.errors import UsageError
from llamachat.programs import shapes, templates
from llamachat.programs.questions import SAMPLING, Question
from llamachat.programs.wiring import Server
from llamachat.settings.ask import ProgramSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """The question and the words of a template, or the plain ones."""

    question: Question
    words: templates.Words
    template: templates.Template


def add_params(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        "--param",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of the template; may be repeated",
    )


def server(settings: ProgramSettings, *, keep: bool) -> Server:
    return Server(
        settings.base_url,
        settings.api_key,
        named="base_url" in settings.model_fields_set,
        model=settings.model,
        keep=keep,
    )


def plan(settings: ProgramSettings, params: Mapping[str, str]) -> Plan:
    """What is asked. Raises UsageError where template, schema or choices are wrong."""
    lang = language(settings.lang)
    if settings.template:
        template = templates.find(settings.template, templates_folder())
    else:
        template = templates.Template(en=templates.Words())
    words = templates.compose(template.words(lang), template.params, params)
    system = settings.system if settings.system is not None else words.system
    sampling = {**SAMPLING, "temperature": settings.temperature, "seed": settings.seed}
    max_tokens = settings.max_tokens or template.max_tokens
    question = Question(system, _shape(settings, template), sampling, max_tokens, settings.model)
    return Plan(question, words, template)


def _shape(settings: ProgramSettings, template: templates.Template) -> shapes.Shape:
    if settings.schema_ and settings.choices:
        raise UsageError("--schema and --choices exclude each other.", "Give one of them.")
    if settings.choices:
        return shapes.from_choices(settings.choices)
    if settings.schema_:
        return shapes.from_schema(settings.schema_)
    if template.choices:
        return shapes.from_choices(template.choices)
    if isinstance(template.schema_, dict):
        return shapes.Json(template.schema_)
    return shapes.from_schema(template.schema_) if template.schema_ else shapes.AnyText()


def templates_folder() -> Path:
    return platformdirs.user_config_path("llamachat") / "templates"


def language(wanted: str) -> Lang:
    """`auto` is Chinese where the system is."""
    if wanted == "auto":
        name = locale.getlocale()[0] or ""
        return "zh" if name.lower().startswith(("zh", "chinese")) else "en"
    return "zh" if wanted == "zh" else "en"


def tell(text: str) -> None:
    print(f"llamachat: {text}", file=sys.stderr)  # noqa: T201


def tell_starting() -> None:
    tell("No server is running: starting one for this. `llamachat serve` keeps one ready.")
