"""The rule of direction, read from the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamachat

SOURCE = Path(llamachat.__file__).parent

ADAPTERS = {"client", "terminal", "store", "hub", "server"}
MAY_IMPORT = {
    "core": {"core", "errors"},
    "language": set(),
    "paths": set(),
    "running": set(),
    "settings": {"settings", "core", "paths", "errors"},
    "engine": {"engine", "grammar", "tools", "core", "errors"},
    "grammar": {"grammar"},
    "tools": {"tools", "grammar"},
    "texts": {"texts", "core", "errors"},
    "chat": {"chat", "programs", "client", "store", "texts", "core", "errors"},
    "programs": {"programs", "client", "store", "texts", "core", "errors"},
    "api": {"paths", "running", "programs", "chat", "client", "store", "texts", "core", "errors"},
    "doctor": {"doctor", "hub", "server", "core", "errors"},
    "web": {"web", "chat", "client", "store", "texts", "core", "errors"},
    "cli": {
        "web",
        "cli",
        "chat",
        "programs",
        "texts",
        "doctor",
        "settings",
        "core",
        "paths",
        "running",
        "errors",
        *ADAPTERS,
    },
    **{adapter: {adapter, "core", "paths", "errors"} for adapter in ADAPTERS},
}
OWNERS = {
    "openai": {"client"},
    "llama_cpp": {"engine"},
    "huggingface_hub": {"hub"},
    "prometheus_client": {"engine"},
    "ray": {"ray"},
    "prompt_toolkit": {"terminal"},
    "rich": {"terminal", "cli"},
    "wcwidth": {"terminal"},
    "platformdirs": {"paths"},
}
MODULES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that the module imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The package directly below llamachat, or the module's own name."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_in_one_direction(path: Path) -> None:
    allowed = MAY_IMPORT.get(part_of(path))
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("llamachat.")} - {"__version__"}
    if allowed is not None:
        assert ours <= allowed | {"language"}
    assert "engine" not in ours or part_of(path) == "engine"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_each_large_dependency_has_one_owner(path: Path) -> None:
    for name in imported(path):
        assert part_of(path) in OWNERS.get(name.split(".")[0], {part_of(path)}), name


def test_core_is_pure() -> None:
    for path in (SOURCE / "core").glob("*.py"):
        outside = {name.split(".")[0] for name in imported(path)} - {"llamachat"}
        assert outside <= sys.stdlib_module_names, path


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument: str) -> None:
    code = f"import sys; from llamachat.cli import main; main([{argument!r}]); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {*OWNERS, "pydantic", "psutil", "fastapi", "numpy"}


def test_asking_once_imports_no_http_library() -> None:
    """The server's address is wrong: all that a question needs is loaded before that is known."""
    code = """if True:
        import sys
        from llamachat.cli import main
        main(["ask", "Hello", "--base-url", "http://127.0.0.1:9/v1"])
        print(*sys.modules, sep="\\n")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "llamachat.client.completions" in loaded
    assert not loaded & {"openai", "httpx2", "rich", "prompt_toolkit", "jsonschema", "semchunk"}
