"""Bad input to `llamachat serve`: one line on stderr, a fitting status, before anything is loaded."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llamachat.errors import ExitStatus
from tests.gguf_files import LLAMA, gguf
from tests.support import free_port, llamachat

Refuse = Callable[..., str]


@pytest.fixture
def refused(env: dict[str, str], tmp_path: Path) -> Refuse:
    """Run `serve` with the arguments, and give the one line that it wrote, after checking its status."""

    def run(*args: str, status: ExitStatus = ExitStatus.MODEL) -> str:
        port = () if "--port" in args else ("--port", str(free_port()))
        done: subprocess.CompletedProcess[str] = llamachat("serve", *port, *args, env=env, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        lines = [
            line for line in done.stderr.splitlines() if not line.startswith(("Loading ", "No model found"))
        ]
        (line,) = lines
        assert line.startswith("llamachat: ")
        return line

    return run


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "HTML page saved by a browser"),
        (b'{"error": "gated"}', "JSON"),
        (b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}', "safetensors"),
        (b"PK\x03\x04", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
        (gguf()[:200], "truncated"),
        (gguf()[:-1], "truncated"),
    ],
)
def test_a_file_that_is_no_whole_gguf(refused: Refuse, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert words in refused("m.gguf")


def test_no_such_file_names_what_there_is(refused: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "data" / "llamachat" / "models"
    folder.mkdir(parents=True)
    (folder / "Alpha.gguf").write_bytes(gguf())
    assert "Alpha" in refused("--model", "nope.gguf")


def test_several_models_are_listed(refused: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "data" / "llamachat" / "models"
    folder.mkdir(parents=True)
    for name in ("Alpha", "Beta"):
        (folder / f"{name}.gguf").write_bytes(gguf())
    assert "Alpha, Beta. Choose one with `llamachat serve MODEL`" in refused()


def test_two_models_on_one_line(refused: Refuse) -> None:
    refused("a.gguf", "--model", "b.gguf", status=ExitStatus.USAGE)


def test_a_name_that_no_file_can_have(refused: Refuse) -> None:
    assert "can't be read" in refused("a" * 5000)


def test_a_folder(refused: Refuse, tmp_path: Path) -> None:
    assert "is a folder" in refused(str(tmp_path))


def test_a_partial_download(refused: Refuse, tmp_path: Path) -> None:
    (tmp_path / "m.gguf.part").write_bytes(gguf())
    assert "m.gguf.part" in refused("m.gguf")
    assert "partial download" in refused("m.gguf.part")


def test_a_missing_shard(refused: Refuse, tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(gguf())
    assert "m-00002-of-00002.gguf" in refused("m-00001-of-00002.gguf")


def test_a_port_in_use(refused: Refuse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused("--port", port, status=ExitStatus.ADDRESS)
    assert f"Port {port} is in use by " in line and "--port" in line


@pytest.mark.parametrize("host", ["192.0.2.77", "no-such-host.invalid"])
def test_a_host_that_can_not_be_bound(refused: Refuse, host: str) -> None:
    assert host in refused("--host", host, status=ExitStatus.ADDRESS)


@pytest.mark.parametrize(
    "args", [("--port", "99999"), ("--n-ctx", "many"), ("--n-threads", "0"), ("--kv-park", "much")]
)
def test_a_value_that_makes_no_sense(refused: Refuse, args: tuple[str, str]) -> None:
    line = refused(*args, status=ExitStatus.USAGE)
    assert args[0] in line and args[1] in line


@pytest.mark.parametrize("key", ["密码", "two\nlines", "blank "])
def test_a_key_that_no_header_can_carry(refused: Refuse, key: str) -> None:
    assert "plain ASCII" in refused("--api-key", key, status=ExitStatus.USAGE)


@pytest.mark.parametrize("extra", [("--port", "99999"), ("--por", "1"), ("--config_file", "f")])
def test_a_flag_behind_the_dashes(refused: Refuse, extra: tuple[str, str]) -> None:
    assert extra[0] in refused("--", *extra, status=ExitStatus.USAGE)


def test_a_model_too_large_for_the_memory_unless_forced(refused: Refuse, tmp_path: Path) -> None:
    huge = {**LLAMA, "llama.block_count": 4_000_000, "llama.embedding_length": 65536}
    (tmp_path / "m.gguf").write_bytes(gguf(huge))
    assert "--force" in refused("m.gguf")
    assert "did not start" in refused("m.gguf", "--force", "--n-ctx", "256", status=ExitStatus.SERVER)


def test_the_servers_own_load_error_is_shown(refused: Refuse, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf({**LLAMA, "general.architecture": "frobnicator"}))
    line = refused("m.gguf", "--n-ctx", "256", status=ExitStatus.SERVER)
    assert "unknown model architecture: 'frobnicator'" in line


def test_a_flag_that_the_server_does_not_know(refused: Refuse) -> None:
    assert "unrecognized arguments: --bogus" in refused("--", "--bogus", "1", status=ExitStatus.SERVER)
