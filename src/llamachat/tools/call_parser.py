"""Tell tool calls from the text around them, in pieces of any size."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from llamachat.tools.answer_parts import Arguments, CallBegins, Event, Text, Thinking
from llamachat.tools.family import Family
from llamachat.tools.json_pieces import Call, Value

THINK, THINK_END = "<think>", "</think>"
MAX_HEAD = 300
"""Characters between a marker and the arguments, behind which it was not a call."""


@dataclass(frozen=True)
class _Form:
    """`starts` begin a call, or several; `ends` may come behind one, and `again` begins another."""

    starts: tuple[str, ...]
    ends: tuple[str, ...] = ()
    again: tuple[str, ...] = ("{",)
    last: str = ""
    """The end of all calls of a section."""
    head: re.Pattern[str] | None = None
    """What is between the start and the arguments, with the name; None if both are in an object."""


_MISTRAL_HEAD = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\s*[\w-]+\s*)?(?:\[ARGS\])?\s*")
_DEEPSEEK_HEAD = re.compile(
    r"\s*(?:<｜tool▁call▁begin｜>)?\s*(?:function<｜tool▁sep｜>)?([\w.-]+)(?:<｜tool▁sep｜>)?\s*(?:```(?:json)?\s*)?"
)
_DEEPSEEK = _Form(
    ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
    ("```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
    ("<｜tool▁call▁begin｜>",),
    "<｜tool▁calls▁end｜>",
    _DEEPSEEK_HEAD,
)
_MISTRAL = _Form(("[TOOL_CALLS]",), (",", "]"), ("{",), "]", _MISTRAL_HEAD)
FORMS = {
    Family.HERMES: _Form(("<tool_call>",), (",", "]", "</tool_call>"), last="</tool_call>"),
    Family.QWEN_CODER: _Form(("<tool_call>",), ("</tool_call>",), last="</tool_call>"),
    Family.LLAMA: _Form(("<|python_tag|>",), (";",)),
    Family.MISTRAL: _MISTRAL,
    Family.MISTRAL_ARGS: _MISTRAL,
    Family.DEEPSEEK: _DEEPSEEK,
    Family.DEEPSEEK_PLAIN: _DEEPSEEK,
}

BUILT_IN = re.compile(r'([\w.-]+)\.call\((\w+)="(.*)"\)', re.DOTALL)
INTERPRETERS = ("code_interpreter", "ipython", "python")


class AnswerParser:
    """Goes from state to state; the method of a state's name reads on, and says whether it could."""

    def __init__(self, state: str) -> None:
        self._held = ""
        self._events: list[Event] = []
        self._state = state
        self._calls = self._told = 0
        """The calls that have ended; the characters of this one's arguments that were told."""
        self._value = Value()

    def feed(self, text: str) -> list[Event]:
        self._held += text
        while self._held and getattr(self, f"_{self._state}")():
            pass
        events, self._events = self._events, []
        return events

    def finish(self) -> list[Event]:
        """What was held back: it became no call, or was cut."""
        raise NotImplementedError

    def _arguments(self) -> bool:
        self._take(self._value.feed(self._held))
        self._tell_arguments(self._value.text)
        if self._value.done or self._value.failed:
            self._end_call()
            return True
        return False

    def _begin_call(self, name: str) -> None:
        self._events.append(CallBegins(self._calls, name))
        self._value, self._told = Value(), 0

    def _end_call(self) -> None:
        self._calls += 1

    def _tell_arguments(self, arguments: str) -> None:
        if more := arguments[self._told :]:
            self._events.append(Arguments(self._calls, more))
            self._told = len(arguments)

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken


class Parser(AnswerParser):
    """`names` are those of the tools, and `thinks` says that the prompt opened `<think>`."""

    def __init__(self, family: Family, names: Collection[str], thinks: bool = False) -> None:
        super().__init__("think" if thinks else "begin")
        self._family, self._names, self._form = family, names, FORMS[family]
        self._opening = ""
        """What was read since the marker, in case that it was not a call."""
        self._call = Call()
        self._is_bare = self._begun = self._behind_call = False

    def finish(self) -> list[Event]:
        if self._state == "python":
            self._end_python()
        elif self._state in ("section", "open", "named") or (self._state == "object" and not self._begun):
            self._give_back()
        if self._state in ("begin", "think", "text"):
            self._tell(self._held if self._held.strip() or not self._calls else "")
        self._held = ""
        return self.feed("")

    def _begin(self) -> bool:
        text = self._held.lstrip()
        if THINK.startswith(text[: len(THINK)]) and len(text) < len(THINK):
            return False
        if text.startswith(THINK):
            self._state = "think"
        elif self._family is Family.LLAMA and text.startswith("{"):
            self._is_bare = True
            self._skip(len(self._held) - len(text))
            self._state = "open"
        else:
            self._state = "text"
        return True

    def _think(self) -> bool:
        at = self._held.find(THINK_END)
        if at >= 0:
            self._tell(self._take(at + len(THINK_END)))
            self._state = "begin"
            return True
        self._tell(self._take(len(self._held) - partial(self._held, (THINK_END,))))
        return False

    def _text(self) -> bool:
        found = [(at, start) for start in self._form.starts if (at := self._held.find(start)) >= 0]
        if found:
            at, start = min(found)
            before = self._held[:at].rstrip()
            self._tell(self._take(len(before)))
            self._skip(at - len(before) + len(start))
            self._is_bare = False
            self._state = "section"
            return True
        kept = self._held[: len(self._held) - partial(self._held, self._form.starts)].rstrip()
        self._tell(self._take(len(kept)))
        return False

    def _section(self) -> bool:
        """Behind a marker."""
        first = self._held.lstrip()[:1]
        if not first:
            return False
        if first == "[" and self._family is not Family.LLAMA:
            self._skip(self._held.index("[") + 1)
            self._state = "open"
        elif first == "{":
            self._state = "open"
        elif self._form.head is not None:
            self._state = "named"
        elif self._family is Family.LLAMA:
            self._state = "python"
        else:
            self._give_back()
        return True

    def _open(self) -> bool:
        """Before an object."""
        text = self._held.lstrip()
        if not text:
            return False
        if text.startswith("{"):
            self._skip(len(self._held) - len(text))
            self._call, self._begun = Call(), False
            self._state = "object"
        else:
            self._give_back()
        return True

    def _object(self) -> bool:
        call = self._call
        self._skip(call.feed(self._held))
        is_wrong = call.failed or (self._is_bare and call.name is not None and call.name not in self._names)
        if not self._begun and (is_wrong or (call.done and call.name is None)):
            self._give_back()
            return True
        if call.name is not None and not self._begun:
            self._begin_call(call.name)
        if self._begun:
            arguments = call.arguments or ("{}" if call.done else "")
            self._tell_arguments(arguments)
        if call.done or call.failed:
            self._end_call()
        return call.done or call.failed

    def _named(self) -> bool:
        """Before arguments with a head of their own."""
        at = self._held.find("{")
        if at < 0 and len(self._held) <= MAX_HEAD:
            return False
        assert self._form.head is not None
        found = self._form.head.fullmatch(self._held[:at]) if at >= 0 else None
        if found is None:
            self._give_back()
            return True
        self._skip(at)
        self._begin_call(found[1])
        self._state = "arguments"
        return True

    def _between(self) -> bool:
        """Behind a call: the end of the section, another call, or text."""
        text = self._held.lstrip()
        ends, again = self._form.ends, self._form.again
        if found := next((end for end in ends if text.startswith(end)), None):
            self._held = text[len(found) :]
            self._state = "text" if found == self._form.last else "between"
            return True
        if found := next((start for start in again if text.startswith(start)), None):
            self._held = text if found == "{" else text[len(found) :]
            self._opening = ""
            self._state = "open" if found == "{" else "named"
            return True
        if any(mark.startswith(text) for mark in (*ends, *again)):
            return False
        self._state = "text"
        return True

    def _python(self) -> bool:
        """A call of a built-in tool, or code: to the end of the answer."""
        return False

    def _end_python(self) -> None:
        text = self._opening + self._held
        code = self._held.strip()
        self._held = ""
        found = BUILT_IN.fullmatch(code)
        if found and found[1] in self._names:
            arguments = json.dumps({found[2]: found[3]}, ensure_ascii=False)
            name = found[1]
        else:
            name = next((known for known in INTERPRETERS if known in self._names), "")
            arguments = json.dumps({"code": code}, ensure_ascii=False)
        if name:
            self._begin_call(name)
            self._tell_arguments(arguments)
            self._end_call()
        else:
            self._tell(text)

    def _begin_call(self, name: str) -> None:
        super()._begin_call(name)
        self._begun = True

    def _end_call(self) -> None:
        super()._end_call()
        self._behind_call = True
        self._opening = ""
        self._state = "between"

    def _tell(self, text: str) -> None:
        if self._behind_call:
            text = text.lstrip()
        if text:
            self._behind_call = False
            self._events.append(Text(text))

    def _give_back(self) -> None:
        """It was not a call."""
        self._tell(self._opening)
        self._opening = ""
        self._state = "text"

    def _skip(self, count: int) -> None:
        self._opening += self._take(count)


class HarmonyParser(AnswerParser):
    """Of gpt-oss, whose answer is in channels: what is thought, what is said, and calls."""

    _BODY_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
    _HEAD_BEGINS = ("<|channel|>", "<|start|>")

    def __init__(self) -> None:
        super().__init__("begin")
        self._kind: type[Text] | type[Thinking] = Text

    def finish(self) -> list[Event]:
        if self._state in ("begin", "body"):
            self._tell(self._held)
        self._held = ""
        return self.feed("")

    def _begin(self) -> bool:
        if self._held not in self._HEAD_BEGINS and any(m.startswith(self._held) for m in self._HEAD_BEGINS):
            return False
        self._state = "head" if self._held.startswith(self._HEAD_BEGINS) else "body"
        return True

    def _head(self) -> bool:
        head, mark, rest = self._held.partition("<|message|>")
        if not mark:
            return False
        self._held = rest
        to = re.search(r"to=(?:functions\.)?([\w.-]+)", head)
        channel = re.search(r"<\|channel\|>\s*(\w+)", head)
        if to:
            self._begin_call(to[1])
            self._state = "arguments"
        else:
            self._kind = Thinking if channel and channel[1] == "analysis" else Text
            self._state = "body"
        return True

    def _end_call(self) -> None:
        super()._end_call()
        self._state = "behind"

    def _behind(self) -> bool:
        """Behind a call, up to the next head."""
        found = [at for mark in self._HEAD_BEGINS if (at := self._held.find(mark)) >= 0]
        if not found:
            self._take(len(self._held) - partial(self._held, self._HEAD_BEGINS))
            return False
        self._take(min(found))
        self._state = "head"
        return True

    def _body(self) -> bool:
        found = [(at, mark) for mark in self._BODY_ENDS if (at := self._held.find(mark)) >= 0]
        if not found:
            self._tell(self._take(len(self._held) - partial(self._held, self._BODY_ENDS)))
            return False
        at, mark = min(found)
        self._tell(self._take(at))
        if mark not in self._HEAD_BEGINS:
            self._take(len(mark))
        self._state = "behind"
        return True

    def _tell(self, text: str) -> None:
        if text:
            self._events.append(self._kind(text))


def partial(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the begin of a mark."""
    longest = min(max(map(len, marks)) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if any(m.startswith(text[-n:]) for m in marks)), 0)
