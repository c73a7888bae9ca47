"""llamachat in Python: `ask`, `batch`, `serve`, and their async forms.

    from llamachat import ask, batch, serve

    ask("Name three rivers.")
    ask("I loved it.", choices=["good", "bad"])
    ask(text, schema=Invoice)                          # an Invoice
    with serve("llama3", n_ctx=8192) as server:
        ask("…", base_url=server.base_url)
    for row in batch(rows, prompt="Translate: {text}"):
        row.answer, row.error
    with Chat(system="Be brief.") as chat:
        chat.ask("Name a river.")

Where no `base_url` is given and no server answers at the default one, a server is started for the
process, and ends with it. What goes wrong is an error of `llamachat.errors`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from llamachat import paths
from llamachat.chat import turn
from llamachat.chat.session import Session, Settings
from llamachat.client.stream import ChatClient
from llamachat.core import presets
from llamachat.core.events import Event, TextDelta
from llamachat.core.sampling import Sampling
from llamachat.errors import LlamachatError, Unavailable
from llamachat.programs import rows as tables
from llamachat.programs import shapes
from llamachat.programs.asking import Asker, cut
from llamachat.programs.batch import Batch, InMemory, count, prepare
from llamachat.programs.batch_journal import BatchJournal
from llamachat.programs.long_texts import Long, LongText
from llamachat.programs.own_server import OwnServer, serve
from llamachat.programs.questions import SAMPLING, Question
from llamachat.programs.wiring import ROWS_PRIORITY, Server, connected
from llamachat.running import key_for
from llamachat.store.journal import Journal, NoJournal
from llamachat.texts.documents import picture_url, read_bytes

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Chat", "RowAnswer", "aask", "abatch", "ask", "batch", "serve"]

DEFAULT_URL = "http://localhost:8000/v1"


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """One row of a batch: its columns, and its `answer` or its `error`."""

    columns: Mapping[str, Any]
    answer: Any
    error: str | None


def ask(
    prompt: str,
    *,
    text: str = "",
    system: str = "",
    schema: type[BaseModel] | Mapping[str, Any] | str | None = None,
    choices: Sequence[str] | None = None,
    images: Sequence[str | Path] = (),
    long: Long = "error",
    base_url: str | None = None,
    api_key: str | None = None,
    model: str = presets.MODEL,
    **sampling: Any,
) -> Any:
    """The answer to `prompt`, asked about `text` if there is one; `text` may be `long`er than the window.

    A str, one of `choices`, JSON of a `schema`, or an instance of the pydantic model that is the schema.
    Raises TextTooLong, AnswerCut (by `max_tokens` or the window; its `text` is what there is), ShapeError,
    Unavailable, …
    """
    question = _question(system, schema, choices, model, sampling)
    urls = tuple(picture_url(read_bytes(Path(image)), str(image)) for image in images)
    with _asker(base_url, api_key, model) as asker:
        if urls:
            said = "\n\n".join(filter(None, (text, prompt)))
            answer = asker.ask(question, question.messages(said, urls))
        elif text:
            answer = LongText(asker, question, lambda part: f"{part}\n\n{prompt}").ask(text, long)
        else:
            answer = asker.ask(question, question.messages(prompt))
    if answer.finish_reason == "length":
        raise cut(question, answer)
    return answer.value


def batch(
    rows: Iterable[Mapping[str, Any] | str],
    *,
    prompt: str = "{text}",
    system: str = "",
    schema: type[BaseModel] | Mapping[str, Any] | str | None = None,
    choices: Sequence[str] | None = None,
    parallel: int | None = None,
    journal: str | Path | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    model: str = presets.MODEL,
    **sampling: Any,
) -> Iterator[RowAnswer]:
    """The rows with their answers, in their order, as soon as they are there.

    `prompt` names columns in braces; a row that is a str is the column `text`. With a `journal`, the path of
    a file, rows that it has answered already are not asked again.
    """
    question = _question(system, schema, choices, model, sampling)
    table = tables.from_values(rows)
    with ExitStack() as stack:
        asker = stack.enter_context(_asker(base_url, api_key, model, priority=ROWS_PRIORITY))
        tasks = count(asker, prepare(table, question, prompt))
        kept: Any = InMemory()
        if journal is not None:
            kept = stack.enter_context(
                BatchJournal(Path(journal), {"prompt": prompt, "fields": dict(question.shape.fields)})
            )
        running = Batch(asker, kept, parallel=parallel or asker.lanes)
        results = running.run(tasks)
        for task in tasks:
            while task.key not in kept.answers and next(results, None) is not None:
                pass
            record = kept.answers[task.key]
            value = None if record["error"] else question.shape.read(record["text"])
            yield RowAnswer(task.row.columns, value, record["error"])


class Chat:
    """A conversation that keeps to the window as the one in a terminal does.

        with Chat(system="Be brief.") as chat:
            chat.ask("Name a river.")
            for piece in chat.stream("Where is it?"):
                print(piece, end="")

    `messages` is what was said; `finish_reason`, that of the last answer, is `length` if it was cut. With
    `transcripts`, the path of a file, the conversation is saved there.
    """

    def __init__(
        self,
        *,
        system: str = "",
        base_url: str | None = None,
        api_key: str | None = None,
        model: str = presets.MODEL,
        transcripts: str | Path | None = None,
        **sampling: Any,
    ) -> None:
        url, key = _server(base_url, api_key)
        self._client = ChatClient(url, key)
        journal = Journal(Path(transcripts), _raise) if transcripts is not None else NoJournal()
        settings = Settings(model=model, system=system, sampling=Sampling(**{**SAMPLING, **sampling}))
        self._session = Session.open(self._client, journal, settings, facts=self._client.facts())

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.journal.close()
        self._client.close()

    @property
    def messages(self) -> list[dict[str, str]]:
        return [message.as_request() for message in self._session.conversation]

    @property
    def finish_reason(self) -> str | None:
        last = self._session.conversation.last
        return last.message.finish_reason if last else None

    def ask(self, text: str) -> str:
        """The whole answer. Raises what `llamachat.errors` has; the conversation is then as it was."""
        return turn.ask(self._session, _Listener(lambda _: None), text).text

    def stream(self, text: str) -> Iterator[str]:
        """The answer in pieces; to stop reading stops it."""
        pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
        listener = _Listener(pieces.put)

        def run() -> None:
            try:
                turn.ask(self._session, listener, text)
                pieces.put(None)
            except BaseException as error:  # noqa: BLE001 - raised where it is read
                pieces.put(error)

        asking = threading.Thread(target=run, name="chat", daemon=True)
        asking.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            listener.stop()
            asking.join()


class _Listener:
    """A face that takes the text and nothing else."""

    commands = False

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self.stop: Callable[[], None] = lambda: None

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[_Listener]:
        self.stop = stop
        yield self

    def show(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._take(event.text)

    def tell(self, text: str) -> None:
        pass

    def ask(self, question: str) -> bool:
        return False


def _raise(error: LlamachatError) -> None:
    raise error


async def aask(prompt: str, **options: Any) -> Any:
    """`ask`, in its own thread."""
    return await asyncio.to_thread(ask, prompt, **options)


async def abatch(rows: Iterable[Mapping[str, Any] | str], **options: Any) -> AsyncIterator[RowAnswer]:
    """`batch`, in its own thread."""
    answers = batch(rows, **options)
    try:
        while (answer := await asyncio.to_thread(next, answers, None)) is not None:
            yield answer
    finally:
        await asyncio.to_thread(answers.close)  # type: ignore[attr-defined]


def _question(
    system: str, schema: Any, choices: Sequence[str] | None, model: str, sampling: Mapping[str, Any]
) -> Question:
    shape: shapes.Shape = shapes.AnyText()
    if choices is not None:
        shape = shapes.from_choices(choices)
    elif isinstance(schema, type):
        shape = shapes.from_model(schema)
    elif isinstance(schema, str):
        shape = shapes.from_schema(schema)
    elif schema is not None:
        shape = shapes.Json(schema)
    others = {name: value for name, value in sampling.items() if name != "max_tokens"}
    return Question(system, shape, {**SAMPLING, **others}, sampling.get("max_tokens"), model)


_starting = threading.Lock()
_own: OwnServer | None = None


@contextmanager
def _asker(base_url: str | None, api_key: str | None, model: str, priority: int = 0) -> Iterator[Asker]:
    url, key = _server(base_url, api_key)
    server = Server(url, key, named=True, model=model)
    with connected(server, lambda _: None, priority=priority) as (asker, _):
        yield asker


def _server(base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """The address and the key: those that are given, or in the environment, or of the default server."""
    url = base_url or os.environ.get("LLAMACHAT_BASE_URL")
    key = api_key or os.environ.get("LLAMACHAT_API_KEY")
    key = key or key_for(paths.running_folder(), url or DEFAULT_URL) or "not-needed"
    return _default(key) if url is None else (url, key)


def _default(key: str) -> tuple[str, str]:
    """The server at the default address, else one for this process."""
    from llamachat.client import facts

    global _own
    with _starting:
        if _own is None:
            try:
                facts.fetch(DEFAULT_URL, key)
                return DEFAULT_URL, key
            except Unavailable:
                _own = OwnServer("--port=0").__enter__()
                atexit.register(_own.__exit__, None, None, None)
        return _own.base_url, _own.api_key
