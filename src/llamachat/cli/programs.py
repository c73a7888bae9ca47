"""What `ask` and `batch` share: from options to a question and a server."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from llamachat import paths
from llamachat.cli import console
from llamachat.errors import UsageError
from llamachat.language import _
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
        help=_("a parameter of the template; may be repeated"),
    )


def server(settings: ProgramSettings) -> Server:
    return Server(
        settings.base_url,
        console.api_key(settings),
        named="base_url" in settings.model_fields_set,
        model=settings.model,
        keep=settings.keep,
    )


def plan(settings: ProgramSettings, params: Mapping[str, str]) -> Plan:
    """What is asked. Raises UsageError if template, schema or choices are wrong."""
    lang = console.language(settings.lang)
    if settings.template:
        template = templates.find(settings.template, paths.templates_folder())
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
        raise UsageError(_("--schema and --choices exclude each other."), _("Give one of them."))
    if settings.choices:
        return shapes.from_choices(settings.choices)
    if settings.schema_:
        return shapes.from_schema(settings.schema_)
    shape = template.shape
    return shapes.Code() if settings.extract and isinstance(shape, shapes.AnyText) else shape


def tell_starting(server: Server) -> None:
    if server.keep:
        console.say(_("No server is running: starting one that stays. `llamachat ps` shows its pid."))
    else:
        console.say(_("No server is running: starting one for this. `llamachat serve` keeps one ready."))
