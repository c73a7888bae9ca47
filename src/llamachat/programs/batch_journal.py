"""What a batch has answered already: an append-only file beside its output, on the disk row by row.

The first line names the configuration; every other is one row's answer under a key made from the row's
content, so that an edited row is asked again and no other. A line that a power cut left unfinished is removed
at the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from llamachat.errors import LlamachatError, UsageError
from llamachat.language import _, reason


def fingerprint(*parts: object) -> str:
    """The same for the same JSON, in whatever order its keys are."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def unwritable(path: Path, error: OSError) -> LlamachatError:
    return LlamachatError(
        _("{path} can't be written: {reason}.").format(path=path, reason=reason(error)),
        _("What was answered is kept; the same command resumes it."),
    )


class BatchJournal:
    """The journal of the output `path`, held by one process at a time.

    Raises UsageError if another configuration has begun it, unless `restart` says to start over.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any], *, restart: bool = False) -> None:
        self.path = path.with_name(path.name + ".journal")
        self._output = path
        self._lock = FileLock(f"{self.path}.lock")
        self._head = {"configuration": dict(configuration), "fingerprint": fingerprint(configuration)}
        self._restart = restart
        self.answers: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> BatchJournal:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                _("Another batch is writing {output}.").format(output=self._output),
                _("Wait for it, or name another -o."),
            ) from error
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            raise unwritable(self.path, error) from error
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self) -> None:
        if self._restart:
            self.path.unlink(missing_ok=True)
        whole = self._load()
        self._file = self.path.open("ab")
        self._file.truncate(whole)
        if not whole:
            self._append(self._head)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def add(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep one row's answer; it is on the disk when this returns."""
        self.answers[key] = dict(answer)
        self._append({"key": key, **answer})

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _load(self) -> int:
        """Take in what is there; the bytes of it that are whole lines."""
        if not self.path.exists():
            return 0
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        head, *records = data[:end].splitlines() or [b""]
        if not head:
            return 0
        began = self._parse(head, "fingerprint")
        if began["fingerprint"] != self._head["fingerprint"]:
            raise UsageError(
                _("{output} was begun with other settings: {changes}.").format(
                    output=self._output, changes=self._changes(began)
                ),
                _("--restart asks every row again; or name another -o."),
            )
        for line in records:
            record = self._parse(line, "key")
            self.answers[record.pop("key")] = record
        return end

    def _parse(self, line: bytes, name: str) -> dict[str, Any]:
        """The record of a line, which has a field of that name."""
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or name not in record:
            raise UsageError(
                _("{path} is damaged.").format(path=self.path),
                _("Move it away, or ask every row again with --restart."),
            )
        return record

    def _changes(self, began: Mapping[str, Any]) -> str:
        before, now = began.get("configuration") or {}, self._head["configuration"]
        assert isinstance(now, dict)
        return ", ".join(name for name in now if before.get(name) != now[name]) or _("another version")
