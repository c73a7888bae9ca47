"""The language that is chosen, and the catalogue: complete, compiled, with the placeholders of the source."""

from __future__ import annotations

import argparse
import ast
import gettext
import os
import re
import string
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_file
from pydantic import BaseModel, ByteSize, Field, TypeAdapter, ValidationError

import llamachat
from llamachat import errors, language
from llamachat.cli.parser import COMMANDS, build
from llamachat.language import counted
from llamachat.settings import base
from scripts import messages
from tests.support import ROOT

HOW = "python scripts/messages.py updates the catalogue; translate what it lists"
CATALOGUE = messages.read()
TRANSLATED = {m.id: m.string for m in CATALOGUE if m.id}


def test_every_message_of_the_source_is_translated() -> None:
    source = {m.id for m in messages.extract() if m.id}
    assert source - set(TRANSLATED) == set(), HOW
    assert set(TRANSLATED) - source == set(), HOW
    assert messages.untranslated(CATALOGUE) == [], HOW


def test_the_compiled_catalogue_is_up_to_date() -> None:
    with language.CATALOGUE.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message, translated in TRANSLATED.items():
        if isinstance(message, str):
            assert compiled.gettext(message) == translated, HOW
        else:
            assert translated and compiled.ngettext(message[0], message[1], 2) == translated[0], HOW


def fields(text: str) -> list[str]:
    """The placeholders: `{name:.1f}`, `%(name)s`, `%s`; sorted, for Chinese has another order."""
    try:
        braces = [f"{n}!{c}:{s}" for _, n, s, c in string.Formatter().parse(text) if n is not None]
    except ValueError:  # braces that are shown as they are
        braces = re.findall(r"\{.*?\}", text)
    return sorted({*braces, *re.findall(r"%(?:\(\w+\))?[srd]", text)})


def test_a_translation_has_the_placeholders_of_its_message() -> None:
    pairs = [(str(m), str(t)) if isinstance(m, str) else (m[1], t[0]) for m, t in TRANSLATED.items() if t]
    assert [m for m, translated in pairs if fields(translated) != fields(m)] == []


def test_what_argparse_says_is_in_the_catalogue() -> None:
    said = {m[1] for m in extract_from_file("python", argparse.__file__)}
    for_programmers = re.compile(
        r"required'|invalid (?:option|conflict)|conflict|not callable|__call__|dest=|cannot|mode %r|mutually"
    )
    shown = {m for m in said if not for_programmers.search(str(m))}
    assert shown <= set(TRANSLATED) | set(messages.SAME_IN_CHINESE)


def test_pydantics_reasons_are_those_that_are_translated() -> None:
    class Model(BaseModel):
        bool_parsing: bool = False
        float_parsing: float = 0
        int_parsing: int = 0
        greater_than: int = Field(1, gt=0)
        greater_than_equal: int = Field(1, ge=0)
        less_than_equal: int = Field(0, le=1)
        string_pattern_mismatch: str = Field("a", pattern="^a$")
        string_too_short: str = Field("long enough", min_length=8)
        byte_size: ByteSize = ByteSize(0)

    wrong = {
        **dict.fromkeys(("bool_parsing", "float_parsing", "int_parsing", "byte_size"), "x"),
        "greater_than": "0",
        "greater_than_equal": "-1",
        "less_than_equal": "2",
        "string_pattern_mismatch": "b",
        "string_too_short": "short",
    }
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Model).validate_python(wrong)
    for error in caught.value.errors():
        assert base.PYDANTIC[error["type"]].format(**error.get("ctx", {})) == error["msg"]


ENVIRONMENTS = [
    ({"LANG": "zh_CN.UTF-8"}, "zh"),
    ({"LANG": "zh_TW.Big5"}, "zh"),
    ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
    ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
    ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en_US:zh"}, "en"),
    ({"LANG": "C.UTF-8", "LANGUAGE": "zh_CN"}, "en"),
    ({"LANG": "fr_FR.UTF-8"}, "en"),
    ({"LANG": "C.UTF-8", "LLAMACHAT_LANG": "zh"}, "zh"),
    ({"LANG": "zh_CN.UTF-8", "LLAMACHAT_LANG": "en"}, "en"),
    ({"LANG": "zh_CN.UTF-8", "LLAMACHAT_LANG": "auto"}, "zh"),
]


@pytest.mark.parametrize(("environment", "chosen"), ENVIRONMENTS, ids=str)
def test_the_language_is_that_of_the_variable_else_of_the_locale(
    environment: dict[str, str], chosen: str
) -> None:
    assert language.user_language(environment) == chosen


def in_shell(script: str, environment: Mapping[str, str] = {}) -> str:
    """What `script` prints after scripts/lib.sh was read."""
    command = ["bash", "-c", script.replace("LIB", f". '{ROOT}/scripts/lib.sh'")]
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.name != "posix", reason="the scripts are for bash")
def test_the_scripts_choose_the_language_as_the_program_does() -> None:
    for environment, chosen in ENVIRONMENTS:
        said = in_shell("LIB; words 'Installed in %s s.' 7", environment)
        assert said == {"zh": "安装完成，用时 7 秒。\n", "en": "Installed in 7 s.\n"}[chosen], environment
    mac = """OSTYPE=darwin24; defaults() { printf '(\n    "zh-Hans-CN",\n    "en-CN"\n)\n'; }"""
    assert in_shell(f"{mac}; LIB; is_chinese && echo zh") == "zh\n"


def test_what_the_scripts_say_is_translated() -> None:
    lines = (ROOT / "scripts" / "messages.zh").read_text(encoding="utf-8").splitlines()
    translated = dict(zip(lines[::3], lines[1::3], strict=True))
    assert not any(lines[2::3])
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "scripts").glob("*.sh"))
    said = re.findall(r"""\b(?:say|fail|words) ['"](.*?)['"](?= |$|;|\))""", text, re.MULTILINE)
    assert {m for m in said if re.search("[a-z]{2}", m)} == set(translated)
    for message, chinese in translated.items():
        assert message.count("%") == message.count("%s") == chinese.count("%s") == chinese.count("%"), message


def test_one_of_a_thing_is_not_many() -> None:
    assert [counted(n, "{} message", "{} messages") for n in range(3)] == [
        "0 messages",
        "1 message",
        "2 messages",
    ]


ENGLISH = re.compile(r"(?<![\w./`'\"<>\[-])[a-z]{2,}(?: [a-z]{2,}){2,}")
"""Three plain words in a row."""


def every_help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from every_help(below)


def test_help_has_no_english_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv(language.VARIABLE, "zh")
    language.catalogue.cache_clear()
    try:
        text = "".join(every_help(build(COMMANDS)))
    finally:
        language.catalogue.cache_clear()
    said = [line for line in text.splitlines() if not line.startswith(("用法：", "bash："))]
    assert len(said) > 200
    assert [line for line in said if ENGLISH.search(line)] == []


SOURCE = Path(llamachat.__file__).parent
SPEAKERS = {"ask", "error", "noted", "prompt", "report", "say", "tell", "write"}
SPEAKERS |= {name for name, kind in vars(errors).items() if isinstance(kind, type)}
SILENT = {"engine", "grammar", "tools", "ray.py"}
"""What speaks to programs alone."""


def unmarked(path: Path) -> Iterator[str]:
    """Words that are said or raised without having been marked for translation."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        for argument in call.args if name in SPEAKERS else ():
            parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
            text = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
            if re.search(r"[a-z]{2,} [a-z]{2,}", text):
                yield f"{path.name}:{call.lineno}: {text}"


def test_what_is_said_to_a_user_is_marked_for_translation() -> None:
    spoken = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in SILENT]
    assert [line for path in spoken for line in unmarked(path)] == []
