"""The private files by which a user's chat finds the user's own servers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from llamachat.running import RunningServer, announced, key_for, network_key, running


def server(base_url: str = "http://127.0.0.1:8000/v1", host: str = "127.0.0.1") -> RunningServer:
    """One whose process is this one."""
    created = psutil.Process().create_time()
    return RunningServer(base_url, host, "s3cret", "tiny", 2048, os.getpid(), created)


def test_a_server_is_found_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "running"
    with announced(folder, server()):
        assert running(folder) == [server()]
        assert key_for(folder, "http://localhost:8000/v1") == "s3cret"
    assert running(folder) == [] and key_for(folder, "http://localhost:8000/v1") is None


@pytest.mark.parametrize(
    "other",
    ["http://localhost:8001/v1", "https://127.0.0.1:8000/v1", "http://example.org:8000/v1"],
)
def test_another_server_does_not_get_the_key(tmp_path: Path, other: str) -> None:
    with announced(tmp_path, server()):
        assert key_for(tmp_path, other) is None


def test_one_that_is_bound_to_every_address_is_found_by_each_of_them(tmp_path: Path) -> None:
    with announced(tmp_path, server(host="0.0.0.0")):
        for addresses in psutil.net_if_addrs().values():
            for address in addresses:
                if address.family.name == "AF_INET":
                    assert key_for(tmp_path, f"http://{address.address}:8000/v1") == "s3cret"


def test_what_a_kill_left_behind_is_not_believed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number, left in enumerate((replace(server(), pid=dead.pid), replace(server(), created=1.0))):
        with announced(tmp_path / str(number), left):
            assert running(tmp_path / str(number)) == []
            assert not list((tmp_path / str(number)).iterdir())
    (tmp_path / "torn.json").write_text('{"base_url": ')
    assert running(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes; the profile's folder is private there")
def test_only_the_user_can_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "running"
    with announced(folder, server()):
        (file,) = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    network_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_the_key_for_the_network_is_made_once(tmp_path: Path) -> None:
    key = network_key(tmp_path / "key")
    assert len(key) >= 32 and network_key(tmp_path / "key") == key
    (tmp_path / "key").write_text("")
    assert network_key(tmp_path / "key") not in ("", key)


def test_a_folder_that_can_not_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with announced(tmp_path / "file" / "running", server()):
        assert running(tmp_path / "file" / "running") == []
    assert network_key(tmp_path / "file" / "key")
