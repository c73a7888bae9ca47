"""What a request says about tools: `tools` and `tool_choice`, or the older `functions`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_TOOLS = 128
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


class ToolError(ValueError):
    """A request whose tools can't be served; `param` is the field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Tool:
    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: NO_PARAMETERS)
    """A JSON Schema."""

    def as_dict(self) -> dict[str, Any]:
        """As templates and OpenAI's API have it."""
        described = {"description": self.description} if self.description else {}
        return {
            "type": "function",
            "function": {"name": self.name, **described, "parameters": dict(self.parameters)},
        }


@dataclass(frozen=True)
class Offer:
    """The tools that the model may call, or has to where a call is `needed`."""

    tools: tuple[Tool, ...]
    needed: bool = False
    parallel: bool = True
    legacy: bool = False
    """Asked and answered as `functions` and `function_call`, one call an answer."""
    more: tuple[Tool, ...] = ()
    """All that the model sees, where it may not call each of them."""

    @property
    def shown(self) -> tuple[Tool, ...]:
        return self.more or self.tools

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)


def read(
    tools: Any, tool_choice: Any, functions: Any = None, function_call: Any = None, parallel: bool = True
) -> Offer | None:
    """None if there is nothing to call; raises ToolError."""
    legacy = bool(functions) and not tools
    where, choice_name = ("functions", "function_call") if legacy else ("tools", "tool_choice")
    choice = function_call if legacy else tool_choice
    given = [{"type": "function", "function": each} for each in functions] if legacy else tools or []
    if not isinstance(given, list) or len(given) > MAX_TOOLS:
        raise ToolError(where, f"`{where}` must be a list of up to {MAX_TOOLS} functions.")
    found = tuple(_tool(each, f"{where}[{number}]") for number, each in enumerate(given))
    if len({tool.name for tool in found}) < len(found):
        raise ToolError(where, f"`{where}` has two functions of one name.")
    if choice == "none" or (not found and choice in (None, "auto")):
        return None
    if choice in (None, "auto", "required"):
        if not found:
            raise ToolError(choice_name, f"`{choice_name}` needs `{where}`.")
        return Offer(found, choice == "required", parallel and not legacy, legacy)
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(choice, found, parallel)
    name = _chosen(choice, choice_name, legacy)
    named = tuple(tool for tool in found if tool.name == name)
    if not named:
        raise ToolError(choice_name, f"{choice_name}: {name!r} is not in `{where}`.")
    return Offer(named, needed=True, parallel=False, legacy=legacy)


def _allowed(choice: Mapping[str, Any], found: tuple[Tool, ...], parallel: bool) -> Offer:
    """All are shown: what was read of them serves the next choice, too."""
    said = choice.get("allowed_tools", choice)  # OpenAI's responses have no object in it
    mode, given = (said.get("mode"), said.get("tools")) if isinstance(said, dict) else (None, None)
    if mode not in ("auto", "required") or not isinstance(given, list) or not given:
        raise ToolError("tool_choice", "allowed_tools needs a `mode`, auto or required, and `tools`.")
    names = [_chosen(each, "tool_choice", legacy=isinstance(each, dict) and "name" in each) for each in given]
    tools = tuple(tool for tool in found if tool.name in names)
    if unknown := [name for name in names if name not in [tool.name for tool in tools]]:
        raise ToolError("tool_choice", f"tool_choice: {unknown[0]!r} is not in `tools`.")
    return Offer(tools, mode == "required", parallel, more=found)


def _chosen(choice: Any, where: str, legacy: bool) -> Any:
    if isinstance(choice, dict):
        inner = choice if legacy else choice.get("function")
        if isinstance(inner, dict) and (legacy or choice.get("type") == "function"):
            return inner.get("name")
    raise ToolError(where, f"`{where}` must be none, auto, required, allowed_tools or name a function.")


def _tool(value: Any, where: str) -> Tool:
    kind = value.get("type") if isinstance(value, dict) else None
    function = value.get("function") if kind == "function" else None
    if not isinstance(function, dict):
        raise ToolError(where, f"{where}: only tools of the type function are supported, not {kind!r}.")
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ToolError(where, f"{where}: a name has 1 to 64 letters, digits, dots, dashes or underscores.")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise ToolError(where, f"{where}.function.parameters must be a JSON Schema.")
    return Tool(name, str(function.get("description") or ""), parameters or NO_PARAMETERS)
