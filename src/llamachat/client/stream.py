"""Answers as they stream, through the `openai` client in their own thread.

The thread runs an event loop, because a task can be cancelled at any stage (name, connection, headers, body),
while a blocking read can't; and `openai` is imported there, so that the prompt does not wait for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from llamachat.client import address, facts, http
from llamachat.client.chunks import ChunkReader
from llamachat.client.error_translation import translate
from llamachat.client.facts import ServerFacts
from llamachat.client.server_window import ServerWindow, server_window
from llamachat.core.events import Done, Event
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_POLL = 0.05
"""Seconds after which a waiting reader looks up: if a signal does not wake it, Ctrl-C takes that long."""
_CONNECT_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 0.3
"""Seconds for closing the connections; leaving does not wait for an import that has just begun."""
_OWN_FIELDS = ("temperature", "top_p", "max_tokens", "seed", "stop")
"""What the `openai` package has arguments for; everything else travels in `extra_body`."""


Events: TypeAlias = "SimpleQueue[Event | LlamachatError | None]"


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the server; `prefill` continues the last message, which is the model's own.

    `session_id` names the conversation, so that a router can send all of it to the server that knows it.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str
    sampling: Mapping[str, Any]
    prefill: bool = False
    session_id: str = ""

    def arguments(self) -> dict[str, Any]:
        own = {k: v for k, v in self.sampling.items() if k in _OWN_FIELDS}
        extra = {k: v for k, v in self.sampling.items() if k not in _OWN_FIELDS}
        extra["return_progress"] = True
        if self.prefill:
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        return {
            "messages": list(self.messages),
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": extra,
            "extra_headers": {"X-Session-ID": self.session_id} if self.session_id else None,
            **own,
        }


class ReplyStream:
    """The events of one answer; the last is Done. Leaving the context closes the connection.

    Iterating raises a LlamachatError if the server fails. `cancel` is safe in a signal handler.
    """

    def __init__(self, events: Events, task: Future[None]) -> None:
        self._events = events
        self._task = task
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._events.put(None)

    def __enter__(self) -> ReplyStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self._next()
            if isinstance(event, LlamachatError):
                raise event
            yield event
            if isinstance(event, Done):
                return

    def _next(self) -> Event | LlamachatError:
        while not self._cancelled:
            try:
                event = self._events.get(timeout=_POLL)
            except Empty:
                continue
            if event is not None and not self._cancelled:
                return event
        return Done("interrupted")


class ChatClient:
    """A connection to one server. Its thread ends with `close`, or with the program."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url = address.check(base_url)
        self.api_key = api_key
        self._loop = asyncio.new_event_loop()
        # What goes wrong comes through the events; asyncio's own complaints would only spoil the screen.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._openai: AsyncOpenAI | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="client", daemon=True)

    def warm_up(self) -> None:
        """Begin to import `openai` in the background."""
        self._start()
        self._loop.call_soon_threadsafe(self._connect)

    def stream(self, request: Request) -> ReplyStream:
        self._start()
        events: Events = SimpleQueue()
        return ReplyStream(events, asyncio.run_coroutine_threadsafe(self._pump(request, events), self._loop))

    def window(self, model: str) -> ServerWindow:
        """The server's window and a counter for it. Raises ServerError if no server answers."""
        return server_window(lambda path, body: http.call(self.base_url, self.api_key, path, body)[1], model)

    def models(self) -> tuple[str, ...]:
        """The models that the server has; empty if it does not say."""
        return facts.models(self.base_url, self.api_key)

    def facts(self) -> ServerFacts:
        """What the server says about itself now. Raises ServerError if none answers."""
        return facts.fetch(self.base_url, self.api_key)

    def close(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop)
            self._thread.join(_CLOSE_TIMEOUT)
        if not self._thread.is_alive():
            self._loop.close()

    def _start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def _connect(self) -> AsyncOpenAI:
        if self._openai is None:
            with _without_openai_variables():
                import httpx2
                from openai import AsyncOpenAI, DefaultAsyncHttpxClient

                self._openai = AsyncOpenAI(
                    base_url=self.base_url,
                    api_key=self.api_key,
                    max_retries=0,
                    http_client=DefaultAsyncHttpxClient(
                        trust_env=not address.is_loopback(self.base_url),
                        timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT),
                        # A server that was restarted, or broke a stream off, has closed what would be reused.
                        limits=httpx2.Limits(max_keepalive_connections=0),
                    ),
                )
        return self._openai

    async def _shut(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._openai:
            await self._openai.close()
        self._loop.stop()

    async def _pump(self, request: Request, out: Events) -> None:
        reader = ChunkReader()
        try:
            chunks = await self._connect().chat.completions.create(**request.arguments())
            async with chunks:
                async for chunk in chunks:
                    for event in reader.feed(chunk.to_dict()):
                        out.put(event)
            for event in reader.finish():
                out.put(event)
        except LlamachatError as error:
            out.put(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader must not wait forever
            out.put(translate(error, self.base_url, request.model, started=reader.started))


@contextmanager
def _without_openai_variables() -> Iterator[None]:
    """A stray OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_CUSTOM_HEADERS, … is for another server than ours."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPENAI_")}
    try:
        yield
    finally:
        os.environ.update(hidden)
