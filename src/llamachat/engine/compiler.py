"""Turns `grammar_jobs` into rules, in processes of their own, and keeps what came of them.

In the engine's own process that work would take Python from everybody else. A job that takes longer than
most goes on at the lowest priority and is ended by its process's end, together with the memory that it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import pickle
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import psutil

from llamachat.engine import grammar_worker
from llamachat.engine.failures import Refused
from llamachat.engine.grammar_jobs import Compiled, NotCompiled
from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import GrammarError

WORKERS = 2
"""So that a job that takes long holds up nobody else's."""
PATIENCE = 0.1
"""Seconds after which a job has the lowest priority; most take some milliseconds."""
MOST_CPU = 3.0
MOST_SECONDS = 10.0
POLL = 0.05
LOWEST = getattr(psutil, "IDLE_PRIORITY_CLASS", 19)
MOST_KEPT = 32
MOST_KEPT_SIZE = 300_000
"""Of all that is kept, of some 300 bytes each."""
TOO_LONG = "It takes too long to turn this schema or grammar into rules."
FAILED = "This schema or grammar can't be turned into rules."


class Rules:
    """A grammar that several answers may be held to at once."""

    def __init__(self, compiled: Compiled) -> None:
        self.matcher = Matcher(compiled.prepared)
        self.texts = compiled.texts
        self.lock = threading.Lock()


class _Uncompilable(GrammarError):
    def __init__(self, why: NotCompiled) -> None:
        super().__init__(why.message)
        self.param = why.param


class Compiler:
    """Used by any thread. A job may take `most_cpu` seconds."""

    def __init__(self, most_cpu: float = MOST_CPU) -> None:
        self._most_cpu = most_cpu
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="grammar")
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._kept: OrderedDict[bytes, Future[Rules]] = OrderedDict()
        self._lock = threading.Lock()

    def rules(self, job: bytes, param: str) -> Rules:
        """Wait for what becomes of `job`; raises Refused, with the `param` that it is of."""
        with refusing(param):
            return self._start(job).result()

    async def check(self, job: bytes, param: str) -> None:
        """The same on the event loop. `rules` then has them at once."""
        with refusing(param):
            # Shielded: others may wait for the same when this client leaves.
            await asyncio.shield(asyncio.wrap_future(self._start(job)))

    def close(self) -> None:
        """Let no job hold up the end of the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.close()

    def _start(self, job: bytes) -> Future[Rules]:
        key = hashlib.sha256(job).digest()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._pool.submit(self._compile, job)
            found = self._kept[key]
            self._kept.move_to_end(key)
            self._make_room()
        found.add_done_callback(partial(self._settle, key))
        return found

    def _settle(self, key: bytes, future: Future[Rules]) -> None:
        if future.cancelled() or future.exception() is not None:
            with self._lock:
                if self._kept.get(key) is future:
                    del self._kept[key]

    def _make_room(self) -> None:
        """Forget what was used longest ago."""
        done = {key: future.result().matcher.size for key, future in self._kept.items() if _succeeded(future)}
        size = sum(done.values())
        for key in list(done)[:-1]:
            if len(self._kept) <= MOST_KEPT and size <= MOST_KEPT_SIZE:
                return
            del self._kept[key]
            size -= done[key]

    def _compile(self, job: bytes) -> Rules:
        """In one of the pool's threads, each of which has a worker."""
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._begin()
        try:
            answer = worker.compiled(job)
        finally:
            if worker.is_spent:
                self._workers.discard(worker)
                worker.close()
                self._begin()  # now, for the next one
        if isinstance(answer, NotCompiled):
            raise _Uncompilable(answer)
        return Rules(answer)

    def _begin(self) -> _Worker:
        worker = self._own.worker = _Worker(self._most_cpu)
        self._workers.add(worker)
        return worker


@contextlib.contextmanager
def refusing(param: str) -> Iterator[None]:
    """Within, a grammar that can't be had is a 400 about this field, or the one that the job names."""
    try:
        yield
    except GrammarError as error:
        raise Refused(400, str(error), param=getattr(error, "param", None) or param) from error


def _succeeded(future: Future[Rules]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class _Worker:
    """One process; `is_spent` once it had a job that took long, for its priority can't be raised again."""

    def __init__(self, most_cpu: float) -> None:
        self._most_cpu = most_cpu
        command = [sys.executable, "-m", grammar_worker.__name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.is_spent = self._is_ready = False

    def compiled(self, job: bytes) -> Compiled | NotCompiled:
        """Never raises what `job` is to blame for."""
        assert self._process.stdin is not None and self._process.stdout is not None
        over = threading.Event()
        timer = threading.Timer(PATIENCE, self._watch, (over,))
        try:
            if not self._is_ready:
                grammar_worker.receive(self._process.stdout)
                self._is_ready = True
            timer.start()
            grammar_worker.send(self._process.stdin, job)
            answer = pickle.loads(grammar_worker.receive(self._process.stdout))
            assert isinstance(answer, (Compiled, NotCompiled))
            return answer
        except (OSError, EOFError):
            message = TOO_LONG if self.is_spent else FAILED
            self.is_spent = True
            return NotCompiled(message)
        finally:
            over.set()
            timer.cancel()

    def _watch(self, over: threading.Event) -> None:
        self.is_spent = True
        deadline = time.monotonic() + MOST_SECONDS
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            # On Windows a venv's python.exe starts another one.
            processes = [process, *process.children(recursive=True)]
            for each in processes:
                each.nice(LOWEST)
            before = _cpu_seconds(processes)
            while not over.wait(POLL):
                if _cpu_seconds(processes) - before > self._most_cpu or time.monotonic() > deadline:
                    break
        if not over.is_set():
            self._process.kill()

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
