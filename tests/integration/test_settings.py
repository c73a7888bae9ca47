"""Where an option's value comes from, and what is said where a flag, a variable or a file is wrong."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamachat.settings
from llamachat.errors import ExitStatus
from llamachat.settings.base import SECTIONS, Options
from tests.support import llamachat as run


def served_n_ctx(env: dict[str, str], cwd: Path, *args: str) -> str:
    done = run("serve", "--print-command", *args, env=env, cwd=cwd)
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
    done = run("chat", env=env, cwd=tmp_path)
    assert (done.returncode, "chat.base_url: 'nonsense': not an address" in done.stderr) == (
        ExitStatus.USAGE,
        True,
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "[serve]\nprot = 1\n",
            "[serve] has no option 'prot'; the options are model, embeddings, mmproj, host, port",
        ),
        ('[serve]\nport = "x"\n', "serve.port: 'x'"),
        ("serve = 1\n", "[serve] must be a table"),
        ("<html>", "can't be read"),
        ("[sevre]\nport = 1\n", "unknown section [sevre]. Choose one of [serve], [chat]"),
        (None, "does not exist"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(
    env: dict[str, str], tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_text(content)
    done = run("serve", "--print-command", env=env | {"LLAMACHAT_CONFIG": str(file)}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    (line,) = done.stderr.splitlines()
    assert str(file) in line and words in line


def test_a_wrong_variable_is_named_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    done = run("serve", env=env | {"LLAMACHAT_PORT": "zzz"}, cwd=tmp_path)
    assert done.returncode == ExitStatus.USAGE
    assert done.stderr.startswith("llamachat: LLAMACHAT_PORT: 'zzz': ") and done.stderr.count("\n") == 1


def test_a_wrong_address_of_the_server_is_reported_under_its_variable(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = run("chat", env=env | {"LLAMACHAT_BASE_URL": "localhost:8000"}, cwd=tmp_path)
    assert done.returncode == ExitStatus.USAGE
    assert done.stderr.startswith("llamachat: LLAMACHAT_BASE_URL: 'localhost:8000': not an address")


@pytest.mark.parametrize("by", ["flag", "variable", "negated variable", "file", "new flag"])
def test_the_former_name_of_an_option_still_works(by: str, tmp_path: Path) -> None:
    """`--history` became `--input-history`, because `llamachat history` is about conversations."""
    (tmp_path / "c.toml").write_text("[chat]\nhistory = false\n" if by == "file" else "")
    code = (
        "import argparse; from llamachat.settings import base, chat; parser = argparse.ArgumentParser();"
        "base.add_options(parser, chat.ChatSettings); print('--history' in parser.format_help());"
        "print(base.load(chat.ChatSettings, vars(parser.parse_args())).input_history)"
    )
    arguments = {"flag": ["--no-history"], "new flag": ["--no-input-history"]}.get(by, [])
    variables = {
        "variable": {"LLAMACHAT_HISTORY": "false"},
        "negated variable": {"LLAMACHAT_NO_HISTORY": "1"},
    }.get(by, {})
    environ = {**os.environ, "LLAMACHAT_CONFIG": str(tmp_path / "c.toml"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_every_class_of_options_has_a_section_in_the_file() -> None:
    for module in pkgutil.iter_modules(llamachat.settings.__path__, "llamachat.settings."):
        importlib.import_module(module.name)

    def below(options: type[Options]) -> Iterator[type[Options]]:
        for each in options.__subclasses__():
            yield from (each, *below(each))

    assert {options.section for options in below(Options) if hasattr(options, "section")} == set(SECTIONS)


def test_a_wrong_value_for_the_chat_is_said_before_the_model_is_loaded(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = run("serve", "--chat", "--port", "0", env=env | {"LLAMACHAT_LANG": "fr"}, cwd=tmp_path)
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
        (("chat", "--temperature", "50"), "--temperature: '50': input should be less than or equal to 10."),
        (
            ("chat", "--base-url", "http://主机:8000/v1"),
            "--base-url: 'http://主机:8000/v1': not an address like http://localhost:8000/v1.",
        ),
        (("history", "search"), "`llamachat history search --help`"),
        (("bogus",), "Unknown command 'bogus' for `llamachat`. See `llamachat --help`."),
        (("server",), "Unknown command 'server' for `llamachat`. Did you mean serve?"),
        (("history", "serch"), "Unknown command 'serch' for `llamachat history`. Did you mean search?"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    env: dict[str, str], tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    done = run(*args, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("llamachat: ") and words in line


def test_a_flag_is_shown_under_the_name_that_is_documented(env: dict[str, str], tmp_path: Path) -> None:
    shown = run("ask", "--help", env=env, cwd=tmp_path).stdout
    assert "  --schema SCHEMA" in shown and "--schema-" not in shown
    refused = run("ask", "--schema-", "a", "hi", env=env, cwd=tmp_path)
    assert refused.stderr.startswith("llamachat: Unknown option --schema-")


def test_a_documented_name_works_as_a_variable_and_in_the_file(env: dict[str, str], tmp_path: Path) -> None:
    by_variable = run("ask", "hi", env=env | {"LLAMACHAT_SCHEMA": "{"}, cwd=tmp_path)
    (tmp_path / "c.toml").write_text('[ask]\nschema = "{"\n')
    in_the_file = run("ask", "hi", env=env | {"LLAMACHAT_CONFIG": str(tmp_path / "c.toml")}, cwd=tmp_path)
    by_flag = run("ask", "hi", "--schema", "{", env=env, cwd=tmp_path)
    assert by_variable.stderr == in_the_file.stderr == by_flag.stderr != ""


def test_what_users_of_other_programs_type(env: dict[str, str], tmp_path: Path) -> None:
    assert run("-V", env=env, cwd=tmp_path).stdout.startswith("llamachat 0.")
    assert run("ls", env=env, cwd=tmp_path).stdout == run("models", "list", env=env, cwd=tmp_path).stdout
    missing = run("run", "nosuch", env=env, cwd=tmp_path)
    assert missing.returncode == ExitStatus.MODEL and "nosuch" in missing.stderr
    assert run("serve", "-m", "nosuch", env=env, cwd=tmp_path).stderr == missing.stderr


def test_what_needs_no_command_imports_nothing_heavy(env: dict[str, str], tmp_path: Path) -> None:
    heavy = {"openai", "llama_cpp", "huggingface_hub", "prompt_toolkit", "rich", "pydantic", "fastapi"}
    for flag in ("--help", "--version"):
        done = run(flag, env=env | {"PYTHONPROFILEIMPORTTIME": "1"}, cwd=tmp_path)
        imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "llamachat" in imported and not heavy & imported
