"""An answer of the chat as a Response of OpenAI's API, and as the events of its stream. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llamachat.engine.responses import new_id

Event = dict[str, Any]
ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of the request that the response repeats, with what they are by default."""


def new_response(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    given = {name: body[name] for name in ECHOED if body.get(name) is not None}
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        **ECHOED,
        **given,
    }


@dataclass
class _Item:
    """An item of the output while it is written."""

    kind: str
    id: str
    index: int
    name: str = ""
    call_id: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def part(self) -> dict[str, Any]:
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": self.logprobs}

    def as_dict(self, status: str) -> dict[str, Any]:
        head = {"id": self.id, "type": self.kind, "status": status}
        if self.kind == "function_call":
            return {**head, "call_id": self.call_id, "name": self.name, "arguments": self.text}
        content = [] if status == "in_progress" else [self.part]
        if self.kind == "reasoning":
            return {**head, "summary": [], "content": content}
        return {**head, "role": "assistant", "content": content}


class ResponseWriter:
    """Takes what a chat writes; `response` is what has become of it, and each method returns its events."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.response = response
        self._item: _Item | None = None
        self._reason = "stop"
        self._sequence_number = 0

    def begin(self) -> list[Event]:
        return [
            self._event(f"response.{name}", response=dict(self.response))
            for name in ("created", "in_progress")
        ]

    def chunk(self, chunk: Mapping[str, Any]) -> list[Event]:
        """A chunk of the chat's stream."""
        events: list[Event] = []
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            events += self._delta(choice["delta"], choice.get("logprobs"))
        self._use(chunk)
        return events

    def completion(self, answer: Mapping[str, Any]) -> list[Event]:
        """A whole answer of the chat."""
        choice = answer["choices"][0]
        self._reason = choice["finish_reason"]
        self._use(answer)
        return [*self._delta(choice["message"], choice.get("logprobs")), *self.finish()]

    def finish(self) -> list[Event]:
        is_cut = self._reason == "length"
        events = [] if self.response["output"] or self._item else self._open("message")
        status = "incomplete" if is_cut else "completed"
        events += self._close(status)
        self.response["status"] = status
        if is_cut:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*events, self._event(f"response.{status}", response=dict(self.response))]

    def fail(self, error: Mapping[str, Any]) -> list[Event]:
        events = self._close("incomplete")
        code = error.get("code") or error.get("type") or "server_error"
        self.response |= {"status": "failed", "error": {"code": code, "message": error.get("message", "")}}
        return [*events, self._event("response.failed", response=dict(self.response))]

    def _delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None) -> list[Event]:
        """Of a message, or a part of it."""
        events: list[Event] = []
        for kind, name in (("reasoning", "reasoning_content"), ("message", "content")):
            if text := delta.get(name):
                events += self._write(kind, text, (logprobs or {}).get("content") or [])
        for call in delta.get("tool_calls") or ():
            function = call["function"]
            if function.get("name"):
                events += self._open("function_call", function["name"], call["id"])
            if function.get("arguments"):
                events += self._write("function_call", function["arguments"], [])
        return events

    def _write(self, kind: str, text: str, logprobs: list[dict[str, Any]]) -> list[Event]:
        events = [] if self._item is not None and self._item.kind == kind else self._open(kind)
        assert self._item is not None
        self._item.pieces.append(text)
        where = self._where(self._item)
        if kind == "function_call":
            return [*events, self._event("response.function_call_arguments.delta", **where, delta=text)]
        where["content_index"] = 0
        if kind == "reasoning":
            return [*events, self._event("response.reasoning_text.delta", **where, delta=text)]
        self._item.logprobs += logprobs
        return [*events, self._event("response.output_text.delta", **where, delta=text, logprobs=logprobs)]

    def _open(self, kind: str, name: str = "", call_id: str = "") -> list[Event]:
        events = self._close("completed")
        head = {"message": "msg", "function_call": "fc", "reasoning": "rs"}[kind]
        item = self._item = _Item(kind, new_id(head), len(self.response["output"]), name, call_id)
        added = {"output_index": item.index, "item": item.as_dict("in_progress")}
        events.append(self._event("response.output_item.added", **added))
        if kind != "function_call":
            where = {**self._where(item), "content_index": 0, "part": item.part}
            events.append(self._event("response.content_part.added", **where))
        return events

    def _close(self, status: str) -> list[Event]:
        item, self._item = self._item, None
        if item is None:
            return []
        where = self._where(item)
        if item.kind == "function_call":
            done = {**where, "name": item.name, "arguments": item.text}
            events = [self._event("response.function_call_arguments.done", **done)]
        else:
            where["content_index"] = 0
            logprobs = {"logprobs": item.logprobs} if item.kind == "message" else {}
            kind = item.part["type"]
            events = [
                self._event(f"response.{kind}.done", **where, text=item.text, **logprobs),
                self._event("response.content_part.done", **where, part=item.part),
            ]
        finished = item.as_dict(status)
        self.response["output"] = [*self.response["output"], finished]
        return [*events, self._event("response.output_item.done", output_index=item.index, item=finished)]

    def _use(self, answer: Mapping[str, Any]) -> None:
        if (usage := answer.get("usage")) is not None:
            read, written = (usage.get(f"{name}_tokens_details") or {} for name in ("prompt", "completion"))
            self.response["usage"] = {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": read.get("cached_tokens", 0)},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens", 0)},
                "total_tokens": usage["total_tokens"],
            }

    @staticmethod
    def _where(item: _Item) -> dict[str, Any]:
        return {"item_id": item.id, "output_index": item.index}

    def _event(self, kind: str, **fields: Any) -> Event:
        self._sequence_number += 1
        return {"type": kind, "sequence_number": self._sequence_number - 1, **fields}
