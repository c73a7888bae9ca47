"""What the server knows can be asked while the model is busy.

In the library, `GET /v1/models` and the token counters wait for the model's lock, and by default end the
running reply (abetlen/llama-cpp-python #867); n_ctx can't be asked at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import llama_cpp
import llama_cpp.server.app as server
import llama_cpp.server.types as types
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.body_limits import check_ids
from llamachat.engine.embeddings import Embedder, open_model
from llamachat.engine.engine import Engine
from llamachat.engine.failures import Refused
from llamachat.engine.metrics import Metrics
from llamachat.engine.request_queue import RequestQueue

FOR_THE_TEMPLATE = ("messages", "functions", "function_call", "tools", "tool_choice", "allowed_tools")


def free_of_the_lock(app: FastAPI) -> None:
    """Nobody takes the model's lock: the engine serves several at once, and the queue says how many."""
    stock = server.get_llama_proxy

    async def get_llama_proxy() -> AsyncIterator[Any]:
        yield server._llama_proxy

    app.dependency_overrides[stock] = get_llama_proxy
    setattr(server, "get_llama_proxy", get_llama_proxy)  # noqa: B010


def stop_at_the_end(app: FastAPI) -> None:
    stock_lifespan = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with stock_lifespan(app) as state:
            yield state
        the_engine().compiler.close()
        the_engine().save()

    app.router.lifespan_context = lifespan


def add_routes(app: FastAPI, options: EngineOptions, embedder: Embedder | None) -> None:
    async def health(request: Request) -> dict[str, Any]:
        queue, model = request.app.state.queue, _model(the_engine(), options)
        if request.state.stranger:
            model["model_path"] = None
        place = {"busy": queue.busy, "lanes": queue.lanes, "lanes_busy": queue.served, "queue": queue.waiting}
        return {
            "status": "ok",
            "state": _state(request.app),
            **model,
            **place,
            **the_engine().thread_count.facts(),
            "one_lane": the_engine().one_lane or None,
        }

    async def ready(request: Request) -> JSONResponse:
        state = _state(request.app)
        return JSONResponse({"state": state}, 503 if state in ("loading", "draining") else 200)

    async def metrics(request: Request) -> Response:
        return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def count(request: Request) -> dict[str, int]:
        body = await request.json()
        wanted = {name: body[name] for name in FOR_THE_TEMPLATE if name in body}
        wanted["continue_final_message"] = body.get("continue_final_message") is True
        return {"count": await run_in_threadpool(the_engine().count_chat, **wanted)}

    async def tokenize(request: Request) -> dict[str, Any]:
        """The library's own lets everybody wait for a large text."""
        text = types.TokenizeInputRequest.model_validate(await request.json()).input
        tokens = await run_in_threadpool(the_engine().tokenize, text.encode(), special=True)
        return {"count": len(tokens)} if request.url.path.endswith("/count") else {"tokens": tokens}

    async def detokenize(request: Request) -> dict[str, str]:
        """The library's own dies of a number that is not a token, and answers half a character with a 500."""
        tokens = types.DetokenizeInputRequest.model_validate(await request.json()).tokens
        engine = the_engine()
        check_ids(tokens, engine.n_vocab(), "tokens")
        return {"text": engine.detokenize(tokens).decode(errors="replace")}

    async def embed(request: Request) -> Response:
        if embedder is None:
            raise Refused(400, "This server makes no embeddings; start it with `--embeddings MODEL`.")
        content = await run_in_threadpool(embedder.answer, await request.json())
        return Response(content, media_type="application/json")

    for path, endpoint in (
        ("/v1/chat/completions", server.create_chat_completion),
        ("/v1/completions", server.create_completion),
    ):
        # The library's own leave out what its types don't know, such as what was thought.
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            dependencies=[Depends(server.authenticate)],
            response_model=None,
            include_in_schema=False,
        )
        app.router.routes.insert(0, app.router.routes.pop())  # before the library's own, which is described
    app.add_api_route("/health", health, summary="Health", tags=["Extras"])
    app.add_api_route("/health/ready", ready, summary="Whether to send requests here", tags=["Extras"])
    app.add_api_route("/metrics", metrics, summary="Prometheus", tags=["Extras"])
    post = partial(
        app.add_api_route, methods=["POST"], tags=["Extras"], dependencies=[Depends(server.authenticate)]
    )
    post("/extras/chat/tokenize/count", count, summary="Count the tokens of a message list")
    for path, replaced in (
        ("/extras/tokenize", tokenize),
        ("/extras/tokenize/count", tokenize),
        ("/extras/detokenize", detokenize),
        ("/v1/embeddings", embed),
    ):
        post(path, replaced, include_in_schema=False)
        app.router.routes.insert(0, app.router.routes.pop())  # before the library's own, which is described


def _state(app: FastAPI) -> str:
    """What a gateway wants to know; loading lasts until the first answer, which the launcher asks for."""
    queue: RequestQueue = app.state.queue
    if queue.closed:
        return "draining"
    if not app.state.metrics.answered:
        return "loading"
    return "busy" if queue.served == queue.lanes else "ready"


def add_gauges(app: FastAPI, metrics: Metrics) -> None:
    queue: RequestQueue = app.state.queue
    lanes = the_engine().lanes
    metrics.gauge("lanes", "Requests that are served at a time", lambda: queue.lanes)
    metrics.gauge("lanes_busy", "Requests that are being served", lambda: queue.served)
    metrics.gauge("queue_length", "Requests that wait", lambda: queue.waiting)
    metrics.gauge(
        "kv_cells", "Tokens that the context holds at most", lambda: sum(v.n_ctx() for v in lanes.views)
    )
    metrics.gauge(
        "kv_cells_used", "Tokens that the context holds", lambda: sum(v.n_tokens for v in lanes.views)
    )
    count = the_engine().thread_count
    metrics.gauge("threads", "Threads that write", lambda: count.n_threads)
    metrics.gauge("others_busy_cores", "Cores that other programs use", count.load.others)
    metrics.gauge("kv_parked_bytes", "Memory of parked conversations", lambda: lanes.kv.parked_bytes)


def embedder_of(options: EngineOptions) -> Embedder | None:
    """The model that makes embeddings, if there is one."""
    engine = the_engine()
    if options.embeddings is not None:
        model = open_model(options.embeddings, options.embeddings_n_ctx, engine)
        return Embedder(model, options.embeddings_name)
    return Embedder(engine, model_name(options)) if engine.context_params.embeddings else None


def the_engine() -> Engine:
    engine: Engine = server._llama_proxy(None)  # type: ignore[misc,assignment]
    return engine


def model_name(options: EngineOptions) -> str:
    return options.model_name or os.path.basename(the_engine().model_path)


def _model(engine: Engine, options: EngineOptions) -> dict[str, Any]:
    return {
        "model": model_name(options),
        "model_path": engine.model_path,
        "n_ctx": engine.n_ctx(),
        "n_ctx_train": llama_cpp.llama_model_n_ctx_train(engine.model),
        "vision": engine.pictures is not None or engine.chat_handler is not None,
        "bundled": options.bundled,
        "embedded": options.bundled,  # its earlier name
    }
