"""`/v1/responses` in front of `/v1/chat/completions`: the same queue, tools and schemas, in other words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamachat.engine import responses
from llamachat.engine.failures import Refused, answer
from llamachat.engine.middleware import off_the_loop, read_body, replay, with_length
from llamachat.engine.publisher import BETWEEN_EVENTS
from llamachat.engine.request_body import parsed
from llamachat.engine.response_events import Event, ResponseWriter, new_response
from llamachat.engine.response_store import ResponseStore

PATH, CHAT, COUNT = "/v1/responses", "/v1/chat/completions", "/extras/chat/tokenize/count"


@dataclass(frozen=True)
class ResponsesMiddleware:
    app: ASGIApp
    store: ResponseStore
    model: str
    n_ctx: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if path != PATH or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        try:
            content = await read_body(scope, receive)
            body = await off_the_loop(content, parsed, content)
            items = responses.input_items(body)
            chat = responses.chat_body(body, [*self._earlier(body.get("previous_response_id")), *items])
            if body.get("truncation") == "auto":
                await self._shorten(chat, scope)
        except Refused as error:
            return await answer(error)(scope, receive, send)
        except ConnectionResetError:
            return None
        writer = ResponseWriter(new_response(body, body.get("model") or self.model))
        store = self.store if body.get("store") is not False else None
        content = json.dumps(chat).encode()
        await self.app(
            _at(scope, CHAT, content), replay(content, receive), _Translation(send, writer, items, store).send
        )
        return None

    def _earlier(self, name: Any) -> list[dict[str, Any]]:
        if name is None:
            return []
        try:
            return self.store.conversation(name)
        except (KeyError, TypeError) as error:
            message = f"Previous response with id {name!r} not found. {what_is_kept(self.store)}"
            raise Refused(
                400, message, param="previous_response_id", code="previous_response_not_found"
            ) from error

    async def _shorten(self, chat: dict[str, Any], scope: Scope) -> None:
        """Leave out the first turns of a conversation that doesn't fit with its answer."""
        wanted = chat.get("max_tokens")
        room = self.n_ctx - min(wanted if isinstance(wanted, int) else self.n_ctx // 4, self.n_ctx // 2)
        messages = chat["messages"]
        head = next((at for at, m in enumerate(messages) if m["role"] not in ("system", "developer")), 0)
        begins = [0, *(at for at, m in enumerate(messages) if m["role"] == "user" and at > head)]
        low, high = 0, len(begins) - 1
        while low < high:
            middle = (low + high) // 2
            chat["messages"] = [*messages[:head], *messages[max(begins[middle], head) :]]
            if await self._count(chat, scope) <= room:
                high = middle
            else:
                low = middle + 1
        chat["messages"] = [*messages[:head], *messages[max(begins[low], head) :]]

    async def _count(self, chat: Mapping[str, Any], scope: Scope) -> int:
        content = json.dumps({**chat, "stream": False}).encode()
        reply = _Collected()
        await self.app(_at(scope, COUNT, content), replay(content, _never), reply.send)
        if reply.status != 200:  # the chat will say why
            return 0
        return int(json.loads(reply.body)["count"])


async def _never() -> Message:
    return {"type": "http.disconnect"}


def _at(scope: Scope, path: str, content: bytes) -> Scope:
    root = scope.get("root_path", "")
    at = {"path": root + path, "raw_path": (root + path).encode()}
    return with_length({**scope, **at}, len(content))


@dataclass
class _Collected:
    status: int = 0
    body: bytes = b""

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")


@dataclass
class _Translation:
    """Takes what the chat sends, and sends it on as a response.

    A stream's head is held until its first event: what is refused at once has the status of an error.
    """

    to: Send
    writer: ResponseWriter
    items: list[dict[str, Any]]
    store: ResponseStore | None
    head: Message = field(default_factory=dict)
    has_begun: bool = False
    is_over: bool = False
    waiting: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.head = message
            return
        self.waiting += message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self.is_stream:
            await self._stream(is_last)
        elif is_last:
            await self._whole()

    @property
    def is_stream(self) -> bool:
        kind = next((v for name, v in self.head["headers"] if name == b"content-type"), b"")
        return bool(kind.startswith(b"text/event-stream"))

    async def _whole(self) -> None:
        value = json.loads(self.waiting)
        if self.head["status"] == 200:
            self.writer.completion(value)
            self._keep()
            value = self.writer.response
        elif isinstance(value.get("error"), dict):
            value = {**value, "error": responses.error_of_chat(value["error"])}
        await self._reply(self.head["status"], value)

    async def _reply(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        await self.to(with_length({**self.head, "status": status}, len(content)))
        await self.to({"type": "http.response.body", "body": content})

    async def _stream(self, is_last: bool) -> None:
        *events, self.waiting = BETWEEN_EVENTS.split(self.waiting)
        out = b""
        for event in events:
            if self.is_over:
                return
            out += await self._translated(event)
        if self.has_begun and not self.is_over and (out or is_last):
            self.is_over = is_last
            await self.to({"type": "http.response.body", "body": out, "more_body": not is_last})

    async def _translated(self, event: bytes) -> bytes:
        """What becomes of an event of the chat, behind the response's own begin."""
        is_data = event.startswith(b"data: ")
        if event == b"data: [DONE]":
            events = self.writer.finish()
            self._keep()
            return await self._begun() + _encoded(events)
        value = json.loads(event.removeprefix(b"data: ")) if is_data else {}
        if "error" in value:
            error = responses.error_of_chat(value["error"])
            if not self.has_begun:
                self.is_over = True
                await self._reply(500 if error.get("type") == "server_error" else 400, {"error": error})
                return b""
            return _encoded(self.writer.fail(error))
        begin = await self._begun()
        events = self.writer.chunk(value)
        # A comment for all else, pings and the place in the queue: a gateway notices that a client left only
        # when something is sent.
        return begin + (_encoded(events) or b": waiting\n\n" * (not is_data or "queue" in value))

    async def _begun(self) -> bytes:
        if self.has_begun:
            return b""
        self.has_begun = True
        await self.to(self.head)
        return _encoded(self.writer.begin())

    def _keep(self) -> None:
        if self.store is not None:
            self.store.put(self.writer.response, self.items)


def _encoded(events: Iterable[Event]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def add_routes(app: FastAPI, store: ResponseStore) -> None:
    """What can be asked about the responses that are kept."""

    async def retrieve(request: Request) -> JSONResponse:
        return JSONResponse(_kept(store, request))

    async def input_items(request: Request) -> JSONResponse:
        _kept(store, request)
        items = store.input_of(request.path_params["name"])
        if request.query_params.get("order", "desc") == "desc":
            items.reverse()
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
        return JSONResponse({"object": "list", "data": items, "has_more": False, **ends})

    async def delete(request: Request) -> JSONResponse:
        name = _kept(store, request)["id"]
        store.delete(name)
        return JSONResponse({"id": name, "object": "response", "deleted": True})

    for path, method, route in (
        ("/v1/responses/{name}", "GET", retrieve),
        ("/v1/responses/{name}/input_items", "GET", input_items),
        ("/v1/responses/{name}", "DELETE", delete),
    ):
        app.add_api_route(path, route, methods=[method], tags=["OpenAI V1"], response_model=None)


def _kept(store: ResponseStore, request: Request) -> dict[str, Any]:
    name = request.path_params["name"]
    try:
        return store.response(name)
    except KeyError as error:
        message = f"Response with id {name!r} not found. {what_is_kept(store)}"
        raise Refused(404, message, param="response_id") from error


def what_is_kept(store: ResponseStore) -> str:
    return f"The last {store.max_responses} are kept until the server stops, except with `store: false`."
