"""What a newcomer types in a shell in the first minutes, in English and with a Chinese locale."""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gguf_files import LLAMA, gguf
from tests.pty_chat import Chat
from tests.support import free_port
from tests.terminal.conftest import FakeServer

LOCALES = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}


class Shell(Chat):
    """bash in a folder of its own, with `llamachat` on the PATH."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        bash = str(shutil.which("bash"))
        more = {"PS1": "$ ", "PATH": f"{sysconfig.get_path('scripts')}:{env['PATH']}", "HOME": str(folder)}
        self._runs = 1000
        super().__init__(["--norc", "--noprofile"], {**env, **more}, 120, 60, command=[bash])
        self.run(f"cd {shlex.quote(str(folder))}")

    def run(self, command: str, question: str = "", answer: str = "") -> str:
        """What `command` writes; its `question` gets the `answer`."""
        self._runs += 1
        self.until(lambda: self.last_line == "$", "the shell")
        self.enter(f"clear; {command}; echo [$(({self._runs} * 2))]")
        if question:
            self.see(question)
            self.enter(answer)
        end = f"[{self._runs * 2}]\n$"
        self.until(lambda: self.on_screen.endswith(end), command)
        return self.on_screen.removesuffix(end)

    @property
    def on_screen(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()


@pytest.fixture(params=LOCALES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shell(env: dict[str, str], language: str, tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "here").mkdir()
    opened = Shell({**env, "LANG": LOCALES[language]}, tmp_path / "here")
    yield opened
    opened.kill()


def test_a_server_for_the_network_says_all_that_others_need_and_the_chat_here_knows_the_key(
    env: dict[str, str], tmp_path: Path
) -> None:
    env["LANG"] = LOCALES["zh"]
    command = (sys.executable, "-m", "llamachat", "serve", "--host", "0.0.0.0")
    url = f"http://127.0.0.1:{(port := free_port())}/v1"
    server = Chat(["--port", str(port), "--n-ctx", "512"], env, columns=60, rows=40, command=command)
    server.see("cmd：set ")
    assert "没有找到模型：现在用的是演示模型" in server.text.replace("\n", "")
    # In parts that are whole, and commands as long as they are, to be copied.
    assert f"服务就绪：{url}" in server.lines and f"聊天：llamachat chat --base-url {url}" in server.lines
    whole = server.text.replace("\n", "")
    for shell in ("从另一台电脑连接：LLAMACHAT_API_KEY=", "PowerShell：$env:LLAMACHAT_API_KEY=", "cmd：set "):
        assert shell in whole
    one = Chat(["--base-url", url, "--no-intro", "--max-tokens", "4"], env)
    one.ask("Hi")
    one.see("> Hi")
    one.prompt()
    assert "密钥" not in one.text
    one.enter("/q")
    assert one.wait() == 0
    server.type("\x03")
    assert server.wait() == 0


SAID: dict[str, dict[str, str]] = {
    "llamachat --frobnicate": {
        "en": "llamachat: Unknown option --frobnicate for `llamachat`. See `llamachat --help`.",
        "zh": "llamachat: `llamachat` 没有选项 --frobnicate。见 `llamachat --help`。",
    },
    "llamachat sevre": {
        "en": "llamachat: Unknown command 'sevre' for `llamachat`. Did you mean serve?",
        "zh": "llamachat: `llamachat` 没有命令 'sevre'。是不是想输入 serve？",
    },
    "llamachat ps": {"en": "No server is running.", "zh": "没有正在运行的服务器。"},
    "llamachat run nosuch": {
        "en": "There is no file nosuch, and no model of that name.",
        "zh": "没有文件 nosuch，也没有叫这个名称的模型。",
    },
    "LLAMACHAT_CONFIG=c.toml llamachat ls": {
        "en": "llamachat: c.toml: unknown section [sevre].",
        "zh": "llamachat: c.toml：未知的节 [sevre]。",
    },
    "llamachat models explain Q4KM K_M Meta-Llama-3-8B-Instruct.Q5_K_S.gguf": {
        "en": "K_M: letters in the name of a quantisation, as in Q4_K_M.",
        "zh": "K_M：量化名称里的字母，例如 Q4_K_M。",
    },
    "llamachat models show ./tiny.gguf": {"en": "name: Tiny", "zh": "名称：Tiny"},
    "HTTPS_PROXY=http://127.0.0.1:9 llamachat pull https://hf-mirror.com/OWNER/REPO/tree/main": {
        "en": "llamachat: https://hf-mirror.com does not answer.",
        "zh": "llamachat: https://hf-mirror.com 没有应答。",
    },
}


def test_a_shell_gets_answers_in_the_users_language(shell: Shell, language: str, tmp_path: Path) -> None:
    (tmp_path / "here" / "c.toml").write_text("[sevre]\n")
    (tmp_path / "here" / "tiny.gguf").write_bytes(gguf({**LLAMA, "general.file_type": 15}))
    for command, said in SAID.items():
        assert said[language] in shell.run(command)


def test_the_model_that_is_here_is_named_and_of_several_one_is_asked_for(
    shell: Shell, language: str, tmp_path: Path
) -> None:
    found = {"en": "Found {}/here/mine.gguf", "zh": "找到模型 {}/here/mine.gguf"}[language]
    (tmp_path / "here" / "mine.gguf").write_bytes(gguf())
    # It has no tokens, so that the server ends at once.
    serve = f"llamachat serve --port {free_port()}"
    assert found.format(tmp_path) in shell.run(serve).replace("\n", "")
    (tmp_path / "here" / "other.gguf").write_bytes(gguf())
    question = {"en": "Which model? [1-2]", "zh": "哪个模型？[1-2]"}[language]
    asked = shell.run(f"{serve} --print-command", question, "2")
    assert "--model" in asked and "here/other.gguf --host" in asked.replace("\n", "")


def test_a_narrow_terminal_gets_whole_names_and_whole_words(env: dict[str, str]) -> None:
    command = (sys.executable, "-m", "llamachat", "models")
    models = Chat(["list"], env, columns=60, command=command)
    assert models.wait() == 0
    assert "SmolLM2-135M-Instruct.Q4_1" in models.text and "comfortably" in models.text
    assert "licence" not in models.text  # for which there is no room
    explained = Chat(["explain", "Q4_K_M"], env, columns=60, command=command)
    assert explained.wait() == 0
    assert "file, less memory, faster answers" in " ".join(explained.text.split())
    assert all(len(line) <= 60 for line in explained.lines)


def test_a_pipe_is_one_message_and_the_conversation_to_continue_is_another(
    shell: Shell, language: str, fake: FakeServer
) -> None:
    chat = f"llamachat chat --base-url {fake.url}"
    assert "you said 10: /quit\n\nbye" in shell.run(rf"printf '/quit\n\nbye' | {chat}")
    said = shell.run(f"{chat} --continue")
    assert {"en": "There is no conversation yet.", "zh": "还没有对话。"}[language] in said


def test_what_users_of_other_programs_type_in_a_chat(shell: Shell, language: str, fake: FakeServer) -> None:
    for leave in ("/quit", "/bye", "/q"):
        one = f"llamachat chat --no-intro --base-url {fake.url}"
        shell.until(lambda: shell.last_line == "$", "the shell")
        shell.enter(f"clear; {one}")
        shell.prompt()
        if leave == "/q":
            shell.ask("/set system You are a pirate.")
            shell.see({"en": "The system message is changed.", "zh": "系统消息已修改。"}[language])
            shell.ask("/?")
            shell.see({"en": "continues an answer", "zh": "接着说停止或截断的回答"}[language])
        shell.ask(leave)
        shell.see("BYE BYE!")


def test_bash_completes_commands_and_options_at_the_tab_key(shell: Shell) -> None:
    shell.run('eval "$(llamachat completion bash)"')
    shell.type("clear; llamachat hist\t")
    shell.see("llamachat history")
    shell.type("\x15llamachat serve --chat --n-gp\t")
    shell.see("llamachat serve --chat --n-gpu-layers")
