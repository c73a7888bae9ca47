"""`llamachat pull` as a process, against the fake hub with the real small model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from llamachat.hub import local_models
from llamachat.hub.download import sha256_of
from llamachat.hub.model_folder import Paths
from llamachat.hub.segments import read_progress
from tests import tiny_projector
from tests.fakes.hub_process import HubProcess, running_hub
from tests.gguf_files import gguf
from tests.support import wait_for

MB = 1 << 20
REPO = "org/SmolLM2-135M-Instruct-GGUF"
DEADLINE = 120.0


@pytest.fixture(scope="module")
def model() -> Path:
    bundled = local_models.bundled_model()
    assert bundled, "install the `demo` extra"
    return bundled.path


@pytest.fixture
def hub(tmp_path: Path, model: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as running:
        running.put(f"{REPO}/{model.name}", model, cardData={"license": "apache-2.0"})
        yield running


class Runner:
    """Runs `llamachat` with this hub and its own home."""

    def __init__(self, hub: HubProcess, home: Path) -> None:
        self.folder = home / "models"
        self.environment = hub.environment(home)
        self.home = home

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "llamachat", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("pull", "--folder", str(self.folder), *arguments),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        self.environment.update(environment)
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    def spawn(self, *arguments: str, columns: int = 120) -> pexpect.spawn:
        command = self.command("pull", "--folder", str(self.folder), *arguments)
        return pexpect.spawn(
            command[0],
            command[1:],
            env={**self.environment, "TERM": "xterm"},
            cwd=str(self.home),
            encoding="utf-8",
            timeout=DEADLINE,
            dimensions=(24, columns),
        )


@pytest.fixture
def runner(hub: HubProcess, tmp_path: Path) -> Runner:
    return Runner(hub, tmp_path)


def has_arrived(paths: Paths, n_bytes: int) -> Callable[[], bool]:
    return lambda: read_progress(paths.journal) > n_bytes


def test_thirty_cuts_and_two_kills_leave_the_real_model_whole(
    hub: HubProcess, runner: Runner, model: Path
) -> None:
    hub.control(cuts=30, cut_within=(1, 2 * MB), rate=20 * MB)
    paths = Paths(runner.folder, model.name)
    for share in (0.3, 0.6):
        with runner.start(REPO) as process:
            wait_for(has_arrived(paths, int(share * model.stat().st_size)), "the share")
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        assert not paths.final.exists()
    status, out, err = runner.run(REPO)
    assert (status, out) == (0, f"{paths.final}\n"), err
    assert sha256_of(paths.final) == sha256_of(model)
    stats = hub.stats()
    assert stats["faults_left"] == 0
    assert stats["twice"] <= 2 * MB  # cuts cost nothing, kills at most 1 MB each


def test_ctrl_c_leaves_what_came_and_no_traceback(hub: HubProcess, runner: Runner, model: Path) -> None:
    hub.control(rate=5 * MB)
    paths = Paths(runner.folder, model.name)
    with runner.start(REPO) as process:
        wait_for(has_arrived(paths, 5 * MB), "5 MB")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130 and "Traceback" not in err
    assert err.splitlines()[-1] == "Stopped. Run the same command again to continue."
    hub.control(rate=0)
    assert runner.run(REPO)[0] == 0
    assert hub.stats()["twice"] <= MB


def test_in_a_log_there_are_plain_lines_and_the_path_on_stdout(runner: Runner, model: Path) -> None:
    status, out, err = runner.run(REPO)
    assert status == 0 and out == f"{runner.folder / model.name}\n"
    assert err.splitlines()[-1] == f"Talk to it: llamachat serve {runner.folder / model.name} --chat"
    assert "\x1b" not in err and "100% of 98 MB" in err
    assert "Apache License 2.0 https://www.apache.org/licenses/LICENSE-2.0" in err


def test_in_the_models_folder_of_serve_the_name_will_do(runner: Runner, model: Path) -> None:
    runner.environment["LLAMACHAT_FOLDER"] = str(runner.folder)
    assert f"llamachat serve {model.stem} --chat" in runner.run(REPO)[2]


def test_in_a_terminal_all_is_on_one_line_after_a_loss_too(
    hub: HubProcess, runner: Runner, model: Path
) -> None:
    hub.control(faults=[{"kind": "none"}] * 3 + [{"kind": "status", "status": 503}])
    child = runner.spawn(REPO, columns=80)
    out = child.read()
    child.close()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out[: out.index("Talk to it")]).rstrip().splitlines()[-1]
    assert re.search(r" 100% 98\.4/98\.4 MB [0-9.]+ .B/s [0-9:]+ 1× the", last), last


def test_quiet_says_only_the_path(runner: Runner, model: Path) -> None:
    assert runner.run(f"{REPO}:q4_1", "--quiet") == (0, f"{runner.folder / model.name}\n", "")


def test_what_is_here_is_not_fetched_again_and_needs_no_hub(
    hub: HubProcess, runner: Runner, model: Path
) -> None:
    assert runner.run(REPO)[0] == 0
    before = hub.stats()["bytes"]
    assert "is here already" in runner.run(REPO)[2]
    assert hub.stats()["bytes"] == before
    status, out, _ = runner.run(REPO, HF_HUB_OFFLINE="1")
    assert (status, out) == (0, f"{runner.folder / model.name}\n")


def test_two_at_once_take_turns_and_say_so(hub: HubProcess, runner: Runner, model: Path) -> None:
    hub.control(rate=30 * MB)
    paths = Paths(runner.folder, model.name)
    with runner.start(REPO) as first:
        wait_for(has_arrived(paths, 5 * MB), "5 MB")
        status, out, err = runner.run(REPO)
        first.communicate(timeout=DEADLINE)
    assert (status, out, first.returncode) == (0, f"{paths.final}\n", 0)
    assert "another llamachat is fetching" in err and "is here already" in err
    assert sha256_of(paths.final) == sha256_of(model) and not paths.part.exists()


def test_offline_means_offline(hub: HubProcess, runner: Runner) -> None:
    status, _, err = runner.run(REPO, HF_HUB_OFFLINE="1")
    assert status == 7 and "HF_HUB_OFFLINE is set" in err and hub.stats()["requests"] == {}


def test_a_list_shows_sizes_memory_and_fit_and_fetches_no_model(hub: HubProcess, runner: Runner) -> None:
    status, out, _ = runner.run("--list", REPO)
    assert status == 0
    assert "98 MB + 189 MB + 104 MB" in out and "comfortably" in out and "Q4_1 *" in out
    assert not runner.folder.exists()


def test_a_model_that_sees_comes_with_its_projector(hub: HubProcess, runner: Runner, tmp_path: Path) -> None:
    """Under the model's name: on the hub, `mmproj-F16.gguf` is the projector of many."""
    for name in ("mmproj-F32.gguf", "mmproj-F16.gguf"):
        hub.put(f"org/V/{name}", tiny_projector.write(tmp_path / name, n_embd=64).read_bytes())
    for quant in ("Q4_K_M", "Q8_0"):
        hub.put(f"org/V/Big-V-{quant}.gguf", gguf())
    kept = runner.folder / "mmproj-Big-V-F16.gguf"

    status, out, err = runner.run("org/V:Q8_0", "--no-projector")
    assert (status, out) == (0, f"{runner.folder / 'Big-V-Q8_0.gguf'}\n"), err
    assert not kept.exists() and "sees pictures" not in err
    assert "With mmproj-Big-V-F16.gguf" in runner.run("--list", "org/V")[2]
    status, out, err = runner.run("org/V")
    assert (status, out) == (0, f"{runner.folder / 'Big-V-Q4_K_M.gguf'}\n"), err
    assert "With mmproj-Big-V-F16.gguf (0 MB) it sees pictures; --no-projector leaves that out." in err
    assert kept.exists()

    def models(*arguments: str) -> str:
        command = [*runner.command("models"), *arguments, "--folder", str(runner.folder), "--yes"]
        return subprocess.run(command, env=runner.environment, capture_output=True, text=True).stdout

    assert len([line for line in models().splitlines() if "Big-V" in line and "yes" in line.split()]) == 2
    assert f"sees pictures with: {kept}" in models("show", "Big-V-Q8_0")
    assert "Big-V-Q8_0 (llamachat): complete" in models("verify", "Big-V-Q8_0")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert f"{kept} has sha256" in models("verify", "Big-V-Q8_0")
    assert "mmproj" not in models("rm", "Big-V-Q8_0") and kept.exists()
    assert "mmproj" in models("rm", "Big-V-Q4_K_M") and not kept.exists()


def test_a_url_of_the_hub_and_one_of_another_server(hub: HubProcess, runner: Runner, model: Path) -> None:
    assert runner.run(f"{hub.endpoint}/{REPO}/blob/main/{model.name}")[0] == 0
    (runner.folder / model.name).unlink()
    elsewhere = f"http://localhost:{hub.port}/cdn/0/{REPO}/{model.name}"
    status, _, err = runner.run(elsewhere)
    assert status == 0, err
    assert sha256_of(runner.folder / model.name) == sha256_of(model)


def test_without_a_model_it_recommends_one_and_says_why(runner: Runner) -> None:
    status, _, err = runner.run(LANG="zh_CN.UTF-8")
    lines = err.splitlines()
    assert status == 2 and "会说中文" in lines[0] and "需要下载" in lines[0]
    assert lines[1].endswith("没有可以回答的终端。可以用 --yes 回答“是”。")


def test_llamas_licence_needs_consent(hub: HubProcess, runner: Runner, model: Path) -> None:
    hub.put("org/llama-GGUF/llama-Q4_1.gguf", model, cardData={"license": "llama3.2"})
    status, _, err = runner.run("org/llama-GGUF")
    assert status == 2 and "Do you agree to the Llama 3.2 Community License?" in err
    killed = runner.spawn("org/llama-GGUF")
    killed.expect(r"Do you agree .* \[y/N\] ")
    killed.close(force=True)  # which is not consent
    child = runner.spawn("org/llama-GGUF")
    child.expect(r"Do you agree .* \[y/N\] ")
    child.sendline("y")
    child.expect("100%")
    child.expect("llama-Q4_1.gguf\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert runner.run("org/llama-GGUF")[0] == 0  # asked once


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nonsense"], 2, "There is no model named 'nonsense'. Known names: llama3,"),
        (["org/nothing"], 3, "has no repository org/nothing, or it is private."),
        ([f"{REPO}:Q8_0"], 3, f"{REPO} has no Q8_0. It has Q4_1."),
        (["--connections", "0", REPO], 2, "--connections: '0': input should be greater than or equal to 1."),
        (["--n-ctx", "2000000000", REPO], 3, "insist with `--force`."),
    ],
)
def test_what_can_go_wrong_is_one_line(
    runner: Runner, arguments: list[str], status: int, message: str
) -> None:
    got, out, err = runner.run(*arguments)
    assert (got, out, len(err.splitlines())) == (status, "", 1)
    assert message in err


def test_a_hub_that_is_not_there_is_named_with_the_mirror(runner: Runner) -> None:
    status, _, err = runner.run(REPO, HF_ENDPOINT="http://127.0.0.1:9")
    assert status == 7 and "http://127.0.0.1:9 does not answer" in err and "hf-mirror.com: --mirror" in err


@pytest.mark.parametrize(
    ("environment", "status", "words"),
    [
        ({"HF_ENDPOINT": "127.0.0.1:9"}, 7, "https://127.0.0.1:9 does not answer"),
        ({"HF_TOKEN": "密钥"}, 6, "The token has invalid characters"),
    ],
)
def test_an_invalid_environment_is_one_line(
    runner: Runner, environment: dict[str, str], status: int, words: str
) -> None:
    got, _, err = runner.run(REPO, **environment)
    assert got == status and words in err and len(err.splitlines()) == 1


def test_a_hub_whose_files_never_agree_with_its_list_is_given_up(hub: HubProcess, runner: Runner) -> None:
    hub.control(lie="etag")
    status, out, err = runner.run(REPO)
    assert (status, out) == (7, "") and err.count("asking again") == 3
    assert f"{REPO} keeps changing" in err.splitlines()[-1]
    status, _, err = runner.run("--list", REPO)
    assert status == 7 and "has just changed" in err and len(err.splitlines()) == 1


def test_the_end_of_input_is_not_a_yes(runner: Runner) -> None:
    child = runner.spawn()
    child.expect(r"Fetch .*\? \[Y/n\] ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0 and not runner.folder.exists()


@pytest.mark.parametrize("proxy", ["socks9://127.0.0.1:9", "nonsense://x"])
def test_an_invalid_proxy_is_one_line(runner: Runner, proxy: str) -> None:
    status, _, err = runner.run(REPO, ALL_PROXY=proxy, NO_PROXY="")
    assert status == 7 and "The proxy can't be used" in err and len(err.splitlines()) == 1


def test_a_folder_that_is_a_file_is_one_line(runner: Runner) -> None:
    status, _, err = runner.run(REPO, "--folder", __file__)
    assert status == 3 and f"{__file__} can't be written" in err
    assert len(err.splitlines()) == 1


def test_an_address_of_a_mirror_asks_the_mirror(hub: HubProcess, runner: Runner, model: Path) -> None:
    """The fake hub stands for the proxy, and so for the mirror."""
    proxy = {"HTTP_PROXY": hub.endpoint, "http_proxy": hub.endpoint}
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", **proxy}
    status, out, err = runner.run(f"http://hf-mirror.com/{REPO}/tree/main", **environment)
    assert (status, out) == (0, f"{runner.folder / model.name}\n"), err


def test_a_proxy_is_used(hub: HubProcess, runner: Runner, model: Path) -> None:
    """The fake hub stands for the proxy: a name that can't be looked up is asked of it."""
    status, _, err = runner.run(
        REPO, HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=hub.endpoint, http_proxy=hub.endpoint
    )
    assert status == 0, err
    assert hub.stats()["bytes"] >= model.stat().st_size
