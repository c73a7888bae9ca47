"""The hub's API, and files on other servers: what exists and where, with errors in one line.

Token, endpoint and errors are those of huggingface_hub.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx2
import huggingface_hub
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # its exports are lazy
    hf_raise_for_status,
    validate_repo_id,
)

from llamachat import __version__
from llamachat.errors import AuthError, LlamachatError, ModelError, NetworkError, UsageError
from llamachat.hub import download, gguf, quants, reference, repository
from llamachat.hub.download import Transport, Watcher
from llamachat.hub.http_file import (
    LOG_IN,
    RemoteFile,
    TransferOptions,
    gated,
    is_busy,
    origin,
    refusal,
    retry_after,
    version_of,
)
from llamachat.hub.model_folder import Paths, writing
from llamachat.hub.reference import Reference
from llamachat.hub.repository import Repository, Variant
from llamachat.hub.segments import Identity
from llamachat.language import _

ATTEMPTS = 5
ONLY_GET = (403, 405, 501)  # what an address that is signed for GET answers to HEAD
LONGEST_WAIT = 60.0  # seconds that a busy hub is waited for before anything is fetched

T = TypeVar("T")


class Hub:
    """A hub or mirror at `endpoint`; leaving the context closes its connections.

    Every method raises LlamachatError with what to do. `huggingface_hub.HfApi` would do for `repository`, but
    importing it takes as long as everything else before the first byte.
    """

    def __init__(
        self, endpoint: str = "", token: str | None = None, options: TransferOptions | None = None
    ) -> None:
        self.endpoint = reference.endpoint(endpoint or constants.ENDPOINT)
        self.token = token or _saved_token()
        self.options = options or TransferOptions()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        if "client" in self.__dict__:
            self.client.close()

    @functools.cached_property
    def client(self) -> httpx2.Client:
        """For all requests: proxies from the environment, and a time limit for silence.

        The headers are not those of `huggingface_hub.utils.build_hf_headers`, which asks huggingface.co for a
        list of programs to name in them, with its own time limit, even if a mirror is used.
        """
        timeout = httpx2.Timeout(self.options.stall_timeout, connect=self.options.connect_timeout, pool=None)
        try:
            agent = f"llamachat/{__version__}; hf_hub/{huggingface_hub.__version__}"
            return httpx2.Client(follow_redirects=True, timeout=timeout, headers={"User-Agent": agent})
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            raise NetworkError(
                _("The proxy can't be used: {error}.").format(error=error),
                _("Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY."),
            ) from error

    @property
    def offline(self) -> bool:
        return constants.is_offline_mode()

    def parse(self, text: str) -> Reference:
        """What the user asked for; if that is an address of a mirror, this is the mirror from now on."""
        wanted = reference.parse(text, self.endpoint)
        if wanted.hub:
            self.endpoint = wanted.hub
            self.token = self.token if wanted.hub.startswith("https:") else None
        return wanted

    def repository(self, repo_id: str, revision: str = "main") -> Repository:
        """What the repository has, with sizes and hashes."""
        self.check_online()
        with self._translated(repo_id):
            validate_repo_id(repo_id)
            commit = urllib.parse.quote(revision, safe="")
            url = f"{self.endpoint}/api/models/{repo_id}/revision/{commit}"
            return repository.read(self._patiently(lambda: self._ask(url)), self.endpoint)

    def _ask(self, url: str) -> object:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        response = self.client.get(
            url, params={"blobs": "true"}, headers=headers, timeout=self.options.connect_timeout
        )
        hf_raise_for_status(response)
        with contextlib.suppress(ValueError, RecursionError):
            return response.json()
        return None

    def file(self, repo_id: str, path: str, revision: str = "main") -> tuple[Repository, Variant]:
        """One file, by its path in the repository; all of them if it is one of several shards."""
        found = self.repository(repo_id, revision)
        wanted = repository.url_of(self.endpoint, found.id, found.commit, path)
        for variant in found.variants:
            if any(file.url == wanted for file in variant.files):
                return found, variant
        raise ModelError(
            _("{repo_id} has no GGUF file {path}.").format(repo_id=repo_id, path=path),
            _("See `llamachat pull --list {repo_id}`.").format(repo_id=repo_id),
        )

    def plain_url(self, url: str) -> Variant:
        """A file that is not on a hub: name, size and version as its server tells them, and no hash."""
        self.check_online()
        with self._translated(url, url):
            return _variant(url, self._patiently(lambda: self._head(url)))

    def _head(self, url: str) -> httpx2.Response:
        """The server's answer without the bytes. Raises HfHubHTTPError if it is busy."""
        headers = {"Accept-Encoding": "identity"}
        response = self.client.head(url, headers=headers)
        if response.status_code in ONLY_GET:
            with self.client.stream("GET", url, headers={**headers, "Range": "bytes=0-0"}) as response:
                pass
        if is_busy(response.status_code):
            hf_raise_for_status(response)
        return response

    def header(self, file: RemoteFile, folder: Path, watcher: Watcher) -> gguf.GGUFHeader:
        """The GGUF header, read by range requests; what came is kept in `folder` for the download."""
        with self._translated(file.name, file.url), writing(folder):
            return download.read_header(file, Paths(folder, file.name), self.transport(file, watcher))

    def transport(self, file: RemoteFile, watcher: Watcher) -> Transport:
        """How to fetch the file. Only this hub gets the token."""
        token = self.token if origin(file.url) == origin(self.endpoint) else None
        return Transport(self.client, self.options, token, watcher)

    def check_online(self) -> None:
        if self.offline:
            raise NetworkError(
                _("HF_HUB_OFFLINE is set, so the hub is not contacted."), _("Unset it to fetch models.")
            )

    def answers(self) -> bool:
        """Whether the endpoint answers at all, within 15 s."""
        try:
            self._within(lambda: self.client.head(self.endpoint))
        except (httpx2.HTTPError, httpx2.InvalidURL, LlamachatError, TimeoutError, OSError):
            return False
        return True

    @contextmanager
    def _translated(self, what: str, url: str = "") -> Iterator[None]:
        try:
            yield
        except LlamachatError:
            raise
        except GatedRepoError as error:
            raise gated(what) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise ModelError(
                _("{endpoint} has no repository {what}, or it is private.").format(
                    endpoint=self.endpoint, what=what
                ),
                _("Check the name; if it is private, {log_in}.").format(log_in=_(LOG_IN)),
            ) from error
        except HFValidationError as error:
            raise UsageError(_("{what!r} is not the name of a repository.").format(what=what)) from error
        except HfHubHTTPError as error:
            raise self._refused(what, error.response) from error
        except httpx2.InvalidURL as error:
            raise UsageError(
                _("{what} is not a valid address: {error}.").format(what=what, error=error)
            ) from error
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise self._silent(url or self.endpoint) from error

    def _refused(self, what: str, response: httpx2.Response) -> LlamachatError:
        message = _("{endpoint} answered {status_code} for {what}.").format(
            endpoint=self.endpoint, status_code=response.status_code, what=what
        )
        if response.status_code in (401, 403):
            return AuthError(message, _("The token may have expired: {log_in}.").format(log_in=_(LOG_IN)))
        if seconds := retry_after(response):
            return NetworkError(
                message, _("It asks to wait for {seconds:.0f} seconds.").format(seconds=seconds)
            )
        return NetworkError(message, _("Try again later."))

    def _silent(self, url: str) -> NetworkError:
        server, way = self.endpoint, _("or try the mirror hf-mirror.com: --mirror.")
        if origin(url) != origin(self.endpoint):
            server, way = "://".join(urllib.parse.urlsplit(url)[:2]), _("and the address.")
        elif self.endpoint == reference.MIRROR:
            way = _("or try without the mirror.")
        return NetworkError(
            _("{server} does not answer.").format(server=server),
            _("Check the connection and HTTPS_PROXY, {way}").format(way=way),
        )

    def _patiently(self, call: Callable[[], T]) -> T:
        """`call`'s result; it is called again while the hub is busy, after as long as that says."""
        for attempt in range(ATTEMPTS):
            try:
                return self._within(call)
            except HfHubHTTPError as error:
                seconds = retry_after(error.response)
                last = attempt == ATTEMPTS - 1 or seconds > LONGEST_WAIT
                if last or not is_busy(error.response.status_code):
                    raise
                time.sleep(max(2**attempt / 2, seconds))
        raise AssertionError

    def _within(self, call: Callable[[], T]) -> T:
        return within(self.options.answer_within, call)


def _variant(url: str, response: httpx2.Response) -> Variant:
    """The file behind a plain URL. Raises LlamachatError if it can't be fetched."""
    if not response.is_success:
        raise refusal(response)
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    if not length.isdecimal():
        raise NetworkError(_("{url} does not give its size.").format(url=url), _("Fetch it with a browser."))
    names = (address.path.rpartition("/")[2] for address in (response.url, httpx2.URL(url)))
    name = next((n for n in names if n.lower().endswith(".gguf") and repository.is_safe(n)), None)
    if name is None:
        raise UsageError(
            _("{url} does not name a GGUF file.").format(url=url),
            _("The address should end in a name like MODEL.gguf."),
        )
    identity = Identity(int(length), etag=version_of(response))
    return Variant(quants.quant_of(name), (RemoteFile(name, url, identity),))


def _saved_token() -> str | None:
    """The user's token, None if there is none that can be read. Raises AuthError for an impossible one."""
    token = None
    with contextlib.suppress(OSError, ValueError):
        token = get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise AuthError(_("The token has invalid characters."), _("Check HF_TOKEN, or log in again."))
    return token


def within(seconds: float, call: Callable[[], T]) -> T:
    """`call`'s result; TimeoutError after so long, because a name look-up has no time limit."""
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
