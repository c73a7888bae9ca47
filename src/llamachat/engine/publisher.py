"""A stream says what happens, in order: queued, reading, text, the end with its figures, or the error.

The library's own ends without a word on any exception, ignores `stream_options` (abetlen/llama-cpp-python
#1082), is ended by a second request (#867) and pulls every token through a thread hop of its own. Here one
thread writes the whole reply, and the event loop sends what has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import llama_cpp.server.app as server
from anyio.streams.memory import MemoryObjectSendStream
from starlette.concurrency import run_in_threadpool

from llamachat.engine import failures, jobs, model_thread

DONE = b"data: [DONE]\n\n"
BETWEEN_EVENTS = re.compile(rb"\r?\n\r?\n")
"""The pings, which the library sends, end their lines in CRLF."""
GATHER_SECONDS = 0.03


async def publish(
    request: Any,
    inner_send_chan: MemoryObjectSendStream[bytes],
    body: Any,
    body_model: str | None,
    llama_call: Callable[..., Any],
    kwargs: dict[str, Any],
) -> None:
    """What `llama_cpp.server` calls to write the events of one stream; its arguments are named there."""
    job = jobs.current.get()
    assert job is not None, "a stream that did not come through the middleware"
    reply = _Reply(job, body, body_model, llama_call, kwargs)
    writing = asyncio.create_task(reply.write())
    try:
        async with inner_send_chan:
            async for events in reply.outbox:
                await inner_send_chan.send(events)
    finally:
        job.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({writing})


class _Outbox:
    """Events on their way from the thread that generates to the event loop, all that have come at a time.

    To carry off one costs the event loop half a millisecond, which a fast model feels: after one went, the
    next ones wait for `GATHER_SECONDS`. A model that takes longer for a token never waits.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._called = self._closed = False
        self._carried = 0.0

    def put(self, event: bytes) -> None:
        """From any thread."""
        self._events.append(event)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        wait = self._carried + GATHER_SECONDS - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._news.set)
        else:
            self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._events or not self._closed:
            await self._news.wait()
            self._news.clear()
            self._called = False  # before the events are taken: what comes from here on calls again
            events = [self._events.popleft() for _ in range(len(self._events))]
            self._carried = self._loop.time()
            if events:
                yield b"".join(events)


class _Reply:
    """One streamed reply: waits in the queue, generates in the model's thread, frees its place."""

    def __init__(
        self,
        job: jobs.Job,
        body: Any,
        body_model: str | None,
        llama_call: Callable[..., Any],
        kwargs: dict[str, Any],
    ) -> None:
        self.outbox = _Outbox()
        self._job, self._body, self._body_model = job, body, body_model
        self._llama_call, self._kwargs = llama_call, kwargs
        chat = hasattr(body, "messages")
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + str(uuid.uuid4()),
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time.time()),
            "model": body_model or "",
        }
        # A client that asked for nothing may rely on a choice in each chunk.
        said: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        self._nothing = [{"index": 0, **said, "logprobs": None, "finish_reason": None}]
        if job.return_progress:
            job.report = lambda progress: self._put({"choices": [], "prompt_progress": progress})

    async def write(self) -> None:
        """Never raises: what goes wrong is an event."""
        end = b""
        try:
            async for position in self._job.ticket.ahead():
                self._put({"choices": self._nothing, "queue": {"position": position}})
            self._job.check()
            async with contextlib.asynccontextmanager(server.get_llama_proxy)() as proxy:
                llama = server.prepare_request_resources(self._body, proxy, self._body_model, self._kwargs)
            self._head["model"] = self._body_model or llama.model_path
            # Templates and grammars are not the model's work: others go on meanwhile.
            chunks = await run_in_threadpool(self._llama_call, llama, **self._kwargs)
            await asyncio.wrap_future(model_thread.submit(self._generate, chunks))
            end = DONE
            self._job.outcome = "ok"
        except Exception as error:  # noqa: BLE001
            self._job.outcome = "cancelled" if self._job.cancelled else "error"
            end = _event({"error": failures.refusal(error).error})
        finally:
            self._job.end()
            self.outbox.put(end)
            self.outbox.close()

    def _generate(self, coming: Any) -> None:
        """Runs in the model's thread."""
        with contextlib.closing(coming) as chunks:
            for chunk in chunks:
                self._job.check()
                ends = chunk["choices"][0]["finish_reason"] is not None
                if ends and not self._job.include_usage:
                    chunk["timings"] = self._finish()
                self._put(chunk)
        if self._job.include_usage:
            timings = self._finish()
            self._put({"choices": [], "usage": self._job.usage(), "timings": timings})

    def _finish(self) -> dict[str, float]:
        self._job.ended = time.monotonic()
        return self._job.timings()

    def _put(self, chunk: dict[str, Any]) -> None:
        self.outbox.put(_event({**chunk, **self._head}))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
