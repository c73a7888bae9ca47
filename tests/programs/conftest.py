from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT


@dataclass
class Recorder:
    base_url: str
    record: Path
    process: subprocess.Popen[str]

    def requests(self) -> list[dict[str, Any]]:
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text("utf-8").splitlines()]

    def prompts(self) -> list[str]:
        return [str(body["messages"][-1]["content"]) for body in self.requests()]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Starts servers that keep what they are asked."""
    with ExitStack() as stack:

        def start(*options: str) -> Recorder:
            record = tmp_path / "requests.jsonl"
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.recorder", str(record), *options],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout
            port = int(process.stdout.readline())
            return Recorder(f"http://127.0.0.1:{port}/v1", record, process)

        yield start
