"""The fake hub as a process of its own, with its controls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class HubProcess:
    """`root` is the folder that it serves, as OWNER/REPO/FILE."""

    root: Path
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def control(self, **controls: Any) -> None:
        httpx2.post(f"{self.endpoint}/_control", json=controls, trust_env=False).raise_for_status()

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = httpx2.get(f"{self.endpoint}/_stats", trust_env=False).json()
        return stats

    def put(self, name: str, content: bytes | Path, **meta: object) -> Path:
        """Lay a file OWNER/REPO/FILE into the hub, with metadata of its repository."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
        if meta:
            (path.parent / ".meta.json").write_text(json.dumps(meta))
        return path

    def environment(self, home: Path) -> dict[str, str]:
        """For a llamachat that knows only this hub and keeps everything below `home`."""
        dropped = ("HF_", "LLAMACHAT_", "XDG_", "COLUMNS", "LINES")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped) and "proxy" not in k.lower()}
        return {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home / "hf"),
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "LANG": "en_US.UTF-8",
        }


@contextmanager
def running_hub(root: Path) -> Iterator[HubProcess]:
    command = [sys.executable, "-m", "tests.fakes.hub", str(root)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield HubProcess(root, int(process.stdout.readline()))
        finally:
            process.kill()
