"""What a request may say and the library would not understand, put into the library's own words. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from llamachat.engine.failures import Refused

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
CONTENT_OPTIONAL = ("assistant", "function")


def completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `/v1/completions`: null is the default, and without a seed every reply is another."""
    wanted = {key: value for key, value in body.items() if value is not None}
    prompt = wanted.get("prompt")
    if isinstance(prompt, list) and len(prompt) != 1:
        raise Refused(400, "Only one prompt at a time.", param="prompt")
    wanted.setdefault("seed", secrets.randbelow(2**31))
    return wanted


def chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `/v1/chat/completions`."""
    wanted = completion(body)
    wanted["messages"] = messages(wanted.get("messages"))
    _check_continuation(wanted)
    if "max_completion_tokens" in wanted:
        wanted.setdefault("max_tokens", wanted["max_completion_tokens"])
    if "response_format" in wanted:
        wanted["response_format"] = _response_format(wanted["response_format"])
    return wanted


def _check_continuation(wanted: Mapping[str, Any]) -> None:
    last = wanted["messages"][-1]
    if wanted.get("continue_final_message") is True and (last["role"] != "assistant" or not last["content"]):
        message = "`continue_final_message` goes on with a last message of the role assistant."
        raise Refused(400, message, param="continue_final_message")


def messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise Refused(400, "`messages` must be a list of at least one message.", param="messages")
    return [_message(index, message) for index, message in enumerate(value)]


def _message(index: int, message: Any) -> dict[str, Any]:
    where = f"messages[{index}]"
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ROLES:
        raise Refused(400, f"{where}.role is {role!r}, but must be one of {', '.join(ROLES)}.", param=where)
    content = _text(message.get("content"))
    if content is None and role not in CONTENT_OPTIONAL:
        raise Refused(400, f"{where}.content is missing.", param=where)
    # Null is what clients send beside calls of tools; neither the library nor most templates take it.
    return {**message, "role": "system" if role == "developer" else role, "content": content or ""}


def _text(content: Any) -> Any:
    """Parts that are all text, joined: templates for text want one string."""
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content


def _response_format(wanted: Any) -> Any:
    """OpenAI's `json_schema` as the library's `json_object` with a schema."""
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return wanted
    schema = wanted.get("json_schema", {})
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise Refused(400, "`response_format.json_schema.schema` must be an object.", param="response_format")
    return {"type": "json_object", "schema": schema["schema"]}
