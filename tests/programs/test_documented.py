"""Every command and every line of Python in docs/programs.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llamachat.errors import ExitStatus
from tests.programs.conftest import Recorder
from tests.support import DEADLINE, ROOT, ServerProcess
from tests.tiny_projector import png
from tests.unit.test_documents import pdf

PAGE = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.*llamachat.*)$", PAGE, re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("book.txt", "books.txt", "review.txt"):
        (tmp_path / name).write_text(f"A short {name}.")
    (tmp_path / "reviews.csv").write_text("text\nGreat!\nAwful.\n")
    (tmp_path / "photo.png").write_bytes(png((255, 0, 0)))
    (tmp_path / "contract.pdf").write_bytes(pdf("Party: Ann"))
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        body = "<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body>"
        archive.writestr(
            "word/document.xml", f"{body}<w:p><w:r><w:t>Dear Bob</w:t></w:r></w:p></w:body></w:document>"
        )
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
def test_each_command_asks_what_it_says(
    recorder: Callable[..., Recorder], env: dict[str, str], folder: Path
) -> None:
    """Whether the answers have the shape is not this server's business: it says the same to everybody."""
    server = recorder("--answer", "said")
    env |= {"LLAMACHAT_BASE_URL": server.base_url, "LLAMACHAT_LANG": "en"}
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        before = len(server.requests())
        line = command.replace("git diff", "echo diff").replace(
            "llamachat", f'"{sys.executable}" -m llamachat'
        )
        done = subprocess.run(
            ["sh", "-c", line],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode in (ExitStatus.OK, ExitStatus.INCOMPLETE), (command, done.stderr)
        assert len(server.requests()) > before, command
        shaped = any(word in command for word in ("--choices", "--schema", "sentiment"))
        assert shaped or done.stdout == "said\n", (command, done.stdout, done.stderr)


def test_the_python_runs(serve: ServerProcess, env: dict[str, str], folder: Path) -> None:
    """On the server that runs; the one that the page starts is too slow for a test, and tested elsewhere."""
    (code,) = PYTHON
    code = code.replace("with serve() as server:", "for server in [this]:")
    start = f"from types import SimpleNamespace\nthis = SimpleNamespace(base_url={serve.base_url!r})\n"
    env |= {"LLAMACHAT_BASE_URL": serve.base_url}
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "one" in done.stdout and "two" in done.stdout
