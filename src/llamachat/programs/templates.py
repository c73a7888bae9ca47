"""Templates: named prompts for what a local model is good for, ours and the user's, each a TOML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llamachat.core.presets import Lang
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.programs import shapes
from llamachat.programs.long_texts import Long
from llamachat.programs.questions import escaped, fill, placeholders

if TYPE_CHECKING:
    from pydantic import TypeAdapter

INPUT, QUESTION = "input", "question"


@dataclass(frozen=True, slots=True)
class Words:
    """What of a template is written in one language; `example` is a command line that uses it."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    about: str = ""
    example: str = ""
    system: str = ""
    prompt: str = "{input}"

    @property
    def wants_question(self) -> bool:
        return QUESTION in placeholders(self.prompt)

    @property
    def parameters(self) -> list[str]:
        return [n for n in placeholders(self.prompt + self.system) if n not in (INPUT, QUESTION)]

    def with_system_in_prompt(self) -> Words:
        """The same for one message of a conversation, whose system message stays."""
        prompt = f"{escaped(self.system)}\n\n{self.prompt}" if self.system else self.prompt
        return replace(self, system="", prompt=prompt)

    def ask(self, text: str, question: str) -> str:
        """The prompt about `text`. A `question` that it has no place for follows the text."""
        if not self.wants_question:
            text, question = "\n\n".join(filter(None, (text, question))), ""
        return fill(self.prompt, {INPUT: text, QUESTION: question}).strip()


@dataclass(frozen=True, slots=True)
class Template:
    """One template. `{input}` in the prompt is the text, `{question}` the question that was typed with it.

    Any other name is a parameter (`-p NAME VALUE`).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    en: Words
    zh: Words | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    schema: str | dict[str, Any] | None = None
    choices: str | list[str] | None = None
    long: Long = "error"
    extract: bool = False
    max_tokens: int | None = None
    picture: bool = False

    def words(self, lang: Lang) -> Words:
        return self.zh if lang == "zh" and self.zh else self.en

    @property
    def shape(self) -> shapes.Shape:
        """The answer's. Raises UsageError if the schema is not one."""
        if self.choices:
            return shapes.from_choices(self.choices)
        if isinstance(self.schema, dict):
            return shapes.Json(self.schema)
        if self.schema:
            return shapes.from_schema(self.schema)
        return shapes.Code() if self.extract else shapes.AnyText()


@dataclass(frozen=True, slots=True)
class Named:
    """A template's file, which is read when it is wanted: a broken one breaks nothing else."""

    name: str
    path: str
    content: bytes

    @property
    def template(self) -> Template:
        """Raises UsageError if the file can't be read."""
        return _load(self.content, self.path)

    def words(self, lang: Lang) -> Words:
        """Those of the template; what is wrong with it is what they are about."""
        try:
            return self.template.words(lang)
        except UsageError as error:
            return Words(about=str(error))


def find(name: str, folder: Path) -> Template:
    """The template of that name, the user's before ours; `name` may be a file. Raises UsageError."""
    path = Path(name).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return _load(path.read_bytes(), str(path))
    every = {named.name: named for named in available(folder)}
    if name not in every:
        raise UsageError(
            _("There is no template {name!r}.").format(name=name),
            _("Choose one of {names}.").format(names=", ".join(every)),
        )
    return every[name].template


def available(folder: Path) -> Sequence[Named]:
    """All templates, sorted by name; one in the user's `folder` replaces ours of the same name."""
    from importlib import resources

    ours = (resources.files("llamachat.programs") / "templates").iterdir()
    users = folder.glob("*.toml") if folder.is_dir() else ()
    every = (*(f for f in ours if f.name.endswith(".toml")), *users)
    files = {f.name.removesuffix(".toml"): f for f in every}
    return [Named(name, str(f), f.read_bytes()) for name, f in sorted(files.items())]


def compose(words: Words, params: Mapping[str, str], given: Mapping[str, str]) -> Words:
    """`words` with every parameter in its place; `{input}` and `{question}` stay.

    Raises UsageError if a parameter is missing or unknown.
    """
    wanted = words.parameters
    for name in given:
        if name not in wanted:
            known = ", ".join(wanted) or _("none")
            raise UsageError(
                _("This template has no parameter {name!r}.").format(name=name),
                _("It has: {known}.").format(known=known),
            )
    missing = next((n for n in wanted if n not in params and n not in given), None)
    if missing:
        raise UsageError(
            _("This template needs the parameter {missing!r}.").format(missing=missing),
            _("Give it with -p {missing} VALUE.").format(missing=missing),
        )
    values = {**params, **given}
    return replace(
        words,
        system=fill(words.system, values, partly=True),
        prompt=fill(words.prompt, values, partly=True),
    )


@cache
def _template() -> TypeAdapter[Template]:
    from pydantic import TypeAdapter  # slow, and most questions need no template

    return TypeAdapter(Template)


def _load(data: bytes, where: str) -> Template:
    from pydantic import ValidationError

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table = tomllib.loads(data.decode("utf-8"))
        return _template().validate_python(table)
    except (ValueError, tomllib.TOMLDecodeError, ValidationError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(
            _("The template {where} can't be read: {reason}.").format(where=where, reason=reason)
        ) from error
