"""Frameworks for real, in a Python and a folder of packages of their own, which scripts/frameworks.sh makes.

LLAMACHAT_FRAMEWORKS       a Python with the dependency group `frameworks`
LLAMACHAT_NODE_FRAMEWORKS  a folder in which NODE_PACKAGES are installed
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamachat.core.engine_options import EngineOptions
from tests.integration.engine_process import Engine, running
from tests.support import clean_env
from tests.tiny_models import write_bert

HERE = Path(__file__).parent
PYTHON, NODE = os.environ.get("LLAMACHAT_FRAMEWORKS"), os.environ.get("LLAMACHAT_NODE_FRAMEWORKS")
NODE_PACKAGES = "openai ai @ai-sdk/openai @ai-sdk/openai-compatible @langchain/openai @langchain/core"
SECONDS = 1800

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("frameworks")
    model = write_bert(folder / "tiny-bert.gguf")
    options = EngineOptions(
        model_name="small", embeddings=str(model), embeddings_name="tiny-bert", embeddings_n_ctx=256
    )
    with running(folder / "log", options) as engine:
        yield engine


@pytest.mark.skipif(PYTHON is None, reason="LLAMACHAT_FRAMEWORKS is not set: scripts/frameworks.sh")
def test_python(engine: Engine, tmp_path: Path) -> None:
    assert PYTHON
    check([PYTHON, str(HERE / "cases.py")], engine, tmp_path, tmp_path)


@pytest.mark.skipif(NODE is None, reason="LLAMACHAT_NODE_FRAMEWORKS is not set: scripts/frameworks.sh")
def test_node(engine: Engine, tmp_path: Path) -> None:
    assert NODE
    check(["node", str(HERE / "cases.mjs")], engine, Path(NODE), tmp_path)


def check(command: list[str], engine: Engine, cwd: Path, home: Path) -> None:
    arguments = [f"{engine.url}/v1", "small", "tiny-bert"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env=clean_env(home),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    cases = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    assert done.returncode == 0 and cases, done.stderr
    failed = [f"{each['case']}: {each['error']}" for each in cases if each["error"]]
    assert not failed, "\n".join([f"{len(failed)} of {len(cases)} failed", *failed])
