"""The list of foreign names against the code that uses them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest
from fastapi import APIRouter

import llamachat.engine
from llamachat.engine import surface
from llamachat.engine.engine_app import check_routes
from llamachat.engine.kv_identity import CONTEXT_FIELDS
from llamachat.errors import ServerError

MODULES = sorted(Path(llamachat.engine.__file__).parent.glob("*.py"))
FOREIGN = ("llama_cpp", "uvicorn", "starlette", "sse_starlette", "fastapi")
INSTANCES = {
    "llama": "llama_cpp.Llama",
    "self._llama": "llama_cpp.Llama",
    "lane": "llama_cpp.Llama",
    "self.lane": "llama_cpp.Llama",
    "slot.lane": "llama_cpp.Llama",
    "view": "llama_cpp.Llama",
    "self._engine": "llama_cpp.Llama",
    "engine": "llama_cpp.Llama",
    "grammar": "llama_cpp.LlamaGrammar",
    "context_params": "llama_cpp.llama_context_params",
    "model_params": "llama_cpp.llama_model_params",
    "llama.context_params": "llama_cpp.llama_context_params",
    "self._engine._batch": "llama_cpp._internals.LlamaBatch",
    "self._engine._batch.batch": "llama_cpp.llama_batch",
    "batch": "llama_cpp.llama_batch",
    "self.llama": "llama_cpp.Llama",
    "self.llama.context_params": "llama_cpp.llama_context_params",
    "beside": "llama_cpp.Llama",
    "beside.model_params": "llama_cpp.llama_model_params",
    "context": "llama_cpp._internals.LlamaContext",
    "inputs_batch": "llama_cpp._internals.LlamaBatch",
    "inputs_batch.batch": "llama_cpp.llama_batch",
    "sampler": "llama_cpp._internals.LlamaSampler",
    "params": "llama_cpp.llama_context_params",
    "self._llama.context_params": "llama_cpp.llama_context_params",
    "self.context_params": "llama_cpp.llama_context_params",
    "llama.model_params": "llama_cpp.llama_model_params",
    "server": "uvicorn.Server",
    "AppStatus": "sse_starlette.sse.AppStatus",
    "EventSourceResponse": "sse_starlette.sse.EventSourceResponse",
    "app": "fastapi.FastAPI",
    "app.router": "fastapi.APIRouter",
    "router": "fastapi.APIRouter",
}
"""What some expressions are in this package, as far as a reader can tell."""


def used(path: Path) -> Iterator[tuple[str, str]]:
    """Each foreign name that the module uses, with the module or class that has it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name: a.name for a in node.names if a.name.split(".")[0] in FOREIGN}
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in FOREIGN:
            yield from ((str(node.module), alias.name) for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            holder = ast.unparse(node.value)
            if holder in modules:
                yield modules[holder], node.attr
            elif holder in INSTANCES and node.attr != "__dict__":
                yield INSTANCES[holder], node.attr
    for node in ast.walk(engine_class()) if path.name == "engine.py" else ():
        if isinstance(node, ast.Attribute) and node.attr not in ("__init__", "__dict__"):
            holder = ast.unparse(node.value)
            if holder == "self" or holder.startswith("super("):
                yield "llama_cpp.Llama", node.attr


def engine_class() -> ast.ClassDef:
    source = (Path(llamachat.engine.__file__).parent / "engine.py").read_text(encoding="utf-8")
    return next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Engine")


def own_attributes() -> set[str]:
    """What the engine itself adds to a `Llama`."""
    kind = engine_class()
    defined = {node.name for node in kind.body if isinstance(node, ast.FunctionDef)}
    declared = {ast.unparse(node.target) for node in kind.body if isinstance(node, ast.AnnAssign)}
    assigned = {
        node.attr
        for node in ast.walk(kind)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return (defined | declared | assigned) - set(dir(llama_cpp.Llama)) - surface._assigned(llama_cpp.Llama)


def test_the_list_is_what_the_code_uses() -> None:
    listed = {(holder, name) for holder, names in surface.SURFACE.items() for name in names.split()}
    ours = {("llama_cpp.Llama", name) for name in own_attributes()}
    found = {pair for path in MODULES for pair in used(path)} - ours
    found |= {("llama_cpp.llama_context_params", name) for name in CONTEXT_FIELDS}
    found = {(holder, name) for holder, name in found if not is_module(f"{holder}.{name}")}
    assert sorted(listed - found) == [], "listed, and not used"
    assert sorted(found - listed) == [], "used, and not listed"


def is_module(path: str) -> bool:
    try:
        importlib.import_module(path)
    except ImportError:
        return False
    return True


def test_the_installed_versions_have_them_all() -> None:
    surface.check()


def test_a_route_that_the_queue_does_not_know_stops_the_start() -> None:
    from llama_cpp.server.app import router

    check_routes(router)
    newer = APIRouter()
    newer.include_router(router)

    @newer.post("/v1/rerank")
    def rerank() -> None: ...

    with pytest.raises(ServerError, match="has POST /v1/rerank, which the engine can't queue"):
        check_routes(newer)
