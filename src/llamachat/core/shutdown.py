"""How long a stop may take. One budget in seconds, from which every part takes its share.

The engine is told to stop, notices it, ends its requests, waits for the model, and writes KV state. Only when
all of that must be over does its own watchdog end it, and only after that the launcher kills it.
"""

from __future__ import annotations

POLL = 0.2
"""A request looks this often whether the server is to stop."""
NOTICE = POLL + 0.1
"""Until a request knows; 0.1 is uvicorn's own tick."""
GRACE = 0.5
"""Requests tell their clients that they end; then they are cut."""
BUSY = 1.0
"""The model finishes the batch that it is computing."""
SAVE = 2.0
"""KV state is written; after this no further chunk is begun."""
FLUSH = 1.0
"""The chunk that was begun last, with its fsync, and the end of the process."""

ENGINE = NOTICE + GRACE + BUSY + SAVE + FLUSH
"""After this an engine that still runs ends itself."""
LAUNCHER = ENGINE + 0.5
"""After this the launcher kills it."""
