"""A request to `/v1/responses` as one to `/v1/chat/completions`, which checks what both have. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from llamachat.engine.failures import Refused

SAME = ("model", "temperature", "top_p", "top_logprobs", "parallel_tool_calls", "user", "stream")
SAMPLING = (
    "seed", "stop", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "logit_bias",
    "priority", "logprobs_of",
)  # fmt: skip
"""Fields of this server's chats that may come along."""
ABSENT = {
    "background": "responses can't be made in the background; stream them",
    "conversation": "conversations are not kept here; use previous_response_id",
    "prompt": "prompts are not kept here; send instructions and input",
}
TEXT_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
CHAT_FIELDS = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}
"""Where an error of the chat is in the request to `/v1/responses`."""


def input_items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `input` adds to the conversation, each item with its type and an id; raises Refused."""
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": [{"type": "input_text", "text": given}]}]
    if given is None and body.get("previous_response_id") is not None:
        given = []
    if not isinstance(given, list):
        raise Refused(400, "`input` must be a text or a list of items.", param="input")
    return [_item(item, f"input[{number}]") for number, item in enumerate(given)]


def _item(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Refused(400, f"{where} must be an object.", param=where)
    kind = _kind(item) or ("item_reference" if set(item) == {"id"} else "message")
    head = {"message": "msg", "function_call": "fc", "reasoning": "rs"}.get(kind, "item")
    return {**item, "type": kind, "id": item.get("id") or new_id(head)}


def _kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


def new_id(head: str) -> str:
    return f"{head}_{secrets.token_hex(16)}"


def chat_body(body: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The request of a chat; `items` are the whole conversation. Raises Refused for what isn't there."""
    for name, why in ABSENT.items():
        if body.get(name) not in (None, False):
            raise Refused(400, f"`{name}` is not available: {why}.", param=name)
    if body.get("truncation") not in (None, "disabled", "auto"):
        raise Refused(400, "`truncation` must be disabled or auto.", param="truncation")
    chat = {name: body[name] for name in (*SAME, *SAMPLING) if body.get(name) is not None}
    chat["messages"] = [*_instructions(body.get("instructions")), *messages(items)]
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        chat["tools"] = _tools(body["tools"])
    if body.get("tool_choice") is not None:
        chat["tool_choice"] = _choice(body["tool_choice"])
    if (form := _form(body.get("text"))) is not None:
        chat["response_format"] = form
    if "message.output_text.logprobs" in _list(body.get("include")):
        chat["logprobs"] = True
    else:
        chat.pop("top_logprobs", None)
    if chat.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return chat


def _instructions(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, list):
        return messages(_item(item, f"instructions[{number}]") for number, item in enumerate(given))
    return [] if given is None else [{"role": "system", "content": given}]


def messages(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items as messages: the calls of one turn, and the text before them, are one message."""
    found: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        kind, where = item["type"], f"input[{number}]"
        if kind == "message":
            content = item.get("content")
            found.append({"role": item.get("role"), "content": _content(content, f"{where}.content")})
        elif kind == "function_call":
            if not found or found[-1]["role"] != "assistant":
                found.append({"role": "assistant", "content": None})
            found[-1].setdefault("tool_calls", []).append(_call(item, where))
        elif kind == "function_call_output":
            output = _content(item.get("output"), f"{where}.output")
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
        elif kind != "reasoning":  # templates leave out what was thought in earlier turns
            raise Refused(400, f"{where}: items of the type {kind} are not available.", param=where)
    return found


def _call(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    name, arguments = item.get("name"), item.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise Refused(400, f"{where}: a function_call needs `name` and `arguments`, both texts.", param=where)
    function = {"name": name, "arguments": arguments}
    return {"id": item.get("call_id") or item["id"], "type": "function", "function": function}


def _content(given: Any, where: str) -> Any:
    if not isinstance(given, list):
        return given
    return [_part(part, f"{where}[{number}]") for number, part in enumerate(given)]


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = _kind(part)
    if kind in TEXT_PARTS and isinstance(part.get(TEXT_PARTS[kind]), str):
        return {"type": "text", "text": part[TEXT_PARTS[kind]]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    if kind == "input_image":
        raise Refused(400, f"{where}: only pictures with an image_url; files are not kept here.", param=where)
    if kind in TEXT_PARTS:
        raise Refused(400, f"{where}.{TEXT_PARTS[kind]} must be a text.", param=where)
    raise Refused(400, f"{where}: parts of the type {kind} are not available.", param=where)


def _tools(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise Refused(400, "`tools` must be a list.", param="tools")
    return [_tool(tool, f"tools[{number}]") for number, tool in enumerate(given)]


def _tool(tool: Any, where: str) -> dict[str, Any]:
    kind = _kind(tool)
    if kind != "function":
        message = f"{where}: {kind} is not available; only tools of the type function are."
        raise Refused(400, message, param="tools")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _choice(choice: Any) -> Any:
    """The chat's `tool_choice`, which takes `allowed_tools` in this form, too."""
    kind = _kind(choice)
    if kind == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if isinstance(choice, dict) and kind != "allowed_tools":
        message = f"tool_choice: {kind} is not available; name a function."
        raise Refused(400, message, param="tool_choice")
    return choice


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _form(text: Any) -> dict[str, Any] | None:
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict):
        return None
    if form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {k: v for k, v in form.items() if k != "type"}}


def error_of_chat(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error of the chat, in the words of the request that caused it."""
    param = str(error.get("param") or "")
    head = next(
        (name for name in CHAT_FIELDS if param == name or param.startswith((f"{name}[", f"{name}."))), ""
    )
    if not head:
        return dict(error)
    # Where in the messages it is says nothing about the place in `input`.
    return {**error, "param": CHAT_FIELDS[head]}
