"""Several answers to one request, as one stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Receive, Send

from llamachat.engine import several

PING = b": ping - 2026-01-01 00:00:00+00:00\r\n\r\n"


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def test_a_ping_hides_no_event_behind_it() -> None:
    """The library's pings end their lines in CRLF, and the publisher's events in LF."""
    head = {"id": "a", "object": "text_completion", "created": 1, "model": "m"}
    chunk = {**head, "choices": [{"index": 0, "text": "x", "logprobs": None, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    content = [PING, _event(chunk), PING, _event({**head, "choices": [], "usage": usage}), PING]
    sent: list[Message] = []

    async def serve_one(_: Mapping[str, Any], __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in [*content, b"data: [DONE]\n\n"]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def put(message: Message) -> None:
        sent.append(message)

    wanted = several.of({"prompts": ["p"], "n": 2, "seed": 1, "stream": True})
    asyncio.run(several.serve(wanted, serve_one, 1, {"type": "http"}, _never, put))

    lines = b"".join(message.get("body", b"") for message in sent).splitlines()
    said = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    chunks = [json.loads(each) for each in said[:-1]]
    assert said[-1] == b"[DONE]"
    assert [choice["index"] for each in chunks for choice in each["choices"]] == [0, 1]
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert lines.count(PING.strip()) == 6
