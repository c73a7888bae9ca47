"""Guard: what the server knows can be asked while the model is busy.

Stock, `GET /v1/models` and the token counters wait for the model's lock, and by default end the running reply
(abetlen/llama-cpp-python #867); n_ctx can't be asked at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.concurrency import run_in_threadpool

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks
from llamachat.engine.failures import Refused

FOR_THE_TEMPLATE = ("messages", "functions", "function_call", "tools", "tool_choice")


def install(options: EngineOptions) -> None:
    import llama_cpp.server.app as server

    for name in ("get_llama_proxy", "authenticate", "DetokenizeInputRequest"):
        hooks.require(server, name)

    def change(app: FastAPI) -> None:
        _without_lock(app, server)
        _add_routes(app, server, options)

    hooks.extend_app(change)


def _without_lock(app: FastAPI, server: Any) -> None:
    """Routes that only ask get the proxy without its lock; those that generate stand in line anyway."""
    stock_lifespan = hooks.require(app.router, "lifespan_context")

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with contextlib.asynccontextmanager(server.get_llama_proxy)() as proxy:
            app.state.proxy = proxy
        async with stock_lifespan(app) as state:
            yield state

    async def proxy_without_lock() -> AsyncIterator[Any]:
        yield app.state.proxy

    app.router.lifespan_context = lifespan
    app.dependency_overrides[server.get_llama_proxy] = proxy_without_lock


def _add_routes(app: FastAPI, server: Any, options: EngineOptions) -> None:
    async def health(request: Request) -> dict[str, Any]:
        line, model = request.app.state.line, _model(_llama(request), options)
        if request.state.stranger:
            model["model_path"] = None
        return {"status": "ok", **model, "busy": line.busy, "queue": line.waiting}

    async def count(request: Request) -> dict[str, int]:
        body = await request.json()
        wanted = {name: body[name] for name in FOR_THE_TEMPLATE if name in body}
        wanted["continue_final_message"] = body.get("continue_final_message") is True
        return {"count": await run_in_threadpool(_llama(request).count_chat, **wanted)}

    async def detokenize(request: Request) -> dict[str, str]:
        """Stock, a number that is no token kills the process, and half a character is a 500."""
        tokens = server.DetokenizeInputRequest.model_validate(await request.json()).tokens
        llama = _llama(request)
        if wrong := [token for token in tokens if not 0 <= token < llama.n_vocab()]:
            raise Refused(400, f"tokens: {wrong[0]} is no token of this model.", param="tokens")
        return {"text": llama.detokenize(tokens).decode(errors="replace")}

    app.add_api_route("/health", health, summary="Health", tags=["Extras"])
    post = partial(
        app.add_api_route, methods=["POST"], tags=["Extras"], dependencies=[Depends(server.authenticate)]
    )
    post("/extras/chat/tokenize/count", count, summary="Count the tokens of a message list")
    post("/extras/detokenize", detokenize, include_in_schema=False)
    app.router.routes.insert(0, app.router.routes.pop())  # before the stock one, which is described


def _llama(request: Request) -> Any:
    return request.app.state.proxy(None)


def _model(llama: Any, options: EngineOptions) -> dict[str, Any]:
    import llama_cpp

    return {
        "model": options.model_name or os.path.basename(llama.model_path),
        "model_path": llama.model_path,
        "n_ctx": llama.n_ctx(),
        "n_ctx_train": llama_cpp.llama_model_n_ctx_train(llama.model),
        "bundled": options.bundled,
        "embedded": options.bundled,  # its earlier name
    }
