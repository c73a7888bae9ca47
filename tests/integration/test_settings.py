"""Where an option's value comes from, and what is said where a flag, a variable or a file is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llamachat.errors import ExitStatus
from tests.support import llamachat


def served_n_ctx(env: dict[str, str], cwd: Path, *args: str) -> str:
    done = llamachat("serve", "--print-command", *args, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("--n_ctx ")[1].split()[0]


def test_a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default(
    env: dict[str, str], tmp_path: Path
) -> None:
    assert served_n_ctx(env, tmp_path) == "2048"
    (tmp_path / "c.toml").write_text("[serve]\nn-ctx = 256\n")
    env["LLAMACHAT_CONFIG"] = str(tmp_path / "c.toml")
    assert served_n_ctx(env, tmp_path) == "256"
    env["LLAMACHAT_N_CTX"] = "512"
    assert served_n_ctx(env, tmp_path) == "512"
    assert served_n_ctx(env, tmp_path, "--n_ctx", "768") == "768"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another folder for it")
def test_the_file_lies_in_the_users_config_folder(env: dict[str, str], tmp_path: Path) -> None:
    folder = Path(env["XDG_CONFIG_HOME"]) / "llamachat"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[chat]\nbase_url = "nonsense"\n')
    done = llamachat("chat", env=env, cwd=tmp_path)
    assert (done.returncode, "'nonsense' is no address" in done.stderr) == (ExitStatus.USAGE, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[serve]\nprot = 1\n", "[serve] has no option 'prot'; there are model, host, port"),
        ('[serve]\nport = "x"\n', "serve.port: 'x'"),
        ("serve = 1\n", "[serve] must be a table"),
        ("<html>", "can't be read"),
        (None, "There is no "),
    ],
)
def test_a_wrong_file_is_named_in_one_line(
    env: dict[str, str], tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_text(content)
    done = llamachat("serve", "--print-command", env=env | {"LLAMACHAT_CONFIG": str(file)}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    (line,) = done.stderr.splitlines()
    assert str(file) in line and words in line


def test_a_wrong_variable_is_named_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    done = llamachat("serve", env=env | {"LLAMACHAT_PORT": "zzz"}, cwd=tmp_path)
    assert done.returncode == ExitStatus.USAGE
    assert done.stderr.startswith("llamachat: LLAMACHAT_PORT: 'zzz': ") and done.stderr.count("\n") == 1


def test_a_wrong_value_for_the_chat_is_said_before_the_model_is_loaded(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = llamachat("serve", "--chat", "--port", "0", env=env | {"LLAMACHAT_LANG": "fr"}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    assert done.stderr.startswith("llamachat: LLAMACHAT_LANG: 'fr': ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("serve", "--bogus"), "Unknown option --bogus for `llamachat serve`. See `llamachat serve --help`."),
        (("serve", "a", "b"), "Unknown argument b for `llamachat serve`."),
        (("serve", "--prot=1"), "Unknown option --prot for `llamachat serve`. Did you mean --port?"),
        (("models", "rm", "x", "--foldr", "y"), "--foldr for `llamachat models rm`. Did you mean --folder?"),
        (("--frobnicate",), "Unknown option --frobnicate for `llamachat`."),
        (("serve", "--api-key"), "expected one argument. See `llamachat serve --help`"),
        (("chat", "--lang", "fr"), "--lang: 'fr' is not one of zh, en, auto."),
        (("chat", "--temperature", "inf"), "--temperature: 'inf'"),
        (("chat", "--api-key", ""), "--api-key: ''"),
        (("chat", "--api-key", "密码"), "plain ASCII"),
        (("chat", "--base-url", "http://主机:8000/v1"), "is no address"),
        (("history", "search"), "`llamachat history search --help`"),
        (("bogus",), "Unknown command 'bogus' for `llamachat`. See `llamachat --help`."),
        (("server",), "Unknown command 'server' for `llamachat`. Did you mean serve?"),
        (("history", "serch"), "Unknown command 'serch' for `llamachat history`. Did you mean search?"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    env: dict[str, str], tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    done = llamachat(*args, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("llamachat: ") and words in line


def test_what_needs_no_command_imports_nothing_heavy(env: dict[str, str], tmp_path: Path) -> None:
    heavy = {"openai", "llama_cpp", "huggingface_hub", "prompt_toolkit", "rich", "pydantic", "fastapi"}
    for flag in ("--help", "--version"):
        done = llamachat(flag, env=env | {"PYTHONPROFILEIMPORTTIME": "1"}, cwd=tmp_path)
        imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "llamachat" in imported and not heavy & imported
