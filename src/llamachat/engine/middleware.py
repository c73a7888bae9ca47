"""Every POST is read whole, checked and queued before a route of llama_cpp.server sees it.

The library's own server answers what doesn't validate with a 500, which clients try again, takes a body of
any size, and goes on computing for a client that hung up before its whole reply, also when it is told to
stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import anyio
import uvicorn
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamachat.core import shutdown
from llamachat.engine import jobs, several
from llamachat.engine.body_limits import Limits
from llamachat.engine.engine import Engine
from llamachat.engine.failures import Refused, answer, refusal
from llamachat.engine.metrics import Metrics
from llamachat.engine.request_body import KINDS, checked, encoded
from llamachat.engine.request_queue import RequestQueue, Ticket

T = TypeVar("T")

PRIORITY_HEADER = b"x-llamachat-priority"
PRIORITIES = 100
LARGE_BODY_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024


class RequestMiddleware:
    """The only reader of bodies, and the one that notices a client's leaving."""

    def __init__(
        self,
        app: ASGIApp,
        queue: RequestQueue,
        metrics: Metrics,
        limits: Limits,
        engine: Engine,
        model: str,
        chats: bool = True,
    ) -> None:
        self._app, self._queue, self._metrics, self._limits = app, queue, metrics, limits
        self._engine = engine
        self._model, self._chats = model, chats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        kind = KINDS.get(scope["path"].removeprefix(scope.get("root_path", "")))
        try:
            content = await read_body(scope, receive)
            if kind is None:  # not a route: a 404 or 405
                return await self._app(scope, replay(content, receive), send)
            if kind.has_choices and not self._chats:
                message = f"{self._model} makes embeddings and can't write. It serves /v1/embeddings."
                raise Refused(400, message, param="model")
            body = {"model": self._model, **await off_the_loop(content, checked, content, kind, self._limits)}
            if kind.has_choices:
                await self._compile(content, body)
            priority = priority_of(body, scope["headers"])
            if kind.needs_model:
                self._check_queue()
        except Refused as error:
            return await answer(error)(scope, receive, send)
        except ConnectionResetError:
            return None

        async def serve_one(body: Mapping[str, Any], receive: Receive, send: Send) -> None:
            try:
                content = encoded(body)
            except Refused as error:
                return await answer(error)(scope, receive, send)
            if not kind.needs_model:
                return await self._app(with_length(scope, len(content)), replay(content, receive), send)
            job = job_of(body, self._queue.join(priority), self._metrics.ended)
            return await self._serve(job, content, scope, receive, send)

        if not kind.has_choices:
            return await serve_one(body, receive, send)
        wanted = several.of(body)
        if len(wanted.bodies) == 1:
            return await serve_one(wanted.bodies[0], receive, send)
        return await several.serve(wanted, serve_one, self._queue.lanes, scope, receive, send)

    async def _compile(self, content: bytes, body: Mapping[str, Any]) -> None:
        """Turn what has to hold into rules, which are there when the request's turn comes. Raises Refused."""
        for job, param in await off_the_loop(content, self._engine.jobs_of, body):
            coming = asyncio.ensure_future(self._engine.compiler.check(job, param))
            while not (await asyncio.wait((coming,), timeout=shutdown.POLL))[0]:
                if _is_stopping():
                    coming.cancel()
                    raise Refused(503, "The server is about to stop.", retry_after=1, code="draining")
            coming.result()

    def _check_queue(self) -> None:
        """Whoever has another server to ask should hear of it at once, before a stream begins."""
        if self._queue.closed:
            self._metrics.refused()
            raise Refused(503, "The server is about to stop.", retry_after=1, code="draining")
        if self._queue.full:
            self._metrics.refused()
            seconds = self._metrics.seconds_for(self._queue.waiting // self._queue.lanes + 1)
            raise Refused(
                503, "The server is busy, and its queue is full.", retry_after=seconds, code="queue_full"
            )

    async def _serve(self, job: jobs.Job, content: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Queue, and free the lane when the client leaves. A stream waits in its publisher and says so."""
        jobs.current.set(job)
        gone = anyio.Event()
        with _watching(receive, job, gone):
            try:
                if not job.streams:
                    async for _ in job.ticket.ahead():
                        pass
                    job.check()
                    send = _ending(job, send)
                await self._app(with_length(scope, len(content)), replay(content, _when(gone)), send)
            except jobs.Cancelled as error:
                await answer(refusal(error))(scope, receive, send)
            finally:
                job.end()


def job_of(body: Mapping[str, Any], ticket: Ticket, ended: Callable[[jobs.Job], None]) -> jobs.Job:
    """With what the library's own request has no field for."""
    options = body.get("stream_options")
    return jobs.Job(
        ticket,
        ended,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        return_progress=body.get("return_progress") is True,
        continue_final_message=body.get("continue_final_message") is True,
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        allowed_tools=body.get("allowed_tools"),
        logprobs_of=body.get("logprobs_of", "model"),
        tokens=body.get("tokens"),
        streams=bool(body["stream"]),
    )


def priority_of(body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The body's `priority` (as vLLM calls it, lower first), else the header's, else 0, within PRIORITIES."""
    header = next((value for name, value in headers if name == PRIORITY_HEADER), b"0")
    wanted = body.get("priority", header.decode("latin-1"))
    try:
        return max(-PRIORITIES, min(int(wanted), PRIORITIES))
    except (TypeError, ValueError) as error:
        raise Refused(400, f"The priority {wanted!r} is not a whole number.", param="priority") from error


@contextlib.contextmanager
def _watching(receive: Receive, job: jobs.Job, gone: anyio.Event) -> Iterator[None]:
    """Cancel the job when its client leaves or the server is told to stop, which else would wait for it."""

    async def watch_client() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        job.cancel()

    async def watch_server() -> None:
        while not _is_stopping():
            await asyncio.sleep(shutdown.POLL)
        job.cancel()
        await asyncio.sleep(shutdown.GRACE)  # then streams are cut, as one is whose client reads no more
        AppStatus.should_exit = True

    tasks = [asyncio.create_task(watch_client()), asyncio.create_task(watch_server())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _is_stopping() -> bool:
    """Asked of uvicorn's server, which has the signals while it runs; `AppStatus` is told later."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return AppStatus.should_exit or (isinstance(server, uvicorn.Server) and server.should_exit)


def _when(gone: anyio.Event) -> Receive:
    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


def _ending(job: jobs.Job, send: Send) -> Send:
    async def send_behind(message: Message) -> None:
        if message["type"] == "http.response.start" and not job.cancelled:
            job.outcome = "ok" if message["status"] < 400 else "error"
        job.end()
        await send(message)

    return send_behind


async def off_the_loop(content: bytes, work: Callable[..., T], *args: Any) -> T:
    """Do `work` on a body; on a large one in a thread, for others are served meanwhile."""
    if len(content) < LARGE_BODY_BYTES:
        return work(*args)
    return await asyncio.to_thread(work, *args)


def replay(content: bytes, rest: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await rest()

    return receive


def with_length(scope: Scope, length: int) -> Scope:
    """For a body that we wrote."""
    ours = (b"content-length", b"content-type", b"transfer-encoding")
    kept = [(name, value) for name, value in scope["headers"] if name not in ours]
    said = [(b"content-length", b"%d" % length), (b"content-type", b"application/json")]
    return {**scope, "headers": [*kept, *said]}


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body; ConnectionResetError if the client left before its end."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    content = bytearray()
    more = True
    while more:
        if len(content) > MAX_BODY_BYTES or (length.isdigit() and int(length) > MAX_BODY_BYTES):
            raise Refused(413, f"The body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB.")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        content += message.get("body", b"")
        more = message.get("more_body", False)
    if len(content) > MAX_BODY_BYTES:
        raise Refused(413, f"The body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB.")
    return bytes(content)
