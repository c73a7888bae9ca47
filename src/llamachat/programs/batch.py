"""Many questions of one kind: as many at once as the server has room for, each answer kept as it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from llamachat.client.counting import EstimatingCounter
from llamachat.errors import BrokenAnswer, LlamachatError, TextTooLong, Unavailable
from llamachat.language import _
from llamachat.programs.asking import Answer, Asker, Messages, cut, said
from llamachat.programs.batch_journal import fingerprint
from llamachat.programs.long_texts import Compose, Long, LongText
from llamachat.programs.questions import Question, fill, placeholders
from llamachat.programs.rows import Row, Table

RETRY_SECONDS = 1.0
MOST_BREAKS = 3
"""Answers of one row that may break off before it counts as failed."""
_NOT_SAMPLING = ("messages", "model", "stream", "stream_options", "metadata", "store", "user")
"""Of a row in OpenAI's form; the server gets all the rest."""


class Kept(Protocol):
    """Where answers are kept: a journal, or a dict of a program."""

    answers: dict[str, dict[str, Any]]

    def add(self, key: str, answer: Mapping[str, Any]) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}

    def add(self, key: str, answer: Mapping[str, Any]) -> None:
        self.answers[key] = dict(answer)


@dataclass(frozen=True, slots=True)
class Task:
    """One row ready to be sent, under the `key` of its content; `error` where it can't be sent.

    `compose` makes the prompt of the row's `text`, or of a part of it; a row of OpenAI's form has `messages`.
    """

    row: Row
    key: str
    question: Question
    messages: Messages
    text: str = ""
    compose: Compose | None = None
    error: LlamachatError | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row; `kept` is the record that the journal has of it."""

    task: Task
    kept: Mapping[str, Any]


def prepare(table: Table, question: Question, prompt: str) -> list[Task]:
    """A task for each row. Raises UsageError if `prompt` names a column that is not there."""
    return [
        _openai_task(row, question) if row.body is not None else _task(row, question, prompt)
        for row in table.rows
    ]


def _task(row: Row, question: Question, prompt: str) -> Task:
    if row.error is not None:
        return _unreadable(row, question)
    messages = question.messages(fill(prompt, row.columns))
    # What is cut where a row is longer than the window: the longest column that the prompt names.
    longest = max(placeholders(prompt), key=lambda name: len(str(row.columns[name])), default=None)
    text = str(row.columns[longest]) if longest is not None else ""

    def compose(part: str) -> str:
        return fill(prompt, {**row.columns, longest: part} if longest is not None else row.columns)

    return Task(row, _key(row, question, messages), question, messages, text, compose)


def _openai_task(row: Row, question: Question) -> Task:
    if row.error is not None:
        return _unreadable(row, question)
    assert row.body is not None
    fields = {name: value for name, value in row.body.items() if name not in _NOT_SAMPLING}
    room = fields.pop("max_completion_tokens", None) or fields.pop("max_tokens", None) or question.max_tokens
    question = replace(question, sampling={**question.sampling, **fields}, max_tokens=room)
    messages = [dict(m) for m in row.body["messages"]]
    return Task(row, _key(row, question, messages), question, messages)


def _unreadable(row: Row, question: Question) -> Task:
    error = LlamachatError(_("The row can't be read: {error}.").format(error=row.error))
    return Task(row, fingerprint(row.name, row.error), question, [], error=error)


def _key(row: Row, question: Question, messages: Messages) -> str:
    return fingerprint(row.name, question.body(messages, question.max_tokens))


def count(asker: Asker, tasks: Sequence[Task]) -> list[Task]:
    """The tasks, those that do not fit into the window with their error.

    The server counts only rows of which an estimate on the safe side says that they may be too long.
    """
    if not asker.window.counter.exact:
        return list(tasks)
    return [_counted(asker, task) for task in tasks]


def _counted(asker: Asker, task: Task) -> Task:
    limit = asker.limit(task.question)
    if task.error or limit is None or _estimate(task.messages) <= limit:
        return task
    tokens = asker.tokens(task.messages)
    return task if tokens <= limit else replace(task, error=TextTooLong(tokens, limit))


def _estimate(messages: Messages) -> int:
    return EstimatingCounter().prompt([said(message) for message in messages])


class Batch:
    """Runs tasks on a server; `parallel` of them at once.

    If the server is gone, `gone` is told once, and the row is asked again until it is back or `stop`
    is called.
    """

    def __init__(
        self,
        asker: Asker,
        kept: Kept,
        *,
        parallel: int,
        long: Long = "error",
        gone: Callable[[LlamachatError], None] = lambda _: None,
    ) -> None:
        self._asker, self._kept, self._parallel, self._gone = asker, kept, max(parallel, 1), gone
        self._long: Long = long
        self._stopped = threading.Event()
        self._told = threading.Lock()
        self._away = False

    def stop(self) -> None:
        self._stopped.set()

    def run(self, tasks: Sequence[Task], *, retry_errors: bool = False) -> Iterator[Result]:
        """The results of tasks that are not answered yet, as they come; each is kept before it is yielded."""
        todo = [t for t in tasks if self._is_open(t, retry_errors)]
        for task in [t for t in todo if t.error]:
            yield self._keep(task, task.error)
        queue = iter([t for t in todo if not t.error])
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="row") as pool:
            running: dict[Future[Answer | LlamachatError], Task] = {}
            try:
                # What all rows begin with is read once: the first row goes alone.
                first = next(queue, None)
                if first is not None:
                    yield self._keep(first, self._ask(first))
                for task in queue:
                    running[pool.submit(self._ask, task)] = task
                    if len(running) >= self._parallel:
                        yield from self._done(running)
                while running:
                    yield from self._done(running)
            finally:
                self.stop()
                # Those that are being answered are waited for in any case, so they are kept.
                for future, task in running.items():
                    if not future.cancel() and isinstance(answer := future.result(), Answer):
                        self._keep(task, answer)

    def _done(self, running: dict[Future[Answer | LlamachatError], Task]) -> Iterator[Result]:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield self._keep(running.pop(future), future.result())

    def _is_open(self, task: Task, retry_errors: bool) -> bool:
        kept = self._kept.answers.get(task.key)
        return kept is None or (retry_errors and kept["error"] is not None)

    def _keep(self, task: Task, answer: Answer | LlamachatError | None) -> Result:
        kept = _record(task.question, answer)
        self._kept.add(task.key, kept)
        return Result(task, kept)

    def _ask(self, task: Task) -> Answer | LlamachatError:
        tries = 0
        while True:
            try:
                answer = self._answer(task)
            except (Unavailable, BrokenAnswer) as error:
                # A row that brings the server down each time must not do so forever.
                tries += isinstance(error, BrokenAnswer)
                if self._stopped.is_set() or tries >= MOST_BREAKS:
                    return error
                self._tell(error)
                self._stopped.wait(RETRY_SECONDS)
            except LlamachatError as error:
                return error
            else:
                self._away = False
                return answer

    def _answer(self, task: Task) -> Answer:
        if task.compose is None:
            return self._asker.ask(task.question, task.messages)
        return LongText(self._asker, task.question, task.compose).ask(task.text, self._long)

    def _tell(self, error: LlamachatError) -> None:
        with self._told:
            first, self._away = not self._away, True
        if first:
            self._gone(error)


def _record(question: Question, answer: Answer | LlamachatError | None) -> dict[str, Any]:
    if isinstance(answer, Answer):
        return {
            **answer.as_json(),
            "text": answer.text,
            "error": cut(question, answer).message if answer.finish_reason == "length" else None,
            "created": int(time.time()),
        }
    return {"answer": None, "text": "", "error": str(answer), "code": type(answer).__name__}
