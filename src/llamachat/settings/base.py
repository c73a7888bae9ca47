"""How an option, declared once, becomes a flag, an environment variable and a line of config.toml.

The environment and the file are read by pydantic-settings' own sources. The flags are not: CliSettingsSource
runs its own parser for one class, can't hide former names, and doesn't suggest the nearest option.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from llamachat import paths
from llamachat.core.sampling import BOUNDS
from llamachat.errors import UsageError
from llamachat.language import N_, _

ENV_PREFIX = "LLAMACHAT_"
SECTIONS = ("serve", "chat", "ask", "batch", "pull", "models", "doctor", "history", "web")
"""The tables of config.toml, one for each subcommand."""


def _split(value: object) -> object:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value


StrList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A flag that may be repeated; separated by commas in the environment."""


def _sendable(key: str) -> str:
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise ValueError(
            _("a key is sent in an HTTP header, so it must be plain ASCII without spaces around it")
        )
    return key


ApiKey = Annotated[str, AfterValidator(_sendable)]


PYDANTIC = {
    "bool_parsing": N_("Input should be a valid boolean, unable to interpret input"),
    "byte_size": N_("could not parse value and unit from byte string"),
    "float_parsing": N_("Input should be a valid number, unable to parse string as a number"),
    "greater_than": N_("Input should be greater than {gt}"),
    "greater_than_equal": N_("Input should be greater than or equal to {ge}"),
    "int_parsing": N_("Input should be a valid integer, unable to parse string as an integer"),
    "less_than_equal": N_("Input should be less than or equal to {le}"),
    "literal_error": N_("Input should be {expected}"),
    "string_pattern_mismatch": N_("String should match pattern '{pattern}'"),
    "string_too_short": N_("String should have at least {min_length} characters"),
}
"""What pydantic says of these errors; a test compares it."""


def option(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    flags: tuple[str, ...] = (),
    formerly: str = "",
    **constraints: Any,
) -> Any:
    """A field that is also a flag.

    `flags` are further spellings; `formerly` is a former name that still works and is not shown;
    `constraints` are those of `pydantic.Field` (ge, le, …). A bool becomes `--name/--no-name`.
    """
    extra: dict[str, Any] = {"metavar": metavar, "flags": list(flags), "formerly": formerly}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def sampling_bounds(name: str) -> dict[str, Any]:
    """The constraints of a sampling value."""
    lowest, highest = BOUNDS[name]
    return {"ge": lowest} if highest == float("inf") else {"ge": lowest, "le": highest}


class Options(BaseSettings):
    """The base of one subcommand's options; `section` is its table in config.toml."""

    section: ClassVar[str]
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", defer_build=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        fields = settings_cls.model_fields
        others = InitSettingsSource(settings_cls, _other_variables(fields))
        file = InitSettingsSource(settings_cls, _config_table(settings_cls, cls.section))
        return init_settings, others, env_settings, file


OptionsT = TypeVar("OptionsT", bound=Options)


def config_path() -> Path:
    """`LLAMACHAT_CONFIG`, else config.toml in the user's config folder."""
    named = os.environ.get(ENV_PREFIX + "CONFIG")
    return Path(named).expanduser() if named else paths.config_file()


def add_options(
    parser: argparse.ArgumentParser, options: type[Options], names: Sequence[str] | None = None
) -> None:
    """Give `parser` a flag for every field of `options`, or for `names`; `load` checks the values."""
    for name, field in options.model_fields.items():
        if names is None or name in names:
            _add_option(parser, name, field)


def load(options: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """Merge the flags that were given with the environment, config.toml and the defaults.

    Raises UsageError with one line that names the flag, variable or file to change.
    """
    try:
        return options(**{k: v for k, v in given.items() if k in options.model_fields})
    except ValidationError as error:
        raise UsageError(_explain(options, error, given)) from error


def _add_option(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), f"{name} is not declared with option()"
    text = _(str(field.description)).replace("%", "%%")
    if not isinstance(field.default, (bool, tuple)) and field.default not in (None, ""):
        text += _(" (default: {default})").format(default=field.default)
    kind = _plain_type(field.annotation)
    arguments: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS, "metavar": extra["metavar"]}
    flags = extra["flags"]
    assert isinstance(flags, list)
    kebab = _flag(name)
    if kind is bool:
        del arguments["metavar"]
        action = argparse.BooleanOptionalAction
        parser.add_argument(kebab, *map(str, flags), dest=name, action=action, **arguments)
        if extra["formerly"]:
            hidden = {**arguments, "help": argparse.SUPPRESS}
            parser.add_argument(f"--{extra['formerly']}", dest=name, action=action, **hidden)
        return
    if get_origin(kind) is Literal:
        arguments["choices"] = get_args(kind)
    elif get_origin(kind) is tuple:
        arguments["action"] = "append"
    arguments["metavar"] = arguments["metavar"] or (None if "choices" in arguments else name.upper())
    parser.add_argument(kebab, *map(str, flags), dest=name, **arguments)


def _option_name(field: str) -> str:
    """A field that ends in `_`, because pydantic has its name already, is an option without it."""
    return field.rstrip("_")


def _flag(field: str) -> str:
    return f"--{_option_name(field).replace('_', '-')}"


def _plain_type(annotation: Any) -> Any:
    """The annotation without `| None` and `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain_type(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation


def _other_variables(fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """`LLAMACHAT_NO_STORE=1` means the same as `--no-store`; former names are read, and those without `_`."""
    found: dict[str, Any] = {}
    for name, field in fields.items():
        for spelling in filter(None, (_formerly(field), _option_name(name), name)):
            if value := os.environ.get(ENV_PREFIX + spelling.upper()) if spelling != name else None:
                found[name] = value
            if _plain_type(field.annotation) is bool and _is_set(
                os.environ.get(f"{ENV_PREFIX}NO_{spelling.upper()}", "")
            ):
                found[name] = False
    return found


def _formerly(field: FieldInfo) -> str:
    return str(field.json_schema_extra["formerly"]) if isinstance(field.json_schema_extra, dict) else ""


def _is_set(value: str) -> bool:
    return value.strip().lower() not in ("", "0", "false", "no", "off")


def _config_table(options: type[BaseSettings], section: str) -> dict[str, Any]:
    path = config_path()
    try:
        if os.environ.get(ENV_PREFIX + "CONFIG") and not path.is_file():
            raise UsageError(_("{path} does not exist; LLAMACHAT_CONFIG names it.").format(path=path))
        tables = TomlConfigSettingsSource(options, path).toml_data
    except (OSError, ValueError) as error:
        raise UsageError(
            _("{path} can't be read: {error}.").format(path=path, error=error),
            _("Correct it, or set LLAMACHAT_CONFIG."),
        ) from error
    if unknown := set(tables) - set(SECTIONS):
        there = ", ".join(f"[{name}]" for name in SECTIONS)
        raise UsageError(
            _("{path}: unknown section [{section}].").format(path=path, section=min(unknown)),
            _("Choose one of {there}.").format(there=there),
        )
    table = tables.get(section, {})
    if not isinstance(table, dict):
        raise UsageError(_("{path}: [{section}] must be a table.").format(path=path, section=section))
    fields = options.model_fields
    others = {_formerly(field): name for name, field in fields.items()} | {_option_name(n): n for n in fields}
    names = ((key.replace("-", "_"), value) for key, value in table.items())
    return {others.get(name, name): value for name, value in names}


def _explain(options: type[Options], error: ValidationError, given: Mapping[str, Any]) -> str:
    """One line for the first thing that is wrong, by the name under which it was given."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(map(_option_name, options.model_fields))
        return _("{path}: [{section}] has no option {name!r}; the options are {known}.").format(
            path=config_path(), section=options.section, name=name, known=known
        )
    reason = _reason(first).rstrip(".")
    return _("{where}: {value!r}: {reason}.").format(
        where=_where(options, name, given), value=first["input"], reason=reason[:1].lower() + reason[1:]
    )


def _reason(first: ErrorDetails) -> str:
    """pydantic's words, in the user's language where they are known."""
    known = PYDANTIC.get(first["type"])
    if known:
        context = first.get("ctx", {})
        return _(known).format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()})
    return first["msg"].removeprefix("Value error, ")


def _where(options: type[Options], name: str, given: Mapping[str, Any]) -> str:
    variable = f"{ENV_PREFIX}{_option_name(name).upper()}"
    if name in given:
        return _flag(name)
    if any(key.upper() == variable for key in os.environ):
        return variable
    return f"{config_path()}: {options.section}.{_option_name(name)}"
