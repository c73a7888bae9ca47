"""The one change of llama_cpp.server's app: who may use it, how requests are queued, what can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llama_cpp.server.app as server
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from llamachat import __version__
from llamachat.core.engine_options import EngineOptions
from llamachat.core.hosts import own_names
from llamachat.engine import endpoints, parent, responses_route, routes, surface
from llamachat.engine.access import LOOPBACK_ORIGIN, AccessMiddleware, Rules
from llamachat.engine.body_limits import Limits
from llamachat.engine.metrics import Metrics
from llamachat.engine.middleware import RequestMiddleware
from llamachat.engine.request_body import KINDS
from llamachat.engine.request_queue import RequestQueue
from llamachat.engine.response_store import ResponseStore
from llamachat.engine.responses_route import ResponsesMiddleware
from llamachat.errors import ServerError

PING_SECONDS = 1


def changing(create_app: Callable[..., FastAPI], options: EngineOptions) -> Callable[..., FastAPI]:
    """What takes the place of `llama_cpp.server.app.create_app`."""

    def create_changed_app(*args: Any, **kwargs: Any) -> FastAPI:
        app = create_app(*args, **kwargs)
        change(app, options)
        return app

    return create_changed_app


def change(app: FastAPI, options: EngineOptions) -> None:
    """Middleware added later is passed earlier: access, CORS, responses, the queue."""
    routes.free_of_the_lock(app)
    routes.stop_at_the_end(app)
    embedder = routes.embedder_of(options)
    routes.add_routes(app, options, embedder)
    engine = routes.the_engine()
    limits = Limits(engine.n_ctx(), engine.n_vocab(), lambda: engine.longest_token)
    n_lanes = len(engine.lanes.views)
    app.state.queue = queue = RequestQueue(options.max_queue, parent.draining.is_set, n_lanes)
    app.state.metrics = metrics = Metrics(__version__, options.model_name, options.restarts)
    routes.add_gauges(app, metrics)
    # A gateway may notice that a client left only when it has something to send it.
    EventSourceResponse.DEFAULT_PING_INTERVAL = PING_SECONDS
    # Else sse-starlette cuts every stream at the signal, mostly before it can tell why it ends.
    AppStatus.enable_automatic_graceful_drain = False
    model, store = routes.model_name(options), ResponseStore()
    served = {model: engine.model_path}
    if embedder is not None:
        served.setdefault(embedder.name, embedder.llama.model_path)
    endpoints.add_models(app, [endpoints.ServedModel(name, path) for name, path in served.items()])
    responses_route.add_routes(app, store)
    app.add_middleware(
        RequestMiddleware,
        queue=queue,
        metrics=metrics,
        limits=limits,
        engine=engine,
        model=model,
        chats=options.chats,
    )
    app.add_middleware(ResponsesMiddleware, store=store, model=model, n_ctx=engine.n_ctx())
    app.add_exception_handler(HTTPException, endpoints.answer_unknown)
    app.user_middleware[:] = [row for row in app.user_middleware if not _is_cors(row)]
    app.add_middleware(
        CORSMiddleware,
        allow_origins=options.cors_origins,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("*",),
    )
    api_key = next(server.get_server_settings()).api_key  # type: ignore[no-untyped-call]
    app.add_middleware(
        AccessMiddleware, rules=Rules(options.host, options.cors_origins, api_key, own_names())
    )


def _is_cors(row: Any) -> bool:
    return row.cls is CORSMiddleware


def check_routes(router: APIRouter) -> None:
    """Raise ServerError on a POST route that is not in `KINDS`: unqueued, it could compute beside another."""
    posts = {
        route.path
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    }
    if unknown := sorted(posts - set(KINDS)):
        raise ServerError(
            f"This version of llama-cpp-python has POST {unknown[0]}, which the engine can't queue.",
            surface.HINT,
        )
