"""Responses that a later request may go on from, in memory: the latest ones, bounded in number and bytes."""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_RESPONSES = 1000
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Stored:
    response: bytes
    items: bytes
    """JSON of the input that it added to the conversation."""
    previous: str | None

    @property
    def size(self) -> int:
        return len(self.response) + len(self.items)


class ResponseStore:
    """Lives on the event loop."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self.max_responses, self.max_bytes = max_responses, max_bytes
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._size = 0

    def put(self, response: dict[str, Any], items: list[dict[str, Any]]) -> None:
        stored = _Stored(_json(response), _json(items), response["previous_response_id"])
        self._stored[response["id"]] = stored
        self._size += stored.size
        self._touch(response["id"])
        while len(self._stored) > self.max_responses or self._size > self.max_bytes:
            self.delete(next(iter(self._stored)))

    def response(self, name: str) -> dict[str, Any]:
        """Raises KeyError."""
        found: dict[str, Any] = json.loads(self._stored[name].response)
        return found

    def input_of(self, name: str) -> list[dict[str, Any]]:
        """Raises KeyError."""
        found: list[dict[str, Any]] = json.loads(self._stored[name].items)
        return found

    def delete(self, name: str) -> None:
        """Raises KeyError."""
        self._size -= self._stored.pop(name).size

    def conversation(self, name: str) -> list[dict[str, Any]]:
        """All items up to the end of this response; raises KeyError with the id of one that is gone."""
        chain = list(self._chain(name))
        self._touch(name)
        return [
            item
            for each in reversed(chain)
            for item in (*self.input_of(each), *self.response(each)["output"])
        ]

    def _chain(self, name: str | None) -> Iterator[str]:
        """Its id, then those that it goes on from; raises KeyError."""
        while name is not None:
            stored = self._stored[name]
            yield name
            name = stored.previous

    def _touch(self, name: str) -> None:
        """The first of a chain is dropped last: without it, those that follow are of no use."""
        with contextlib.suppress(KeyError):
            for each in self._chain(name):
                self._stored.move_to_end(each)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
