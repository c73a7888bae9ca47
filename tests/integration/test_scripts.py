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


@pytest.fixture
def installed(clone: Path) -> Path:
    """The clone after an installation; what it runs is this project."""
    venv.create(clone / ".venv", with_pip=False)
    site = next((clone / ".venv").rglob("site-packages"))
    (site / "installed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT / 'src'}\n")
    remember = f'. "{clone}/scripts/lib.sh"; remember_install serve'
    subprocess.run(["bash", "-c", remember], check=True)
    return clone


def test_the_second_start_installs_nothing(installed: Path, env: dict[str, str], tmp_path: Path) -> None:
    done = serve(installed, env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{installed}/.venv/bin/python" in done.stdout


def test_it_starts_through_a_link_and_where_cd_looks_elsewhere(
    installed: Path, env: dict[str, str], tmp_path: Path
) -> None:
    link = tmp_path / "serve"
    link.symlink_to(installed / "scripts" / "serve.sh")
    (tmp_path / "other" / "scripts").mkdir(parents=True)
    for script in (str(link), "scripts/serve.sh"):
        done = subprocess.run(
            ["bash", script, "--print-command"],
            cwd=installed,
            env=env | {"CDPATH": str(tmp_path / "other")},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{installed}/.venv/bin/python" in done.stdout


def tools(folder: Path, *names: str) -> dict[str, str]:
    """A PATH of these programs alone."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


SHELL = ("bash", "dirname", "cat", "cksum", "grep", "sleep", "tail")


def test_a_venv_that_was_cut_short_gets_its_pip(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    venv.create(clone / ".venv", with_pip=False)
    found = env | tools(tmp_path / "bin", *SHELL) | {"PIP_NO_INDEX": "1"}
    done = serve(clone, found, cwd=tmp_path)
    assert done.returncode == 1
    assert "No matching distribution found" in done.stderr and "No module named pip" not in done.stderr


def test_without_a_python_it_says_which_is_needed(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    done = serve(clone, env | tools(tmp_path / "bin", *SHELL), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Python 3.10 or newer is needed. Install it, or set PYTHON to it.\n"
