"""The two scripts, where the project is installed already: what they do then takes no time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support import DEADLINE, ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the scripts are for bash")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the scripts need of a clone, in a path with a space."""
    root = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    return root


def serve(clone: Path, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(clone / "scripts" / "serve.sh"), "--print-command", "--n-ctx", "300"]
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL
    )


def test_serve_is_a_plain_launcher_where_llamachat_is_on_the_path(
    clone: Path, env: dict[str, str], tmp_path: Path
) -> None:
    scripts = sysconfig.get_path("scripts")
    done = serve(clone, env | {"PATH": f"{scripts}{os.pathsep}{env['PATH']}"}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{scripts}/python") and "--n_ctx 512" in done.stdout
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("spelling", [["--api-key", "s3cret"], ["--api_key=s3cret"]])
def test_the_key_is_in_no_command_line_from_the_start(
    clone: Path, env: dict[str, str], tmp_path: Path, spelling: list[str]
) -> None:
    launched = tmp_path / "bin" / "llamachat"
    launched.parent.mkdir()
    launched.write_text('#!/bin/sh\nprintf "%s\\n" "$LLAMACHAT_API_KEY" "$@"\n')
    launched.chmod(0o755)
    done = subprocess.run(
        [
            "bash",
            str(clone / "scripts" / "serve.sh"),
            "--model",
            "a b.gguf",
            *spelling,
            "--",
            "--n_batch",
            "8",
        ],
        env=env | {"PATH": f"{launched.parent}{os.pathsep}{env['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "s3cret",
        "serve",
        "--model",
        "a b.gguf",
        "--",
        "--n_batch",
        "8",
    ]


def test_the_second_start_installs_nothing(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    venv.create(clone / ".venv", with_pip=False)
    site = next((clone / ".venv").rglob("site-packages"))
    (site / "installed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT / 'src'}\n")
    remember = f'. "{clone}/scripts/lib.sh"; remember_install serve'
    subprocess.run(["bash", "-c", remember], check=True)
    done = serve(clone, env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{clone}/.venv/bin/python" in done.stdout


def test_without_a_python_it_says_which_is_needed(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "cat", "cksum", "grep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = serve(clone, env | {"PATH": str(tools)}, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Python 3.10 or newer is needed. Install it, or set PYTHON to it.\n"
