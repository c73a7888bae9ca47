"""Ray Serve: `serve run llamachat.ray:app model=llama3 replicas=4 n_ctx=8192`.

A replica supervises its own engine, which ends with it, and passes requests through. Ray routes by
`X-Session-ID`, places replicas, and starts them again.
"""

# Without `from __future__ import annotations`, and with helpers first: `serve.ingress` pickles the routes as
# it finds them, with the names that their code uses and no others.

import os
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported

import httpx2
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from llamachat.cli import console
from llamachat.cli.serve_plan import Plan, prepare
from llamachat.server.supervisor import Supervisor
from llamachat.settings.base import load
from llamachat.settings.serve import ServeSettings

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
OF_ONE_CONNECTION = ("host", "connection", "content-length", "transfer-encoding", "keep-alive")


class Arguments(BaseModel):
    """What follows `llamachat.ray:app`; what has no field here is an option of `llamachat serve`.

    With `max_replicas` above `replicas`, Ray scales between them so that each has `requests_each` requests,
    those that wait counted; the delays are Ray's own. A replica that has `max_ongoing_requests` passes
    more on to the next.
    """

    model_config = ConfigDict(extra="allow")

    replicas: int = 1
    max_replicas: int = 0
    requests_each: float = 2
    upscale_delay_s: float = 30
    downscale_delay_s: float = 600
    max_ongoing_requests: int = 8
    gpus: float = 0

    def plan(self) -> Plan:
        """Checked as `llamachat serve` does it. Each replica has its own port, on loopback."""
        options = {**(self.model_extra or {}), "host": "127.0.0.1", "port": 0, "keep": False}
        return prepare(load(ServeSettings, options), [])

    def replica_count(self) -> dict[str, Any]:
        if self.max_replicas <= self.replicas:
            return {"num_replicas": self.replicas}
        scaling = AutoscalingConfig(
            min_replicas=self.replicas,
            max_replicas=self.max_replicas,
            target_ongoing_requests=self.requests_each,
            upscale_delay_s=self.upscale_delay_s,
            downscale_delay_s=self.downscale_delay_s,
        )
        return {"autoscaling_config": scaling}


def of_a_message(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that go through, not those of one connection."""
    return {name: value for name, value in headers.items() if name.lower() not in OF_ONE_CONNECTION}


routes = FastAPI(openapi_url=None)


class Replica:
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        plan = Arguments.model_validate(arguments).plan()
        self._stopped = threading.Event()
        self._supervisor = Supervisor(plan.launch, plan.endpoint, console.say)
        self._supervisor.start(lambda _: True)
        self._watching = threading.Thread(
            target=self._supervisor.watch, args=(self._stopped.is_set,), name="supervisor", daemon=True
        )
        self._watching.start()
        address = plan.base_url.removesuffix("/v1")
        self._engine = httpx2.AsyncClient(base_url=address, timeout=None, trust_env=False)

    def check_health(self) -> None:
        """Asked by Ray, which replaces a replica that raises."""
        if not self._watching.is_alive():
            raise RuntimeError("The engine died too often.")

    def __del__(self) -> None:
        """Called by Ray when the replica's requests have finished, or their time is over."""
        self._stopped.set()
        self._watching.join()
        if self._supervisor.child is not None:
            self._supervisor.child.stop()

    @routes.api_route("/{path:path}", methods=["GET", "POST", "OPTIONS"])
    async def forward(self, request: Request) -> StreamingResponse:
        asked = self._engine.build_request(
            request.method,
            httpx2.URL(path=request.url.path, query=request.url.query.encode()),
            headers=of_a_message(request.headers),
            content=await request.body(),
        )
        answer = await self._engine.send(asked, stream=True)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            finally:  # a client that left: the engine notices that nobody listens any more
                await answer.aclose()

        return StreamingResponse(body(), answer.status_code, of_a_message(answer.headers))


deployment = serve.deployment(name="llamachat")(serve.ingress(routes)(Replica))


def app(arguments: Mapping[str, Any]) -> Any:
    """What `serve run llamachat.ray:app KEY=VALUE …` and `serve build` call."""
    said = Arguments.model_validate(arguments)
    plan = said.plan()
    return deployment.options(
        **said.replica_count(),
        max_ongoing_requests=said.max_ongoing_requests,
        graceful_shutdown_timeout_s=plan.settings.drain,
        ray_actor_options={
            "num_cpus": plan.options.n_threads,
            "num_gpus": said.gpus,
            "memory": plan.need.total,
        },
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
    ).bind(dict(arguments))
