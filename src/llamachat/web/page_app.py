"""The page's server: static files, and the calls that the page makes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from llamachat.client import ServerFacts
from llamachat.core.presets import Lang
from llamachat.errors import (
    AuthError,
    ConversationBusy,
    ConversationChanged,
    LlamachatError,
    NotFoundError,
    ServerError,
    StoreError,
    UsageError,
)
from llamachat.language import _
from llamachat.web.library import Conversations
from llamachat.web.page_access import Access

RETRY_MILLISECONDS = 500
"""A tab that lost its connection tries again after so long; by itself, Chromium would wait three seconds."""
STATIC = Path(__file__).parent / "static"
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class PageTemplate:
    """A prompt to begin with; `{input}` in `text` is where what was typed goes."""

    name: str
    about: str
    text: str


class Turn(BaseModel):
    model_config = ConfigDict(strict=True)

    action: Literal["ask", "edit", "retry", "continue"]
    text: str | None = None
    head: int | None = None
    node: int | None = None


class Changes(BaseModel):
    """Of a conversation; only what is given changes."""

    model_config = ConfigDict(strict=True)

    name: str = ""
    on_top: bool = False
    head: int | None = None
    pin: int = 0
    unpin: int = 0
    undo: bool = False
    system: str = ""
    set: dict[str, str | float | bool | None] | None = None
    detach: bool = False


class Page:
    """The routes. What blocks (the store, the model server) runs in a thread."""

    def __init__(
        self,
        conversations: Conversations,
        facts: Callable[[], ServerFacts],
        templates: Callable[[Lang], Sequence[PageTemplate]],
        *,
        key: str,
        cookie: str,
    ) -> None:
        self._conversations, self._facts, self._templates = conversations, facts, templates
        self._key, self._cookie = key, cookie

    def app(self, host: str) -> Access:
        one = "/api/conversations/{key}"
        routes = [
            Route("/", self.index),
            Route("/c/{key}", self.index),
            Route("/api/sign-in", self.sign_in, methods=["POST"]),
            Route("/api/about", self.about),
            Route("/api/templates", self.templates),
            Route("/api/import", self.import_file, methods=["POST"]),
            Route("/api/conversations", self.list, methods=["GET"]),
            Route("/api/conversations", self.create, methods=["POST"]),
            Route(one, self.load, methods=["GET"]),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.remove, methods=["DELETE"]),
            Route(f"{one}/turns", self.turn, methods=["POST"]),
            Route(f"{one}/stop", self.stop, methods=["POST"]),
            Route(f"{one}/files", self.attach, methods=["POST"]),
            Route(f"{one}/export", self.export),
            Route(f"{one}/events", self.events),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        app = Starlette(routes=routes, exception_handlers={LlamachatError: _refuse})
        return Access(app, host=host, key=self._key, cookie=self._cookie)

    async def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def sign_in(self, request: Request) -> Response:
        token = str((await _body(request)).get("token", ""))
        if not Access(_nothing, host="", key=self._key, cookie="").is_key(token):
            return JSONResponse({"error": "This is not the key of this address."}, 401)
        response = JSONResponse({})
        secure = request.url.scheme == "https"
        response.set_cookie(self._cookie, token, httponly=True, samesite="strict", secure=secure, path="/")
        return response

    async def about(self, request: Request) -> Response:
        try:
            said = await asyncio.to_thread(self._facts)
        except LlamachatError as error:
            return JSONResponse({"model": None, "error": str(error)})
        return JSONResponse({"model": said.model, "n_ctx": said.n_ctx})

    async def templates(self, request: Request) -> Response:
        lang: Lang = "zh" if request.query_params.get("lang") == "zh" else "en"
        found = await asyncio.to_thread(self._templates, lang)
        return JSONResponse([asdict(template) for template in found])

    async def list(self, request: Request) -> Response:
        query = request.query_params.get("query", "")
        return JSONResponse(await asyncio.to_thread(self._conversations.found, query))

    async def create(self, request: Request) -> Response:
        return JSONResponse({"key": await asyncio.to_thread(self._conversations.create)})

    async def load(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._view, request.path_params["key"]))

    def _view(self, key: str) -> Mapping[str, Any]:
        self._conversations.look(key)
        conversation = self._conversations.get(key)
        stored, title = self._conversations.title(conversation)
        return {**conversation.view(), "key": stored or key, "title": title}

    async def change(self, request: Request) -> Response:
        changes = await _read(Changes, request)
        await asyncio.to_thread(
            self._change, request.path_params["key"], changes.model_dump(exclude_unset=True)
        )
        return JSONResponse({})

    def _change(self, key: str, changes: Mapping[str, Any]) -> None:
        if "name" in changes:
            self._conversations.rename(key, changes["name"])
        if "on_top" in changes:
            self._conversations.pin(key, changes["on_top"])
        if changes.keys() - {"name", "on_top"}:
            self._conversations.get(key).change(changes)

    async def remove(self, request: Request) -> Response:
        await asyncio.to_thread(self._conversations.remove, request.path_params["key"])
        return JSONResponse({})

    async def turn(self, request: Request) -> Response:
        wanted = await _read(Turn, request)
        await asyncio.to_thread(self._turn, request.path_params["key"], wanted)
        return JSONResponse({}, 202)

    def _turn(self, key: str, wanted: Turn) -> None:
        self._conversations.get(key).start(wanted.action, wanted.text or "", wanted.head, wanted.node)

    async def stop(self, request: Request) -> Response:
        conversation = await asyncio.to_thread(self._conversations.get, request.path_params["key"])
        conversation.stop()
        return JSONResponse({})

    async def attach(self, request: Request) -> Response:
        wanted = await _body(request)
        await asyncio.to_thread(self._attach, request.path_params["key"], wanted)
        return JSONResponse({})

    def _attach(self, key: str, wanted: Mapping[str, Any]) -> None:
        name = Path(str(wanted.get("name") or "file")).name
        try:
            data = base64.b64decode(str(wanted.get("data") or ""), validate=True)
        except binascii.Error as error:
            raise UsageError(_("{name} did not arrive whole.").format(name=name), _("Try again.")) from error
        self._conversations.get(key).attach(name, data)

    async def export(self, request: Request) -> Response:
        key, form = request.path_params["key"], request.query_params.get("format", "markdown")
        text = await asyncio.to_thread(self._conversations.exported, key, form)
        ending = {"json": "json", "jsonl": "jsonl"}.get(form, "md")
        disposition = f'attachment; filename="conversation-{key}.{ending}"'
        return PlainTextResponse(text, headers={"Content-Disposition": disposition})

    async def import_file(self, request: Request) -> Response:
        text = str((await _body(request)).get("text", ""))
        return JSONResponse({"keys": await asyncio.to_thread(self._conversations.imported, text)})

    async def events(self, request: Request) -> Response:
        key = request.path_params["key"]
        conversation = await asyncio.to_thread(self._conversations.get, key)
        last = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
        after = int(last) if last.isdecimal() else 0

        async def pour() -> AsyncIterator[ServerSentEvent]:
            yield ServerSentEvent(retry=RETRY_MILLISECONDS)
            async for news in conversation.events.read(after):
                if news is None:
                    try:
                        await asyncio.to_thread(self._conversations.look, key)
                    except NotFoundError:
                        return  # deleted by another tab or program
                    except LlamachatError:
                        pass  # the file is in use: next time
                    continue
                place, event = news
                yield ServerSentEvent(json.dumps(event, ensure_ascii=False), id=str(place))

        return EventSourceResponse(pour(), ping=15, headers={"Cache-Control": "no-store"})


async def _read(kind: type[Body], request: Request) -> Body:
    try:
        return kind.model_validate(await _body(request))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(_("This value can't be used: {name}.").format(name=where)) from error


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        raw = await request.body()
        value = json.loads(raw)
        if b"\\u" in raw:  # it may hold half of a surrogate pair, which could not be sent on or stored
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UsageError(_("This is not valid JSON.")) from error
    if not isinstance(value, dict):
        raise UsageError(_("The request body must be a JSON object."))
    return value


_STATUS: tuple[tuple[type[LlamachatError], int], ...] = (
    (ConversationBusy, 409),
    (ConversationChanged, 409),
    (NotFoundError, 404),
    (UsageError, 400),
    (AuthError, 502),
    (ServerError, 502),
    (StoreError, 507),
)


async def _refuse(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status)


async def _nothing(*_: Any) -> None: ...
