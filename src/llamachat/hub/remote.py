"""The hub: what a repository has, by huggingface_hub; its errors told in one line."""

from __future__ import annotations

import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo

from llamachat.errors import LlamachatError, ModelError, NetworkError, UsageError
from llamachat.hub import ahead, gguf, quants
from llamachat.hub.download import RemoteFile
from llamachat.hub.journal import Identity
from llamachat.hub.records import Paths, writing
from llamachat.hub.refusals import gated, is_busy, refusal, retry_after
from llamachat.hub.transfer import TransferOptions, Watcher

MIRROR = "https://hf-mirror.com"
ATTEMPTS = 5
ANSWER_WITHIN = 14.0  # seconds, name look-up included
_NOT_A_MODEL = re.compile(r"mmproj|imatrix|draft", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Variant:
    """One quantisation of a model: a file, or its shards in order."""

    quant: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """The file name without the part of the shards."""
        return _SHARD.sub("", self.files[0].name)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit."""

    id: str
    commit: str
    licence: str
    gated: bool
    variants: tuple[Variant, ...]


class Hub:
    """A hub or mirror at `endpoint`. Every method raises LlamachatError with what to do."""

    def __init__(
        self, endpoint: str = "", token: str | None = None, options: TransferOptions | None = None
    ) -> None:
        self.endpoint = endpoint or constants.ENDPOINT
        self.token = token or get_token()
        self.options = options or TransferOptions()
        self._api = HfApi(endpoint=self.endpoint, token=self.token or False)

    @property
    def offline(self) -> bool:
        return constants.is_offline_mode()

    def client(self) -> httpx2.Client:
        """A client for transfers: proxies by the environment, and no reply may stall."""
        timeout = httpx2.Timeout(self.options.stall_timeout, connect=self.options.connect_timeout, pool=None)
        return httpx2.Client(follow_redirects=True, timeout=timeout)

    def repository(self, repo_id: str, revision: str = "main") -> Repository:
        """What the repository has, with sizes and hashes."""
        self.check_online()

        def ask() -> ModelInfo:
            return self._api.model_info(
                repo_id, revision=revision, files_metadata=True, timeout=self.options.connect_timeout
            )

        with self._translated(repo_id):
            return self._read(_patiently(ask))

    def file(self, repo_id: str, path: str, revision: str = "main") -> tuple[Repository, Variant]:
        """One file, by its path in the repository; all of them where it is one of several shards."""
        repository = self.repository(repo_id, revision)
        for variant in repository.variants:
            if any(file.url.endswith(f"/{urllib.parse.quote(path)}") for file in variant.files):
                return repository, variant
        raise ModelError(f"{repo_id} has no GGUF file {path}.", f"See `llamachat pull --list {repo_id}`.")

    def plain_url(self, url: str) -> Variant:
        """A file that is on no hub: its size and ETag as the server tells them, and no hash to check."""
        self.check_online()
        with self._translated(url), self.client() as client:
            response = _within(
                ANSWER_WITHIN, lambda: client.head(url, headers={"Accept-Encoding": "identity"})
            )
            if not response.is_success:
                raise refusal(response)
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            raise NetworkError(f"{url} does not tell its size.", "Fetch it with a browser.")
        name = response.url.path.rstrip("/").rpartition("/")[2]
        identity = Identity(int(length), etag=response.headers.get("ETag"))
        return Variant(quants.quant_of(name), (RemoteFile(name, url, identity),))

    def header(self, file: RemoteFile, folder: Path, watcher: Watcher) -> gguf.GGUFHeader:
        """The GGUF header, read by range requests; what came is kept in `folder` for the download."""
        with self._translated(file.name), writing(folder), self.client() as client:
            return ahead.read_header(file, Paths(folder, file.name), client, watcher, self.token)

    def check_online(self) -> None:
        if self.offline:
            raise NetworkError(
                "HF_HUB_OFFLINE is set, so nothing is asked of the hub.", "Unset it to fetch models."
            )

    def answers(self) -> bool:
        """Whether the endpoint answers at all, within 15 s."""
        try:
            with self.client() as client:
                _within(ANSWER_WITHIN, lambda: client.head(self.endpoint))
        except (httpx2.HTTPError, TimeoutError, OSError):
            return False
        return True

    def _read(self, info: ModelInfo) -> Repository:
        commit = info.sha or "main"
        files: dict[str, list[RemoteFile]] = {}
        for sibling in sorted(info.siblings or [], key=lambda s: s.rfilename):
            path = sibling.rfilename
            if not path.lower().endswith(".gguf") or _NOT_A_MODEL.search(path) or not sibling.size:
                continue
            identity = Identity(sibling.size, sibling.lfs.sha256 if sibling.lfs else None)
            url = hf_hub_url(info.id, path, revision=commit, endpoint=self.endpoint)
            file = RemoteFile(path.rpartition("/")[2], url, identity)
            files.setdefault(_SHARD.sub("", path), []).append(file)
        variants = [Variant(quants.quant_of(path), tuple(parts)) for path, parts in files.items()]
        variants.sort(key=lambda variant: variant.size)
        return Repository(info.id, commit, _licence(info), bool(info.gated), tuple(variants))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except LlamachatError:
            raise
        except GatedRepoError as error:
            raise gated(what) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise ModelError(
                f"{self.endpoint} has no repository {what}, or keeps it private.",
                "Check the name; for a private one log in with `hf auth login` or set HF_TOKEN.",
            ) from error
        except HFValidationError as error:
            raise UsageError(f"{what!r} is no name of a repository.") from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            raise NetworkError(
                f"{self.endpoint} answered {status} for {what}.", "Try again later."
            ) from error
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise NetworkError(f"{self.endpoint} does not answer.", self._way_out()) from error

    def _way_out(self) -> str:
        if self.endpoint == MIRROR:
            return "Check the connection, HTTPS_PROXY, or try without --mirror."
        return "Check the connection and HTTPS_PROXY, or try the mirror hf-mirror.com: --mirror."


def _licence(info: ModelInfo) -> str:
    card = info.card_data
    named = getattr(card, "license_name", None) or getattr(card, "license", None) if card else None
    if isinstance(named, list):
        named = named[0]
    tagged = (tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:"))
    return str(named or next(tagged, "")).lower()


def _patiently(call: Callable[[], T]) -> T:
    """`call`'s result, asked for again where the hub is busy, after as long as it says."""
    for attempt in range(ATTEMPTS):
        try:
            return _within(ANSWER_WITHIN, call)
        except HfHubHTTPError as error:
            if not is_busy(error.response.status_code) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(max(2**attempt / 2, retry_after(error.response)))
    raise AssertionError


def _within(seconds: float, call: Callable[[], T]) -> T:
    """`call`'s result; TimeoutError after so long, for a name look-up has no time limit of its own."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
