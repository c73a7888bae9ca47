"""A request for several answers: as many requests, each with its own place in the queue, answered as one.

So they are computed at once where there are lanes, and others come in between. One more than are served is in
the queue: it keeps the place for those behind it, so that a server that drains sees work until the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from llamachat.engine.publisher import BETWEEN_EVENTS

Serve = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]
"""Serves the request of one answer, given its body."""


@dataclass(frozen=True)
class Several:
    """The bodies of a request for several answers, `best_of` for each prompt, of which `n` are kept."""

    bodies: Sequence[dict[str, Any]]
    n: int
    best_of: int
    streams: bool
    has_logprobs: bool

    def best(self, choices: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Those whose tokens are likeliest in the mean; as they came where none is left out."""
        if len(choices) == self.n:
            return choices
        found = sorted(choices, key=_mean_logprob, reverse=True)[: self.n]
        return found if self.has_logprobs else [{**choice, "logprobs": None} for choice in found]


def of(body: Mapping[str, Any]) -> Several:
    """A checked body as those for one answer each, in which `tokens` is a prompt that is not a text."""
    n = body["n"]
    best_of = body.get("best_of", n)
    shared = {name: value for name, value in body.items() if name not in ("prompts", "n", "best_of")}
    if best_of > n:
        shared.setdefault("logprobs", 0)
    bodies: list[dict[str, Any]] = []
    for prompt in body.get("prompts", [None]):
        asked = {} if prompt is None else {"prompt" if isinstance(prompt, str) else "tokens": prompt}
        for _ in range(best_of):
            bodies.append({**shared, **asked, "seed": body["seed"] + len(bodies)})
    return Several(bodies, n, best_of, body["stream"], "logprobs" in body)


def _mean_logprob(choice: Mapping[str, Any]) -> float:
    found: list[float] = choice["logprobs"]["token_logprobs"]
    return sum(found) / max(len(found), 1)


async def serve(
    several: Several, serve_one: Serve, lanes: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """The first answer that fails ends them all."""
    over = asyncio.Event()
    places = asyncio.Semaphore(lanes + 1)
    merged = _Merged(several, scope, send)

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        over.set()

    async def hang_up() -> Message:
        await over.wait()
        return {"type": "http.disconnect"}

    async def run(index: int, body: Mapping[str, Any]) -> None:
        async with places:
            if over.is_set():
                return
            try:
                await serve_one(body, hang_up, lambda message: merged.take(index, message))
            finally:
                if merged.failed:
                    over.set()

    watching = asyncio.create_task(watch())
    try:
        await asyncio.gather(*(run(index, body) for index, body in enumerate(several.bodies)))
        if merged.failed or not over.is_set():
            await merged.finish()
    finally:
        over.set()
        watching.cancel()


@dataclass
class _Answer:
    start: Message | None = None
    content: bytearray = field(default_factory=bytearray)


class _Merged:
    """The answers of all, whole or as one stream of events, in OpenAI's form."""

    def __init__(self, several: Several, scope: Scope, send: Send) -> None:
        self.failed = False
        self._several, self._scope, self._send = several, scope, send
        self._answers = [_Answer() for _ in several.bodies]
        self._failure: _Answer | None = None
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._has_begun = False

    async def take(self, index: int, message: Message) -> None:
        """What is sent for the answer `index`."""
        answer = self._answers[index]
        if message["type"] == "http.response.start":
            answer.start = message
            if message["status"] != 200:
                self.failed, self._failure = True, self._failure or answer
            elif self._several.streams and not self._has_begun:
                self._has_begun = True
                await self._send(message)
        elif message["type"] == "http.response.body":
            answer.content += message.get("body", b"")
            if self._several.streams and answer is not self._failure:
                await self._pass_on(index, answer)

    async def _pass_on(self, index: int, answer: _Answer) -> None:
        *events, rest = BETWEEN_EVENTS.split(bytes(answer.content))
        answer.content = bytearray(rest)
        passed = b"".join(self._event(index, event) for event in events)
        if passed:
            await self._send({"type": "http.response.body", "body": passed, "more_body": True})

    def _event(self, index: int, event: bytes) -> bytes:
        if self.failed:  # what is told of the others, which end because of it
            return b""
        if not event.startswith(b"data: {"):
            return event + b"\n\n" if event.startswith(b":") else b""
        chunk = json.loads(event.removeprefix(b"data: "))
        if "error" in chunk:
            self.failed = True
        elif "usage" in chunk:
            self._add_usage(index, chunk["usage"])
            return b""
        else:
            self._head = self._head or {name: chunk[name] for name in ("id", "object", "created", "model")}
            chunk |= self._head
            for choice in chunk["choices"]:
                choice["index"] = index
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _add_usage(self, index: int, usage: Mapping[str, Any]) -> None:
        """Prompts count once, however many answers they got."""
        if index % self._several.best_of:
            own = {name: value for name, value in usage.items() if name.startswith("completion_")}
            usage = {**own, "total_tokens": own["completion_tokens"]}
        self._usage = _added(self._usage, usage)

    async def finish(self) -> None:
        if self._several.streams and self._has_begun:
            await self._send({"type": "http.response.body", "body": self._last_events()})
        elif self._failure is not None and self._failure.start is not None:
            await self._send(self._failure.start)
            await self._send({"type": "http.response.body", "body": bytes(self._failure.content)})
        else:
            await JSONResponse(self._whole())(self._scope, _never, self._send)

    def _last_events(self) -> bytes:
        if self._failure is not None:  # else the error was an event
            return b"data: " + bytes(self._failure.content) + b"\n\n"
        if self.failed:
            return b""
        usage = {**self._head, "choices": [], "usage": self._usage}
        told = b"data: " + json.dumps(usage).encode() + b"\n\n" if self._usage else b""
        return told + b"data: [DONE]\n\n"

    def _whole(self) -> dict[str, Any]:
        replies = [json.loads(answer.content) for answer in self._answers]
        for index, reply in enumerate(replies):
            self._add_usage(index, reply["usage"])
        choices = [reply["choices"][0] for reply in replies]
        kept = [
            choice
            for first in range(0, len(choices), self._several.best_of)
            for choice in self._several.best(choices[first : first + self._several.best_of])
        ]
        for index, choice in enumerate(kept):
            choice["index"] = index
        return {**replies[0], "choices": kept, "usage": self._usage}


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of figures of one name, also within objects."""
    summed = dict(one)
    for name, value in other.items():
        nested = isinstance(value, dict)
        summed[name] = _added(one.get(name, {}), value) if nested else one.get(name, 0) + value
    return summed


async def _never() -> Message:
    raise NotImplementedError
