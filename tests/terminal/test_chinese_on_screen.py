"""A chat with a Chinese locale: what it says of itself is Chinese, in columns that are straight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.pty_chat import Chat
from tests.support import llamachat

CHINESE = {"LANG": "zh_CN.UTF-8"}


def test_help_errors_and_remarks_are_chinese(chat: Callable[..., Chat]) -> None:
    one = chat(**CHINESE)
    one.see("/help 显示可用的命令；bye 或 Ctrl-D 退出。")
    one.ask("/help stats")
    one.see("显示上一个回答的统计数字，或每个回答的")
    one.ask("length")
    one.see("[达到最大长度被截断：/continue 可以接着说]")
    one.ask("/context")
    one.see("个留给它的回答。")
    rows = [line for line in one.lines if line[:1].isdigit()]
    assert len({line.index("个 token") for line in rows}) == 1
    one.ask("/list")
    one.see("2 条消息  length")
    one.ask("/load nothing")
    one.see("没有对话 'nothing'。/list 会列出它们。")


def test_an_error_of_the_command_line_is_chinese(env: dict[str, str], tmp_path: Path) -> None:
    done = llamachat("chat", "--modle", "x", env={**env, **CHINESE}, cwd=tmp_path)
    assert done.stderr == "llamachat: `llamachat chat` 没有选项 --modle。是不是想输入 --model？\n"


def test_doctor_is_chinese(env: dict[str, str], tmp_path: Path) -> None:
    done = llamachat("doctor", "--no-network", "--timeout", "0.1", env={**env, **CHINESE}, cwd=tmp_path)
    levels = {line.split()[0] for line in done.stdout.splitlines()}
    assert levels <= {"正常", "警告", "问题", "→"}
    assert "0.1 秒内没有生成 token" in done.stdout
