"""Messages and tools as a chat template takes them, also one that does not know tools."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llamachat.tools.family import Family
from llamachat.tools.request import Offer

Message = dict[str, Any]
MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")

INTRODUCTION = """\
You can call functions. To call one, write a JSON object in tags:
<tool_call>
{"name": "the function's name", "arguments": {"the argument's name": "its value"}}
</tool_call>
Its result comes in <tool_response> tags. Call a function where it helps to answer; otherwise answer in text.
The functions, each with the JSON Schema of its arguments:
"""
MUST = "Call a function now."


def for_template(messages: Iterable[Message], family: Family) -> list[Message]:
    """Messages for a template that knows tools: calls as it reads them."""
    result = []
    for message in messages:
        message = dict(message)
        if calls := calls_of(message):
            message.pop("function_call", None)
            message["tool_calls"] = [_call(call, family) for call in calls]
        if message["role"] == "function":
            message["role"] = "tool"
        if "tool_call_id" in message:
            message["tool_call_id"] = call_id(message["tool_call_id"], family)
        result.append(message)
    return result


def without_template(messages: Sequence[Message], offer: Offer | None) -> list[Message]:
    """Messages for a template that doesn't: tools, calls and results as text."""
    result: list[Message] = []
    for message in messages:
        if message["role"] in ("tool", "function"):
            text = f"<tool_response>\n{_text(message)}\n</tool_response>"
            if result and result[-1].get("is_result"):
                result[-1]["content"] += "\n" + text
            else:
                result.append({"role": "user", "content": text, "is_result": True})
            continue
        calls = [_written(call) for call in calls_of(message)]
        message = {key: value for key, value in message.items() if key not in ("tool_calls", "function_call")}
        if calls:
            message["content"] = "\n".join([*filter(None, [_text(message)]), *calls])
        result.append(message)
    if offer is not None:
        result = _introduced(result, offer)
    return [{key: value for key, value in message.items() if key != "is_result"} for message in result]


def _introduced(messages: list[Message], offer: Offer) -> list[Message]:
    functions = (json.dumps(tool.as_dict()["function"], ensure_ascii=False) for tool in offer.shown)
    text = INTRODUCTION + "\n".join(functions) + (f"\n{MUST}" if offer.needed else "")
    first = messages[0]
    if first["role"] == "system" and isinstance(first["content"], str):
        return [{**first, "content": f"{first['content']}\n\n{text}".lstrip()}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls in a message of the assistant, also of the older form."""
    legacy = message.get("function_call")
    calls = message.get("tool_calls") or ([{"type": "function", "function": legacy}] if legacy else [])
    return [call for call in calls if isinstance(call, dict) and isinstance(call.get("function"), dict)]


def _call(call: dict[str, Any], family: Family) -> dict[str, Any]:
    function = dict(call["function"])
    if family is not Family.DEEPSEEK and family is not Family.DEEPSEEK_PLAIN:
        function["arguments"] = _loaded(function.get("arguments"))
    return {**call, "id": call_id(call.get("id"), family), "function": function}


def call_id(given: Any, family: Family) -> str:
    """Mistral's templates take ids of nine letters and digits alone."""
    text = str(given or "")
    if family not in (Family.MISTRAL, Family.MISTRAL_ARGS) or MISTRAL_ID.fullmatch(text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:9]


def _written(call: dict[str, Any]) -> str:
    function = call["function"]
    value = {"name": function.get("name"), "arguments": _loaded(function.get("arguments"))}
    return f"<tool_call>\n{json.dumps(value, ensure_ascii=False)}\n</tool_call>"


def _loaded(arguments: Any) -> Any:
    """As a value where it is JSON: most templates write it as JSON themselves."""
    if not isinstance(arguments, str):
        return arguments if arguments is not None else {}
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return arguments


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
