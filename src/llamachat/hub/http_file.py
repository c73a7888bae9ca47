"""A file on an HTTP server: its ranges, whether it is still the same file, what refusals mean."""

from __future__ import annotations

import contextlib
import email.utils
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from llamachat.errors import AuthError, LlamachatError, ModelError, NetworkError
from llamachat.hub.segments import Identity, Span
from llamachat.language import N_, _

HUB = "https://huggingface.co"
LOG_IN = N_("log in with `hf auth login` or set HF_TOKEN")


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Times in seconds. `patience` is how long to keep trying without a single byte."""

    connections: int = 4
    connect_timeout: float = 10.0
    stall_timeout: float = 20.0
    patience: float = 600.0
    answer_within: float = 14.0  # for what is asked before a transfer, name look-up included
    first_backoff: float = 0.5
    longest_backoff: float = 30.0


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a hub: where its bytes are, and what they must be."""

    name: str
    url: str
    identity: Identity

    @property
    def size(self) -> int:
        return self.identity.size


class FileChanged(Exception):
    """The server has another file at this address than before."""


class Lost(Exception):
    """A connection or reply that is worth another try, in `wait` seconds if the server said so."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


class NoRanges(Lost):
    """The server answered with another range than it was asked for."""


class HttpFile:
    """The bytes at a file's URL, or at the address that it redirected to while that works.

    The token is sent to the server of that URL alone.
    """

    def __init__(
        self, client: httpx2.Client, file: RemoteFile, token: str | None, options: TransferOptions
    ) -> None:
        self._client = client
        self._url = file.url
        self._identity = file.identity
        self._token = token
        self._patience = options.patience
        self._timeout = httpx2.Timeout(options.stall_timeout, connect=options.connect_timeout, pool=None)
        self._redirected: str | None = None

    @contextmanager
    def read(self, span: Span | None) -> Iterator[tuple[bool, Iterator[bytes]]]:
        """Ask for a span, or for the whole file. Yields whether the whole file comes, and its bytes.

        Raises Lost and httpx2's errors for what is worth another try, FileChanged, and LlamachatError.
        """
        url = self._redirected or self._url
        headers = {"Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        if self._token and origin(url) == origin(self._url):
            headers["Authorization"] = f"Bearer {self._token}"
        with self._client.stream("GET", url, headers=headers, timeout=self._timeout) as response:
            self._check_identity(response)
            # Asked of this request: another connection may have forgotten the redirect meanwhile.
            self._check_status(response, redirected=bool(response.history) or url != self._url)
            if response.history:
                self._redirected = str(response.url)
            whole = response.status_code == 200
            self._check_range(response, None if whole else span)
            yield whole, response.iter_raw()

    def forget_redirect(self) -> None:
        """The address that it redirected to no longer works: ask for another one."""
        self._redirected = None

    def _check_identity(self, response: httpx2.Response) -> None:
        for answer in response.history:
            etag = answer.headers.get("X-Linked-Etag", "").strip('W/"')
            if self._identity.sha256 and len(etag) == 64 and etag != self._identity.sha256:
                raise FileChanged(_("its sha256 is {etag} now").format(etag=etag))
        version, known = version_of(response), self._identity.etag
        if known and version and not self._identity.sha256 and response.is_success and version != known:
            raise FileChanged(_("its ETag is {version} now").format(version=version))

    def _check_status(self, response: httpx2.Response, *, redirected: bool) -> None:
        status = response.status_code
        if is_busy(status):
            seconds = retry_after(response)
            if seconds > self._patience:
                raise NetworkError(
                    _("{host} answered {status} and asks to wait for {seconds:.0f} s.").format(
                        host=response.url.host, status=status, seconds=seconds
                    ),
                    _("Run the same command then: it continues from there."),
                )
            raise Lost(
                _("the server answered {status}").format(status=status)
                + (_(", wait {seconds:.0f} s").format(seconds=seconds) if seconds else ""),
                seconds,
            )
        if status not in (200, 206):
            if redirected:
                raise Lost(_("the address it redirected to answered {status}").format(status=status))
            raise refusal(response)
        if "html" in response.headers.get("Content-Type", ""):
            raise Lost(_("a web page came instead of the file (a login page, a proxy?)"))

    def _check_range(self, response: httpx2.Response, span: Span | None) -> None:
        """Raise for a reply that is not what was asked for, before a byte of it is used."""
        size, length = self._identity.size, response.headers.get("Content-Length", "")
        given = response.headers.get("Content-Range", "") if span else f"/{length}"
        of = given.rpartition("/")[2]
        if of.isdigit() and int(of) != size:
            raise FileChanged(_("it has {size:,} bytes now").format(size=int(of)))
        if span and (
            not given.startswith(f"bytes {span[0]}-{span[1] - 1}/")
            or (length and length != str(span[1] - span[0]))
        ):
            raise NoRanges(
                _("asked for bytes {first}-{last}, the server sent {given}").format(
                    first=span[0], last=span[1] - 1, given=given or _("no range")
                )
            )


def version_of(response: httpx2.Response) -> str | None:
    """What identifies a version of a file."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def gated(repo_id: str) -> AuthError:
    return AuthError(
        _("{repo_id} is gated: its owner asks you to accept the terms first.").format(repo_id=repo_id),
        _("Accept them at {hub}/{repo_id}, create a token at {hub}/settings/tokens, then {log_in}.").format(
            hub=HUB, repo_id=repo_id, log_in=_(LOG_IN)
        ),
    )


def refusal(response: httpx2.Response) -> LlamachatError:
    """The error for a 4xx answer."""
    url = response.url.copy_with(query=None)
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return gated("/".join(urllib.parse.urlsplit(str(url)).path.strip("/").split("/")[:2]))
    if response.status_code in (401, 403):
        return AuthError(
            _("{url} was refused ({status_code}).").format(url=url, status_code=response.status_code),
            _("You may need to {log_in}.").format(log_in=_(LOG_IN)),
        )
    if response.status_code in (404, 410):
        return ModelError(
            _("There is no file {url}.").format(url=url),
            _("`llamachat pull --list REPO` shows what there is."),
        )
    return NetworkError(
        _("{url} answered {status_code} {reason_phrase}.").format(
            url=url, status_code=response.status_code, reason_phrase=response.reason_phrase
        ),
        _("Try again later."),
    )


def is_busy(status: int) -> bool:
    """Whether a status says to try again."""
    return status in (408, 429) or status >= 500


def retry_after(response: httpx2.Response) -> float:
    """Seconds to wait by the header `Retry-After`, a number or a date; 0 without it."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0
