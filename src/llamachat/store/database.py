"""The file: opened with its rights and its damage taken care of, SQLite's errors translated."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from llamachat.errors import DamagedError, GoneError, StoreError
from llamachat.language import N_, _, reason
from llamachat.store import index, migrations

Report = Callable[[StoreError], None]
"""Takes what the user should be told although the work goes on."""


_ELSEWHERE = N_("Check its permissions, or name another file with --transcripts.")
_DAMAGE = (
    "not a database",
    "malformed",
    "unsupported file format",
    "vtable constructor failed",
    "fts5 file format",
    "fts5: corruption",
    "decode to UTF-8",
)
_ROOM = 2**16
"""Bytes without which SQLite can't open a file: it needs some for -shm, and calls their lack an I/O error."""


def connect(path: Path, report: Report, *, patience: float, check: bool) -> sqlite3.Connection:
    """The database at `path`, created if it is missing, with today's schema.

    A damaged file is put aside under another name, reported, and a new one begun. `check` looks at every page
    and at the index rather than at the first pages; `patience` is the seconds to wait for another writer.
    Raises StoreError for a file that can't be opened or is newer than this program.
    """
    try:
        return _connect(path, patience, check)
    except DamagedError as error:
        aside = put_aside(path)
        report(
            StoreError(
                _("{message} It was put aside as {name}, and a new file begun.").format(
                    message=error.message, name=aside.name
                )
            )
        )
        return _connect(path, patience, check)


def put_aside(path: Path) -> Path:
    """Rename the database and its WAL so that they belong together under the new name, which is returned."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.stem}.damaged-{stamp}-{number}{path.suffix}")
    try:
        path.rename(aside)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{ending}", f"{aside}{ending}")
    except OSError as error:
        raise StoreError(
            _("{path} is damaged and can't be renamed: {reason}.").format(path=path, reason=reason(error))
        ) from error
    return aside


def identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from another one that takes its place; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as StoreError, and values that none of ours has written."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if "FOREIGN KEY" in str(error):
            raise GoneError(_("The conversation is no longer in {path}.").format(path=path)) from error
        raise _damaged(path, error) from error
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise StoreError(
            _("{path} can't be opened: {reason}.").format(path=path, reason=reason(error)), _(_ELSEWHERE)
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the right to write is taken at once, so that it can't be lost half way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path, patience: float, check: bool) -> sqlite3.Connection:
    with translated(path):
        _make_private(path)
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            _prepare(connection, path, patience, check)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_private(path: Path) -> None:
    """SQLite gives the -wal and -shm files the rights of the main file, so those have to be right first.

    A database that is there is never opened here: closing it would give up the locks that SQLite
    holds on it elsewhere in this process.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for ending in ("", "-wal", "-shm") if os.name == "posix" else ():
        file = path.with_name(path.name + ending)
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _prepare(connection: sqlite3.Connection, path: Path, patience: float, check: bool) -> None:
    if check and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise DamagedError(_("{path} is damaged.").format(path=path))
    migrations.refuse_newer(connection, path)
    _use_wal(connection, patience)
    # FULL: a commit is on the disk when it returns, so a power cut takes nothing that was committed.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    migrations.migrate(connection)
    if check:
        index.check(connection)


def _use_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Another program may be preparing the same new file, and in this pragma SQLite does not wait."""
    end = time.monotonic() + patience
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _damaged(path: Path, error: Exception) -> DamagedError:
    return DamagedError(
        _("{path} is damaged ({error}).").format(path=path, error=error),
        _("`sqlite3 {path} .recover` may save what is in it.").format(path=path),
    )


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    text = str(error)
    if any(sign in text for sign in _DAMAGE):
        return _damaged(path, error)
    if "locked" in text:
        return StoreError(
            _("{path} is locked by another program.").format(path=path),
            _("Try again when that has finished."),
        )
    if "full" in text or ("I/O" in text and _is_full(path)):
        return StoreError(_("The disk is full: {path} can't grow.").format(path=path), _("Make room."))
    if "readonly" in text:
        return StoreError(_("{path} can't be written to.").format(path=path), _(_ELSEWHERE))
    return StoreError(_("{path} can't be used: {text}.").format(path=path, text=text))


def _is_full(path: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < _ROOM
    return False
