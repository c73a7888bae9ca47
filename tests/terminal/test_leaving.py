"""Every way of leaving gives the terminal back as it was."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pty_chat import PATIENCE, Chat
from tests.terminal.conftest import FakeServer

Open = Callable[..., Chat]
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


def modes(chat: Chat) -> list[object]:
    iflag, oflag, cflag, lflag, _, _, cc = termios.tcgetattr(chat.process.child_fd)
    return [iflag, oflag, cflag, lflag, cc]


def assert_given_back(chat: Chat, before: list[object]) -> None:
    assert modes(chat) == before
    assert chat.raw.rstrip().endswith(b"\x1b[0m\x1b[?25h\x1b[?2004l")
    assert not chat.screen.cursor.hidden


@pytest.fixture
def open_with_modes(chat: Open) -> Callable[[], tuple[Chat, list[object]]]:
    """A chat, and the terminal's modes from before it changed any."""

    def start() -> tuple[Chat, list[object]]:
        one = chat()
        return one, modes(one)

    return start


@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
@pytest.mark.parametrize("scene", ["", "endless", "silent", "progress"])
def test_a_signal_ends_the_chat_and_the_terminal_is_as_it_was(
    open_with_modes: Callable[[], tuple[Chat, list[object]]], number: signal.Signals, scene: str
) -> None:
    one, before = open_with_modes()
    one.prompt()
    if scene:
        one.enter(scene)
        one.see({"endless": "word3 ", "silent": "waiting", "progress": "reading"}[scene])
    one.process.kill(number)
    one.until(lambda: modes(one) == before, "the terminal's modes")
    status = one.wait()
    assert status == 128 + number
    assert one.raw.rstrip().endswith(b"\x1b[0m\x1b[?25h\x1b[?2004l")
    assert "Traceback" not in one.text


def test_bye_gives_the_terminal_back(open_with_modes: Callable[[], tuple[Chat, list[object]]]) -> None:
    one, before = open_with_modes()
    one.ask("bye")
    one.until(lambda: modes(one) == before, "the terminal's modes")
    assert one.wait() == 0
    assert one.raw.rstrip().endswith(b"\x1b[0m\x1b[?25h\x1b[?2004l")


def test_ctrl_c_in_haste_stops_the_answer_and_not_the_chat(chat: Open) -> None:
    one = chat()
    one.ask("endless")
    one.see("word3 ")
    while termios.tcgetattr(one.process.child_fd)[3] & termios.ISIG:  # at the prompt it is a key
        one.type("\x03")
        one.pump(0.001)
    one.see("[stopped: /continue goes on from there]")
    one.prompt()
    one.enter("bye")
    assert one.wait() == 0


def test_a_wrong_key_at_the_introduction_ends_in_one_line(env: dict[str, str]) -> None:
    from tests.terminal.conftest import fake_server

    with fake_server("--key", "right") as server:
        one = Chat(["--base-url", server.url, "--api-key", "wrong"], env)
        assert one.wait() == 6
        assert "llamachat: The server refused the key." in one.text
        assert "Traceback" not in one.text


class Tmux:
    """A shell in tmux, for what needs job control."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._name = f"llamachat-{uuid.uuid4().hex[:8]}"
        self._env = {k: v for k, v in env.items() if k != "TMUX"}
        shell = ["env", "PS1=ready$ ", "bash", "--norc", "--noprofile", "-i"]
        self.run("new-session", "-d", "-x", "100", "-y", "30", "-c", str(folder), *shell)
        self.see("ready$")

    def run(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *arguments]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=True).stdout

    def keys(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    @property
    def text(self) -> str:
        return self.run("capture-pane", "-p", "-S", "-1000")

    def see(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.text.count(text) < times:
            assert time.monotonic() < deadline, f"waited for {text!r}:\n{self.text}"
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._name, "kill-server"], env=self._env, check=False)


@pytest.fixture
def tmux(env: dict[str, str], tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    one = Tmux(env, tmp_path)
    yield one
    one.close()


def test_a_suspended_chat_comes_back_at_the_prompt_and_in_an_answer(tmux: Tmux, fake: FakeServer) -> None:
    tmux.keys(f"{shlex.quote(sys.executable)} -m llamachat chat --no-intro --base-url {fake.url}", "Enter")
    tmux.see("bye or Ctrl-D leaves")
    tmux.see("\n>")
    tmux.keys("half", "C-z")
    tmux.see("Stopped")
    tmux.keys("stty -a | tr ' ;' '\\n\\n' | grep -c -x -e echo -e icanon -e icrnl", "Enter")
    tmux.see("\n3\n")
    tmux.keys("fg", "Enter")
    tmux.see("> half")
    tmux.keys(" more", "Enter")
    tmux.see("you said 9: half more")
    tmux.keys("endless", "Enter")
    tmux.see("word5 ")
    tmux.keys("C-z")
    tmux.see("Stopped", times=2)
    tmux.keys("echo the-shell-$((40+2))", "Enter")
    tmux.see("the-shell-42")
    before = tmux.text.count("word")
    tmux.keys("fg", "Enter")
    tmux.see("word", times=before + 20)
    tmux.keys("C-c")
    tmux.see("[stopped")
    tmux.keys("bye", "Enter")
    tmux.see("BYE BYE!")


def test_a_resize_in_tmux_in_the_middle_of_an_answer_does_no_harm(tmux: Tmux, fake: FakeServer) -> None:
    tmux.keys(f"{shlex.quote(sys.executable)} -m llamachat chat --no-intro --base-url {fake.url}", "Enter")
    tmux.see("\n>")
    tmux.keys("stutter", "Enter")
    tmux.see("Some bold words")
    tmux.run("resize-window", "-x", "44", "-y", "20")
    tmux.see("return x + 1")
    tmux.run("resize-window", "-x", "90", "-y", "30")
    tmux.see("The end.")
    text = tmux.text
    for once in ("Title of it", "def f(x):", "The end."):
        assert text.count(once) == 1
    tmux.keys("bye", "Enter")
    tmux.see("BYE BYE!")
