"""Guard: every request is read whole, checked and put in line before a route of llama_cpp.server sees it.

Stock, what doesn't validate is a 500, which clients try again, a body may be of any size, and a client that
hangs up before its whole reply is there keeps the model to the end, as does a server that is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sse_starlette.sse import AppStatus
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamachat.core import shutdown
from llamachat.core.engine_options import EngineOptions
from llamachat.engine import call as calls
from llamachat.engine import hooks, wishes
from llamachat.engine.failures import Refused, refusal
from llamachat.engine.line import Line

MAX_BODY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Kind:
    """How one path's body is put into the library's words and checked, and whether it needs the model."""

    translate: Callable[[Mapping[str, Any]], dict[str, Any]]
    model: type[BaseModel]
    needs_model: bool = False


def kinds() -> dict[str, Kind]:
    from llama_cpp.server import types

    chat, text = types.CreateChatCompletionRequest, types.CreateCompletionRequest
    return {
        "/v1/chat/completions": Kind(wishes.chat, chat, needs_model=True),
        "/v1/completions": Kind(wishes.completion, text, needs_model=True),
        "/v1/engines/copilot-codex/completions": Kind(wishes.completion, text, needs_model=True),
        "/v1/embeddings": Kind(dict, types.CreateEmbeddingRequest, needs_model=True),
        "/extras/chat/tokenize/count": Kind(wishes.chat, chat),
        "/extras/tokenize": Kind(dict, types.TokenizeInputRequest),
        "/extras/tokenize/count": Kind(dict, types.TokenizeInputRequest),
        "/extras/detokenize": Kind(dict, types.DetokenizeInputRequest),
    }


class Requests:
    """ASGI middleware; the only reader of bodies, and the one that notices a client's leaving."""

    def __init__(self, app: ASGIApp, line: Line, kinds: Mapping[str, Kind]) -> None:
        self._app, self._line, self._kinds = app, line, kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        kind = self._kinds.get(scope["path"].removeprefix(scope.get("root_path", "")))
        try:
            content = await read_body(scope, receive)
            body = checked(content, kind) if kind else {}
            content = encoded(body) if kind else content
        except Refused as error:
            return await answer(error)(scope, receive, send)
        except ConnectionResetError:
            return None
        if kind is None:
            return await self._app(scope, _replay(content, receive), send)
        scope = {**scope, "headers": _with_length(scope["headers"], len(content))}
        if not kind.needs_model:
            return await self._app(scope, _replay(content, receive), send)
        return await self._serve(body, content, scope, receive, send)

    async def _serve(
        self, body: dict[str, Any], content: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Queue, and free the model when the client leaves. A stream waits in its publisher and says so."""
        options = body.get("stream_options")
        call = calls.Call(
            self._line.join(),
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
            return_progress=body.get("return_progress") is True,
            continue_final_message=body.get("continue_final_message") is True,
        )
        calls.current.set(call)
        gone = anyio.Event()
        with _watching(receive, call, gone):
            try:
                if not body["stream"]:
                    async for _ in call.ticket.ahead():
                        pass
                    call.check()
                    send = _leaving_first(call, send)
                await self._app(scope, _replay(content, _leaving(gone)), send)
            except calls.Cancelled as error:
                await answer(refusal(error))(scope, receive, send)
            finally:
                call.ticket.leave()


@contextlib.contextmanager
def _watching(receive: Receive, call: calls.Call, gone: anyio.Event) -> Iterator[None]:
    """Cancel the call when its client leaves or the server is told to stop, which else would wait for it."""

    async def watch_client() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        call.cancel()

    async def watch_server() -> None:
        while not _is_stopping():
            await asyncio.sleep(shutdown.POLL)
        call.cancel()
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
    return AppStatus.should_exit or bool(getattr(server, "should_exit", False))


def _leaving(gone: anyio.Event) -> Receive:
    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


def _leaving_first(call: calls.Call, send: Send) -> Send:
    """Free the place before a whole reply goes out: who has read it finds nobody in line."""

    async def send_behind(message: Message) -> None:
        call.ticket.leave()
        await send(message)

    return send_behind


def _replay(content: bytes, rest: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await rest()

    return receive


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    ours = (b"content-length", b"content-type", b"transfer-encoding")
    kept = [(name, value) for name, value in headers if name not in ours]
    return [*kept, (b"content-length", b"%d" % length), (b"content-type", b"application/json")]


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body; ConnectionResetError where the client left before its end."""
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


def checked(content: bytes, kind: Kind) -> dict[str, Any]:
    """The body in the library's words, checked against the library's own model of it."""
    try:
        body = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.")
    wanted = kind.translate(body)
    try:
        valid = kind.model.model_validate(wanted)
    except ValidationError as error:
        raise _invalid(error) from error
    # As the library takes it: 1 and "yes" are true, and embeddings don't stream.
    return {**wanted, "stream": getattr(valid, "stream", False)}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in it")


def encoded(body: dict[str, Any]) -> bytes:
    """As JSON in UTF-8, which half of a surrogate pair can't become, in an answer neither."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Refused(400, "The body has halves of surrogate pairs, which are no text.") from error
    except RecursionError as error:
        raise Refused(400, f"The body is nested too deeply: {error}") from error


def _invalid(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    return Refused(400, f"{param}: {first['msg']}", param=param)


def answer(error: HTTPException) -> JSONResponse:
    value = error.error if isinstance(error, Refused) else Refused(error.status_code, str(error.detail)).error
    return JSONResponse({"error": value}, error.status_code, error.headers)


def install(options: EngineOptions) -> None:
    table = kinds()
    # Else sse-starlette cuts every stream at the signal, mostly before it can tell why it ends.
    AppStatus.enable_automatic_graceful_drain = False

    def change(app: Any) -> None:
        app.state.line = line = Line()
        app.add_middleware(Requests, line=line, kinds=table)
        app.add_exception_handler(HTTPException, lambda _, error: answer(error))

    hooks.extend_app(change)
