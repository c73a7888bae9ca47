"""A request's body, from bytes to what the library's own models of it take."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import llama_cpp.server.types as types
from pydantic import BaseModel, ValidationError

from llamachat.engine import body_limits, embeddings
from llamachat.engine.body_limits import Limits
from llamachat.engine.failures import Refused
from llamachat.tools.request import NO_PARAMETERS

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
OWN_FIELDS = ("prompts", "tokens", "allowed_tools")
"""What a body has only between here and the engine."""
NOT_THERE = {"audio": "audio", "web_search_options": "web search"}
MOST_ANSWERS = 128
MOST_ANSWERS_IN_ALL = 1024
MOST_LOGPROBS = 20
FORMATS = ("text", "json_object", "json_schema")
LOGPROBS_OF = ("model", "allowed")
CONTENT_OPTIONAL = ("assistant", "function")


@dataclass(frozen=True)
class Kind:
    """How one path's body is put into the library's words and checked, and whether it needs the model.

    `has_choices` if it may ask for several answers.
    """

    translate: Callable[[Mapping[str, Any]], dict[str, Any]]
    model: type[BaseModel]
    needs_model: bool = False
    has_choices: bool = False


def checked(content: bytes, kind: Kind, limits: Limits) -> dict[str, Any]:
    """The body in the library's words, checked against the library's own model of it; raises Refused."""
    body = parsed(content)
    if kind.has_choices:
        body_limits.check_body(body, limits)
    wanted = kind.translate(body)
    try:
        valid = kind.model.model_validate(wanted)
    except ValidationError as error:
        raise _invalid(error) from error
    # As the library takes it: 1 and "yes" are true, and embeddings don't stream.
    return {**wanted, "stream": getattr(valid, "stream", False)}


def parsed(content: bytes) -> dict[str, Any]:
    """Raises Refused for what is not an object of JSON."""
    body_limits.check_values(content)
    try:
        body = json.loads(content, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.")
    return body


def encoded(body: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; raises Refused on half of a surrogate pair, which could not be in an answer either."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Refused(400, "The body has halves of surrogate pairs, which are not text.") from error
    except RecursionError as error:
        raise Refused(400, f"The body is nested too deeply: {error}") from error


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _invalid(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Which of several types it might be is no part of the request.
    param = ".".join(str(part) for part in first["loc"] if str(part).isidentifier() or isinstance(part, int))
    return Refused(400, f"{param}: {first['msg']}", param=param)


def completion(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `/v1/completions`: in `prompts` all that it asks, for the library takes one text alone."""
    wanted = _plain(body)
    wanted["prompts"], wanted["prompt"] = _prompts(wanted.get("prompt", "")), ""
    wanted["best_of"] = _count(wanted, "best_of", wanted["n"], least=wanted["n"], most=MOST_ANSWERS)
    if wanted["best_of"] > wanted["n"] and wanted.get("stream"):
        message = "best_of can't be streamed: which answer is best is known at the end."
        raise Refused(400, message, param="best_of")
    if wanted["best_of"] * len(wanted["prompts"]) > MOST_ANSWERS_IN_ALL:
        raise Refused(400, f"prompt: a request gets up to {MOST_ANSWERS_IN_ALL} answers.", param="prompt")
    return wanted


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """What chats and completions share: null is the default, and without a seed every reply is another."""
    wanted = {key: value for key, value in body.items() if value is not None and key not in OWN_FIELDS}
    wanted.setdefault("seed", secrets.randbelow(2**31))
    wanted["seed"] = _count(wanted, "seed", 0, least=-(2**63), most=2**64)
    wanted["n"] = _count(wanted, "n", 1, least=1, most=MOST_ANSWERS)
    _check_logprobs(wanted)
    return wanted


def _count(wanted: Mapping[str, Any], name: str, default: int, *, least: int, most: int) -> int:
    value = wanted.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise Refused(400, f"{name} must be a whole number from {least} to {most}.", param=name)
    return value


def _prompts(value: Any) -> list[Any]:
    """Texts or lists of tokens, from all forms in which OpenAI takes one or several."""
    found = [value] if isinstance(value, str) or _are_tokens(value) else value
    if isinstance(found, list) and found:
        are_texts = all(isinstance(each, str) for each in found)
        if are_texts or all(_are_tokens(each) for each in found):
            return found
    forms = "a text, a list of texts, a list of tokens or a list of such lists"
    raise Refused(400, f"prompt must be {forms}.", param="prompt")


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `/v1/chat/completions`."""
    wanted = _plain(body)
    wanted["messages"] = messages(wanted.get("messages"))
    _check_continuation(wanted)
    for name, what in NOT_THERE.items():
        if wanted.get(name):
            raise Refused(400, f"{name}: this server has no {what}.", param=name)
    modalities = wanted.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise Refused(400, "modalities: this server writes text alone.", param="modalities")
    if "max_completion_tokens" in wanted:
        wanted.setdefault("max_tokens", wanted["max_completion_tokens"])
    for name in ("tools", "functions"):
        if isinstance(wanted.get(name), list):
            wanted[name] = [_with_parameters(each) for each in wanted[name]]
    choice = wanted.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        wanted["allowed_tools"], wanted["tool_choice"] = choice, "auto"
    if "response_format" in wanted:
        wanted["response_format"] = _response_format(wanted["response_format"])
    return wanted


def _check_logprobs(wanted: Mapping[str, Any]) -> None:
    """How many tokens are `top_logprobs` of a chat, and `logprobs` of a completion."""
    name = "top_logprobs" if "messages" in wanted else "logprobs"
    _count(wanted, name, 0, least=0, most=MOST_LOGPROBS)
    if wanted.get(name) and "messages" in wanted and wanted.get("logprobs") is not True:
        raise Refused(400, "top_logprobs needs `logprobs: true`.", param=name)
    if "logprobs" in wanted and wanted.get("echo") is True:
        raise Refused(400, "echo with logprobs: the prompt's tokens have none here.", param="echo")
    if wanted.get("logprobs_of", "model") not in LOGPROBS_OF:
        message = f"logprobs_of must be one of {', '.join(LOGPROBS_OF)}."
        raise Refused(400, message, param="logprobs_of")


def _check_continuation(wanted: Mapping[str, Any]) -> None:
    last = wanted["messages"][-1]
    if wanted.get("continue_final_message") is True and (last["role"] != "assistant" or not last["content"]):
        message = "`continue_final_message` needs a last message of the role assistant."
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
    # Clients send null beside tool calls; neither the library nor most templates take it.
    return {**message, "role": "system" if role == "developer" else role, "content": content or ""}


def has_pictures(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a message has parts that are not text."""
    return any(not isinstance(message.get("content") or "", str) for message in messages)


def _text(content: Any) -> Any:
    """Parts that are all text, joined: templates for text want one string."""
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content


def _with_parameters(tool: Any) -> Any:
    """A function without `parameters` takes none; the library's models want them said."""
    if not isinstance(tool, dict):
        return tool
    if isinstance(tool.get("function"), dict):
        return {**tool, "function": _with_parameters(tool["function"])}
    known = {key: value for key, value in tool.items() if value is not None}
    return {"parameters": dict(NO_PARAMETERS), **known} if "name" in known else known


def wanted_schema(response_format: Any) -> Any:
    """Of a checked request; None where any text will do."""
    if not isinstance(response_format, dict) or response_format.get("type") != "json_object":
        return None
    given = response_format.get("schema")
    return {"type": "object"} if given is None else given


def _response_format(wanted: Any) -> Any:
    """OpenAI's `json_schema` as the library's `json_object` with a schema."""
    if not isinstance(wanted, dict) or wanted.get("type") not in FORMATS:
        message = f"response_format must be an object with one of the types {', '.join(FORMATS)}."
        raise Refused(400, message, param="response_format")
    if wanted["type"] != "json_schema":
        return wanted
    schema = wanted.get("json_schema", {})
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise Refused(400, "`response_format.json_schema.schema` must be an object.", param="response_format")
    return {"type": "json_object", "schema": schema["schema"]}


COMPLETION = Kind(completion, types.CreateCompletionRequest, needs_model=True, has_choices=True)
KINDS: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind(chat, types.CreateChatCompletionRequest, needs_model=True, has_choices=True),
    "/v1/completions": COMPLETION,
    "/v1/engines/copilot-codex/completions": COMPLETION,
    "/v1/embeddings": Kind(embeddings.request, embeddings.EmbeddingRequest, needs_model=True),
    "/extras/chat/tokenize/count": Kind(chat, types.CreateChatCompletionRequest),
    "/extras/tokenize": Kind(dict, types.TokenizeInputRequest),
    "/extras/tokenize/count": Kind(dict, types.TokenizeInputRequest),
    "/extras/detokenize": Kind(dict, types.DetokenizeInputRequest),
}
"""By path: every POST route that there is."""
