"""Read JSON that comes in pieces of any size, as far as it goes."""

from __future__ import annotations

import json

SPACE = " \t\r\n"
NAME_KEYS = ("name", "function")
ARGUMENT_KEYS = ("arguments", "parameters")


class Value:
    """One value; what was read is in `text`, from its first character on.

    Control characters within a string, which no JSON may have, become escapes.
    """

    def __init__(self) -> None:
        self.text = ""
        self.done = self.failed = False
        self._depth = 0
        self._in_string = self._escaped = self._plain = False

    def feed(self, text: str) -> int:
        """Returns how many characters of `text` belong to the value; all of them until it is done."""
        for at, char in enumerate(text):
            if self.done or self.failed:
                return at
            if self._plain and char in SPACE + ",:}]":
                self.done = True
                return at
            self._take(char)
        return len(text)

    def _take(self, char: str) -> None:
        if self._in_string:
            self._in_text(char)
        elif not self.text and char in SPACE:
            return
        else:
            if char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
            elif char == '"':
                self._in_string = True
            elif not self._depth:
                self._plain = True
            self.failed = self._depth < 0
            self.done = char in "}]" and self._depth == 0
            self.text += char

    def _in_text(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False
            self.done = self._depth == 0
        elif char < " ":
            char = json.dumps(char)[1:-1]
        self.text += char


class Call:
    """An object with a name and arguments: `name` once it is known, `arguments` as far as they are there."""

    def __init__(self) -> None:
        self.raw = ""
        self.name: str | None = None
        self.arguments = ""
        self.done = self.failed = False
        self._expects = "{"
        self._key: str | None = None
        self._value = Value()

    def feed(self, text: str) -> int:
        """Returns how many characters of `text` were read."""
        at = 0
        while at < len(text) and not (self.done or self.failed):
            at += self._step(text, at)
        self.raw += text[:at]
        return at

    def _step(self, text: str, at: int) -> int:
        if self._expects in ("key", "value"):
            count = self._value.feed(text[at:])
            self._read()
            return count
        char = text[at]
        if char in SPACE:
            return 1
        if char == "}" and self._expects in ("key or }", ", or }"):
            self.done = True
            return 1
        if self._expects == "key or }":
            self._expects, self._value = "key", Value()
            return 0
        if char not in self._expects:
            self.failed = True
            return 0
        self._expects = {"{": "key or }", ":": "value", ",": "key"}[char]
        self._value = Value()
        return 1

    def _read(self) -> None:
        """Take over what was read of a key or a value."""
        value = self._value
        self.failed = value.failed
        if self._expects == "key":
            if value.text[:1] not in ("", '"'):
                self.failed = True
            elif value.done:
                self._key, self._expects = _loaded(value.text), ":"
            return
        if self._key in ARGUMENT_KEYS and value.text[:1] != '"':
            self.arguments = value.text
        if value.done:
            self._end_value(value.text)
            self._expects = ", or }"

    def _end_value(self, text: str) -> None:
        loaded = _loaded(text) if text[:1] == '"' else None
        if self._key in NAME_KEYS and loaded:
            self.name = loaded
        elif self._key in ARGUMENT_KEYS:  # some models write them as JSON in a string
            self.arguments = loaded if loaded is not None else "" if text == "null" else text


def _loaded(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
