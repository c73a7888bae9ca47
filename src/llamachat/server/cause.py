"""Why a child died, in one line: the name of the signal, or the last it logged."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from llamachat.language import N_, _

_TELLING = (
    re.compile(r"^llamachat: (?P<why>.+)"),
    re.compile(r"error loading model: (?P<why>.+)"),
    re.compile(r"failed to (?:initialize|create) (?P<why>.+)"),
    re.compile(r"\[Errno \d+\] (?P<why>.+)"),
    re.compile(r": error: (?P<why>.+)"),
    re.compile(r"^(?P<why>(?:\w+\.)*\w*(?:Error|Exception): .+)"),
)
_VALIDATION = re.compile(r"^\d+ validation errors? for ")
_WINDOWS = {
    0xC0000005: N_("an access violation"),
    0xC000001D: N_("an illegal instruction"),
    0xC00000FD: N_("a stack overflow"),
}
_HINTS = {
    "SIGKILL": N_(", as the system does when memory runs out"),
    "SIGILL": N_(": llama.cpp was built for another CPU"),
}


def explain(returncode: int, log: Sequence[str]) -> str:
    """`returncode` as subprocess gives it: negative for a signal."""
    if returncode < 0:
        name = signal_name(-returncode)
        return _("killed by {name}{hint}").format(name=name, hint=_(_HINTS.get(name, "")))
    if returncode & 0xFFFFFFFF in _WINDOWS:
        return _("ended by {cause}").format(cause=_(_WINDOWS[returncode & 0xFFFFFFFF]))
    said = last_words(log)
    return _("ended with status {returncode}").format(returncode=returncode) + (f": {said}" if said else "")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return _("signal {number}").format(number=number)


def last_words(log: Sequence[str]) -> str:
    """The line of the log that says most about the error."""
    lines = [line.strip() for line in log if line.strip()]
    for index, line in enumerate(lines):
        if _VALIDATION.match(line):
            return " ".join(part.split(" [type=")[0] for part in lines[index + 1 : index + 3])
    for pattern in _TELLING:
        for line in reversed(lines):
            match = pattern.search(line)
            if match:
                return match["why"].strip().rstrip(".")
    return lines[-1] if lines else ""
