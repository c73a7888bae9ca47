"""`/v1/models`, and what is told about an endpoint that doesn't exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from llamachat.engine.failures import Refused, answer

V1 = "OpenAI V1"
HIDDEN = ("/v1/engines/",)
"""Endpoints of the library for old clients, which nobody should begin to use."""


@dataclass(frozen=True)
class ServedModel:
    id: str
    path: str

    def as_dict(self) -> dict[str, Any]:
        created = int(Path(self.path).stat().st_mtime) if Path(self.path).exists() else 0
        return {"id": self.id, "object": "model", "created": created, "owned_by": "llamachat"}


def add_models(app: FastAPI, models: Sequence[ServedModel]) -> None:
    """In place of the library's own list, whose ids are paths."""

    async def listed() -> dict[str, Any]:
        return {"object": "list", "data": [model.as_dict() for model in models]}

    async def retrieve(name: str) -> dict[str, Any]:
        for model in models:
            if name.lower() == model.id.lower():
                return model.as_dict()
        known = ", ".join(model.id for model in models)
        message = f"The model {name!r} does not exist. This server has {known}."
        raise Refused(404, message, param="model", code="model_not_found")

    app.add_api_route("/v1/models", listed, methods=["GET"], include_in_schema=False)
    app.router.routes.insert(0, app.router.routes.pop())  # before the library's own, which is described
    app.add_api_route("/v1/models/{name:path}", retrieve, methods=["GET"], summary="One model", tags=[V1])


async def answer_unknown(request: Request, error: Exception) -> JSONResponse:
    """The handler of every HTTPException: those that are not ours are of a path or a method."""
    assert isinstance(error, HTTPException)
    if isinstance(error, Refused) or error.status_code not in (404, 405):
        return answer(error)
    path, method = request.url.path, request.method
    paths = request.app.openapi()["paths"]
    there = {"/v1/responses": ["POST"]} | {name: sorted(map(str.upper, has)) for name, has in paths.items()}
    if path in there:
        takes = " and ".join(there[path])
        message = f"{path} does not take {method}, but {takes}."
        return answer(Refused(405, message, code="method_not_allowed"))
    if f"/v1{path}" in there:
        message = f"{method} {path} does not exist. Add /v1 to the base URL."
    else:
        message = f"{method} {path} does not exist. This server has {', '.join(filter(_is_for_new, there))}."
    return answer(Refused(404, message, code="unknown_url"))


def _is_for_new(path: str) -> bool:
    return path.startswith("/v1/") and "{" not in path and not path.startswith(HIDDEN)
