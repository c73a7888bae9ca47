"""`llamachat ask`: one question from a shell, and its answer on stdout."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamachat import paths
from llamachat.cli import console, programs
from llamachat.client.completions import fetch
from llamachat.core import pictures
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Event, Progress, Queued, TextDelta
from llamachat.errors import AnswerCut, ExitStatus, UsageError
from llamachat.language import _
from llamachat.programs.asking import Answer, Asker, cut
from llamachat.programs.long_texts import LongText
from llamachat.programs.shapes import AnyText, Choices, Shape
from llamachat.programs.wiring import connected, reached
from llamachat.settings.ask import AskSettings
from llamachat.settings.base import add_options, load
from llamachat.store.journal import Journal, NoJournal
from llamachat.texts import documents


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "question", nargs="*", metavar="QUESTION", help=_("the question; what is piped in comes before it")
    )
    add_options(parser, AskSettings)
    programs.add_params(parser)


def run(args: argparse.Namespace) -> int:
    console.check_stdout()
    try:
        return _run(args)
    except KeyboardInterrupt:
        console.report(_("Stopped."))
        raise


def _run(args: argparse.Namespace) -> int:
    settings = load(AskSettings, vars(args))
    plan = programs.plan(settings, dict(args.param))
    weighs = settings.json_output and isinstance(plan.question.shape, Choices)
    plan = replace(plan, question=replace(plan.question, probabilities=weighs))
    images = tuple(_picture(name) for name in settings.attach)
    text = _input(settings)
    asked = " ".join(args.question).encode("utf-8", "replace").decode()
    if plan.template.picture and not images:
        raise UsageError(_("This template needs a picture."), _("Give it with -a FILE."))
    if not text and not asked and not images:
        raise UsageError(_("There is nothing to ask."), _('llamachat ask "Name three rivers."'))
    if settings.continue_last:
        return _go_on(settings, plan, plan.words.ask(text, asked))
    with (
        connected(programs.server(settings), programs.tell_starting) as (asker, _server),
        _View(plan.question.shape, settings) as view,
    ):
        answer = _ask(asker, plan, settings, text, asked, images, view)
        view.finish(answer)
    if settings.store:
        question = Message("user", plan.words.ask(text, asked), pictures=images)
        _remember(settings, plan, question, asked, answer)
    if answer.finish_reason == "length":
        raise cut(plan.question, answer)
    return ExitStatus.OK


def _go_on(settings: AskSettings, plan: programs.Plan, prompt: str) -> int:
    """Ask in the last conversation, as its chat would."""
    from llamachat.chat import turn
    from llamachat.chat.session import Session, Settings
    from llamachat.client.stream import ChatClient
    from llamachat.core.sampling import Sampling
    from llamachat.terminal.options import DisplayOptions
    from llamachat.terminal.plain import PlainTerminal

    if not isinstance(plan.question.shape, AnyText) or settings.attach or settings.json_output:
        raise UsageError(
            _("-c continues a conversation, which has text alone."), _("Leave out the other option, or -c.")
        )
    display = DisplayOptions(color=False, markdown=False, think="hide")
    face = PlainTerminal(sys.stdin, sys.stdout, sys.stderr, display)
    with ExitStack() as stack:
        url, key, said = stack.enter_context(reached(programs.server(settings), programs.tell_starting))
        client = stack.enter_context(closing(ChatClient(url, key)))
        journal = stack.enter_context(closing(_journal(settings)))
        session = Session.open(client, journal, Settings(model=settings.model), facts=said)
        session.resume()
        if not settings.store:
            session.journal = NoJournal()
        sampling = Sampling(temperature=settings.temperature, seed=settings.seed, repeat_penalty=1.0)
        # For this question alone: the conversation keeps its own.
        session.settings = replace(
            session.settings, sampling=replace(sampling, max_tokens=settings.max_tokens)
        )
        reply = turn.ask(session, face, prompt)
    assert reply.done
    if reply.done.finish_reason == "length":
        raise AnswerCut(reply.done.usage.completion_tokens if reply.done.usage else 0, reply.text)
    return ExitStatus.OK


def _remember(
    settings: AskSettings, plan: programs.Plan, question: Message, asked: str, answer: Answer
) -> None:
    """Question and answer as a conversation of their own, which a chat can continue."""
    usage = answer.usage
    said = Message(
        "assistant",
        answer.text,
        finish_reason=answer.finish_reason,
        model=answer.model,
        server=settings.base_url,
        parameters=dict(plan.question.sampling),
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        timings=answer.timings,
        finished_at=time.time(),
    )
    conversation = Conversation().with_system(plan.question.system).with_turn(question, said)
    with closing(_journal(settings)) as journal:
        journal.start(Conversation(), {})
        journal.save(conversation, title=asked or question.content, wait=True)


def _journal(settings: AskSettings) -> Journal:
    return Journal(paths.transcripts_file(settings.transcripts), lambda error: console.report(error))


def _ask(
    asker: Asker,
    plan: programs.Plan,
    settings: AskSettings,
    text: str,
    asked: str,
    images: tuple[str, ...],
    view: _View,
) -> Answer:
    def compose(part: str) -> str:
        return plan.words.ask(part, asked) if text else plan.words.ask(asked, "")

    if images:
        return asker.ask(plan.question, plan.question.messages(compose(text), images), view.show)
    long = settings.long or plan.template.long
    parts = LongText(asker, plan.question, compose, overlap=settings.overlap, tell=view.tell_part)
    return parts.ask(text, long, view.show)


def _input(settings: AskSettings) -> str:
    """What is piped in, then the files."""
    piped = ""
    if not sys.stdin.isatty() and "-" not in settings.attach:
        piped = documents.text_of(Path("stdin"), sys.stdin.buffer.read())
    return "\n\n".join(
        filter(None, (piped.strip("\n"), *(documents.read_text(Path(f).expanduser()) for f in settings.file)))
    )


def _picture(name: str) -> str:
    if name == "-":
        return documents.picture_url(sys.stdin.buffer.read(), "stdin")
    if name.startswith(("http://", "https://")):
        return documents.picture_url(fetch(name, pictures.MOST_BYTES), name)
    path = Path(name).expanduser()
    return documents.picture_url(documents.read_bytes(path, pictures.MOST_BYTES), str(path))


class _View:
    """Streams plain text to stdout as it comes; anything else is printed whole, once it is valid.

    In a terminal, stderr has one line about the progress, which is gone when there is something to print.
    """

    def __init__(self, shape: Shape, settings: AskSettings) -> None:
        self._streams = isinstance(shape, AnyText) and not settings.json_output
        self._shape, self._settings = shape, settings
        self._printed = ""
        self._part = self._progress = ""

    def __enter__(self) -> _View:
        return self

    def __exit__(self, *error: object) -> None:
        self._tell("")

    def tell_part(self, text: str) -> None:
        self._part = text
        self._tell(text)

    def show(self, event: Event) -> None:
        if isinstance(event, (Progress, Queued)):
            self._tell(" · ".join(filter(None, (self._part, _waiting(event)))))
        elif self._streams and isinstance(event, TextDelta):
            self._write(event.text)

    def finish(self, answer: Answer) -> None:
        if self._streams:
            self._write(answer.text[len(self._printed) :] if answer.text.startswith(self._printed) else "")
            self._write("" if self._printed.endswith("\n") else "\n")
        else:
            whole = self._whole(answer)
            self._write(whole if whole.endswith("\n") else whole + "\n")

    def _whole(self, answer: Answer) -> str:
        if self._settings.json_output:
            said = answer.as_json()
            if isinstance(self._shape, Choices):
                said["probabilities"] = answer.probabilities
            return json.dumps(said, ensure_ascii=False)
        value: Any = answer.as_json()["answer"]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)

    def _write(self, text: str) -> None:
        self._tell("")
        self._printed += text
        sys.stdout.write(text)
        sys.stdout.flush()

    def _tell(self, text: str) -> None:
        """Replace the line about the progress; never a line that has a part of the answer."""
        amid_answer = self._printed and not self._printed.endswith("\n") and sys.stdout.isatty()
        if text == self._progress or amid_answer or not sys.stderr.isatty():
            return
        self._progress = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r\033[K{self._progress}")
        sys.stderr.flush()


def _waiting(event: Event) -> str:
    if isinstance(event, Queued):
        return (
            _("waiting behind {position} others").format(position=event.position)
            if event.position > 1
            else _("waiting behind 1 other")
        )
    if isinstance(event, Progress) and event.total:
        return _("reading the text: {processed} of {total} tokens").format(
            processed=event.processed, total=event.total
        )
    return ""
