"""The download engine against a hub that misbehaves, on real sockets."""

from __future__ import annotations

import email.utils
import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.errors import AuthError, ModelError, NetworkError
from llamachat.hub import install
from llamachat.hub.http_file import FileChanged, TransferOptions
from llamachat.hub.hub_client import Hub
from llamachat.hub.model_folder import STATE_FOLDER, Paths, Record, read_record
from llamachat.hub.repository import Variant
from llamachat.hub.segments import Identity
from tests.fakes.hub_process import HubProcess, running_hub
from tests.support import wait_for

MB = 1 << 20
CONTENT = random.Random(1).randbytes(17 * MB + 12345)
FAST = TransferOptions(stall_timeout=0.5, patience=20, first_backoff=0.01, longest_backoff=0.2)
NAME = "toy-Q4_K_M.gguf"


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.have = self.size = 0
        self.losses: list[str] = []
        self.notes: list[str] = []
        self.changed = threading.Event()

    def started(self, name: str, size: int, have: int) -> None:
        self.size, self.have = size, have

    def advanced(self, n_bytes: int) -> None:
        self.have += n_bytes
        self.changed.set()

    def lost(self, reason: str) -> None:
        self.losses.append(reason)

    def noted(self, text: str) -> None:
        self.notes.append(text)
        self.changed.set()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as running:
        running.put(f"org/toy/{NAME}", CONTENT)
        yield running


def fetch(
    hub: HubProcess,
    folder: Path,
    options: TransferOptions = FAST,
    watcher: Notes | None = None,
    token: str = "",
) -> Path:
    with Hub(hub.endpoint, token, options) as client:
        repository = client.repository("org/toy")
        record = Record(repository.id, "Q4_K_M", "", 0)
        return install.pull(client, repository.variants[0], folder, record, watcher or Notes())


def test_a_clean_transfer_arrives_whole_and_nothing_comes_twice(hub: HubProcess, tmp_path: Path) -> None:
    watcher = Notes()
    path = fetch(hub, tmp_path / "models", watcher=watcher)
    assert path.read_bytes() == CONTENT
    assert watcher.have == watcher.size == len(CONTENT) and watcher.losses == []
    assert hub.stats()["twice"] == 0
    assert hub.stats()["requests"]["api"] == 1  # nothing but the list of files is asked for
    assert sorted(p.name for p in path.parent.iterdir()) == [STATE_FOLDER, NAME]
    record = read_record(path)
    assert record and record.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_cuts_at_random_bytes_cost_nothing(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(cuts=12, cut_within=(0, 4096))  # no segment is shorter
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert hub.stats()["twice"] == 0 and hub.stats()["faults_left"] == 0
    assert len(watcher.losses) == 12


def test_resets_stalls_and_silence_are_survived(hub: HubProcess, tmp_path: Path) -> None:
    stalls = [{"kind": "stall", "after": n} for n in (0, 1, 3 * MB)]
    hub.control(faults=[*stalls, {"kind": "reset"}, {"kind": "silence"}, {"kind": "cut", "after": 5}])
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert "no byte for 0.5 s" in watcher.losses and "the connection was cut" in watcher.losses


def test_server_errors_and_retry_after_are_waited_for(hub: HubProcess, tmp_path: Path) -> None:
    busy = {"kind": "status", "status": 429, "retry_after": 1}
    until = email.utils.formatdate(time.time() + 2, usegmt=True)
    dated = {"kind": "status", "status": 429, "retry_after": until}
    hub.control(faults=[busy, dated, {"kind": "status", "status": 503}, {"kind": "status", "status": 500}])
    hub.control(api_faults=[busy])
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert {"the server answered 429, wait 1 s", "the server answered 503"} <= set(watcher.losses)
    assert sum("answered 429" in reason for reason in watcher.losses) == 2


def test_a_hub_that_wants_to_be_left_alone_for_long_is_told_of(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(api_faults=[{"kind": "status", "status": 429, "retry_after": 3600}])
    with pytest.raises(NetworkError, match=r"answered 429 for org/toy\. It asks to wait for 3600 s"):
        fetch(hub, tmp_path)


def test_a_server_that_wants_to_be_left_alone_for_too_long_is_told_of(
    hub: HubProcess, tmp_path: Path
) -> None:
    hub.control(faults=[{"kind": "status", "status": 429, "retry_after": 10**12}] * 8)
    with pytest.raises(NetworkError, match=r"answered 429 and asks to wait for 10+ s\. Run the same command"):
        fetch(hub, tmp_path)
    with Hub(hub.endpoint, "", FAST) as client, pytest.raises(NetworkError, match="asks to wait for"):
        client.header(client.repository("org/toy").variants[0].files[0], tmp_path, Notes())


def test_while_a_header_does_not_come_it_is_told_why(hub: HubProcess, tmp_path: Path) -> None:
    busy = {"kind": "status", "status": 503}
    hub.control(faults=[{"kind": "silence"}, busy, {"kind": "page"}])
    watcher = Notes()
    with (
        Hub(hub.endpoint, "", replace(FAST, answer_within=2)) as client,
        pytest.raises(ModelError, match="is not a GGUF file"),
    ):
        client.header(client.repository("org/toy").variants[0].files[0], tmp_path, watcher)
    assert watcher.losses == [
        "no byte for 2 s",
        "the server answered 503",
        "a web page came instead of the file (a login page, a proxy?)",
    ]


def test_a_hub_that_says_nothing_is_given_up_within_a_quarter_minute(hub: HubProcess, tmp_path: Path) -> None:
    assert TransferOptions().answer_within <= 15
    hub.control(api_faults=[{"kind": "silence"}])
    with pytest.raises(NetworkError, match=r"does not answer. .* try the mirror hf-mirror.com: --mirror"):
        fetch(hub, tmp_path, TransferOptions(answer_within=0.3))


def test_a_login_page_is_not_mistaken_for_a_file_or_a_list_of_files(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(faults=[{"kind": "page"}] * 2)
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert watcher.losses == ["a web page came instead of the file (a login page, a proxy?)"] * 2
    hub.control(api_faults=[{"kind": "page"}])
    with pytest.raises(NetworkError, match="Is there a login page or a proxy in between"):
        fetch(hub, tmp_path)


def test_an_expired_address_is_requested_again(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(rate=8 * MB)
    watcher = Notes()
    thread, results = in_background(hub, tmp_path, watcher)
    assert watcher.changed.wait(20)
    hub.control(signature=1, rate=0)
    thread.join(60)
    assert results == [tmp_path / NAME] and (tmp_path / NAME).read_bytes() == CONTENT
    assert any("answered 403" in reason for reason in watcher.losses)


@pytest.mark.parametrize("cuts", [0, 4])
def test_without_ranges_one_connection_is_enough(hub: HubProcess, tmp_path: Path, cuts: int) -> None:
    hub.control(ranges=False, cuts=cuts, cut_within=(MB, 16 * MB))
    assert fetch(hub, tmp_path).read_bytes() == CONTENT
    assert hub.stats()["requests"]["cdn"] == cuts + 1


def test_a_wrong_content_range_is_never_written(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(lie="offset")
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert any("the server sent bytes" in reason for reason in watcher.losses)


@pytest.mark.parametrize("misdeed", [{"wrong_hash": True}, {"lie": "body"}])
def test_bytes_with_a_wrong_hash_never_get_the_name(
    hub: HubProcess, tmp_path: Path, misdeed: dict[str, object]
) -> None:
    hub.control(**misdeed)
    with pytest.raises(ModelError, match=r"arrived with sha256 [0-9a-f]{64}, but the hub says [0-9a-f]{64}"):
        fetch(hub, tmp_path)
    assert [p.name for p in tmp_path.glob("toy*")] == []
    hub.control(wrong_hash=False, lie="")
    assert fetch(hub, tmp_path).read_bytes() == CONTENT


def test_when_nothing_comes_it_gives_up_and_goes_on_later(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(faults=[{"kind": "cut", "after": 3 * MB}, *[{"kind": "reset"}] * 1000])
    impatient = TransferOptions(connections=1, patience=0.5, first_backoff=0.01, longest_backoff=0.1)
    with pytest.raises(
        NetworkError, match=r"No byte of .* arrived for .* 17 % is here: run the same command"
    ):
        fetch(hub, tmp_path, impatient)
    assert not (tmp_path / NAME).exists()
    assert install.unfinished([tmp_path]) == {tmp_path / NAME: (3 * MB, len(CONTENT))}
    hub.control(faults=[])
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == CONTENT
    assert hub.stats()["bytes"] == len(CONTENT)


def test_a_file_that_changed_between_two_runs_is_fetched_from_the_start(
    hub: HubProcess, tmp_path: Path
) -> None:
    hub.control(faults=[{"kind": "cut", "after": 3 * MB}, *[{"kind": "reset"}] * 1000])
    impatient = TransferOptions(connections=1, patience=0.3, first_backoff=0.01, longest_backoff=0.1)
    with pytest.raises(NetworkError):
        fetch(hub, tmp_path, impatient)
    hub.control(faults=[])
    changed = CONTENT[::-1]
    hub.put(f"org/toy/{NAME}", changed)
    watcher = Notes()
    assert fetch(hub, tmp_path, watcher=watcher).read_bytes() == changed
    assert watcher.notes == [f"{NAME} has changed on the hub: starting again"]


def test_a_file_that_changes_meanwhile_is_noticed(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(rate=4 * MB)
    watcher = Notes()
    thread, results = in_background(hub, tmp_path, watcher)
    assert watcher.changed.wait(20)
    hub.put(f"org/toy/{NAME}", CONTENT + b"more")
    hub.control(rate=0)
    thread.join(60)
    assert isinstance(results[0], FileChanged)


def test_two_at_once_never_mix(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(rate=20 * MB)
    watchers = [Notes(), Notes()]
    running = [in_background(hub, tmp_path, watcher) for watcher in watchers]
    for thread, _ in running:
        thread.join(60)
    assert [results[0] for _, results in running] == [tmp_path / NAME] * 2
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert hub.stats()["bytes"] == len(CONTENT)
    assert any("another llamachat is fetching" in note for watcher in watchers for note in watcher.notes)


def test_shards_come_whole_or_not_at_all(hub: HubProcess, tmp_path: Path) -> None:
    parts = [CONTENT[: 6 * MB], CONTENT[6 * MB :]]
    (hub.root / f"org/toy/{NAME}").unlink()
    for number, part in enumerate(parts, 1):
        hub.put(f"org/toy/toy-Q4_K_M-0000{number}-of-00002.gguf", part)
    hub.control(faults=[{"kind": "none"}, {"kind": "cut", "after": MB}, *[{"kind": "reset"}] * 1000])
    impatient = TransferOptions(connections=1, patience=0.5, first_backoff=0.01, longest_backoff=0.1)
    with pytest.raises(NetworkError):
        fetch(hub, tmp_path, impatient)
    assert list(tmp_path.glob("*.gguf")) == []
    hub.control(faults=[])
    first = fetch(hub, tmp_path)
    assert first.name == "toy-Q4_K_M-00001-of-00002.gguf"
    assert [p.read_bytes() for p in sorted(tmp_path.glob("*.gguf"))] == parts
    assert hub.stats()["twice"] == 0


def test_a_gated_repository_needs_a_token_which_only_the_hub_gets(hub: HubProcess, tmp_path: Path) -> None:
    hub.put(f"org/toy/{NAME}", CONTENT, gated="manual")
    hub.control(token="hf_secret")
    for token in ("", "hf_wrong"):
        with pytest.raises(AuthError, match=r"org/toy is gated.*Accept them at .*org/toy.*hf auth login"):
            fetch(hub, tmp_path, token=token)
    assert fetch(hub, tmp_path, token="hf_secret").read_bytes() == CONTENT
    assert not any(line.startswith("cdn") for line in hub.stats()["tokens"])


def test_another_server_never_sees_the_token(hub: HubProcess, tmp_path: Path) -> None:
    with Hub(hub.endpoint, "hf_secret", FAST) as client:
        variant = client.plain_url(f"http://localhost:{hub.port}/cdn/0/org/toy/{NAME}")
        path = install.pull(client, variant, tmp_path, Record("elsewhere", "", "", 0), Notes())
    assert path.read_bytes() == CONTENT
    assert hub.stats()["tokens"] == []


@pytest.mark.parametrize(("scheme", "token"), [("https", "hf_secret"), ("http", None)])
def test_a_mirror_in_an_address_gets_the_token_encrypted_only(scheme: str, token: str | None) -> None:
    with Hub("https://hub.example", "hf_secret", FAST) as client:
        client.parse(f"{scheme}://hf-mirror.com/org/toy/tree/main")
        assert (client.endpoint, client.token) == (f"{scheme}://hf-mirror.com", token)


def test_an_address_that_is_signed_for_get_alone_will_do(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(only_get=True)
    with Hub(hub.endpoint, "", FAST) as client:
        variant = client.plain_url(f"http://localhost:{hub.port}/cdn/0/org/toy/{NAME}?signature=x")
        path = install.pull(client, variant, tmp_path, Record("elsewhere", "", "", 0), Notes())
    assert path.name == NAME and path.read_bytes() == CONTENT


def test_a_server_that_is_silent_is_named_itself() -> None:
    with (
        Hub("http://127.0.0.1:8", "", FAST) as client,
        pytest.raises(NetworkError, match=r"http://localhost:9 does not answer.*and the address"),
    ):
        client.plain_url("http://localhost:9/x.gguf")


def test_a_token_that_ran_out_is_told(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(api_faults=[{"kind": "status", "status": 403}])
    with pytest.raises(AuthError, match=r"answered 403 for org/toy. The token may have expired: log in"):
        fetch(hub, tmp_path, token="hf_old")


def test_names_stay_in_the_folder(hub: HubProcess, tmp_path: Path) -> None:
    names = ["..\\..\\evil-Q8_0.gguf", "a b 通义 'x' 100%-Q2_K.gguf", "\x1b[2Jevil-Q3_K_M.gguf"]
    for name in names:
        hub.put(f"org/toy/{name}", CONTENT)
    with Hub(hub.endpoint, "", FAST) as client:
        variants = client.repository("org/toy").variants
        assert sorted(variant.name for variant in variants) == [names[1], NAME]
        odd = next(variant for variant in variants if variant.quant == "Q2_K")
        path = install.pull(client, odd, tmp_path / "models", Record("org/toy", "", "", 0), Notes())
    assert path == tmp_path / "models" / names[1] and path.read_bytes() == CONTENT


def test_a_full_disk_is_told_before_the_first_byte(hub: HubProcess, tmp_path: Path) -> None:
    with Hub(hub.endpoint, "", FAST) as client:
        file = client.repository("org/toy").variants[0].files[0]
        huge = Variant("Q4_K_M", (type(file)(file.name, file.url, type(file.identity)(1 << 60)),))
        with pytest.raises(ModelError, match=r"needs 1152921504.* GB, and .* GB free"):
            install.pull(client, huge, tmp_path, Record("org/toy", "", "", 0), Notes())
    assert "cdn" not in hub.stats()["requests"]


def test_another_file_of_that_name_is_not_touched(hub: HubProcess, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(ModelError, match="is not the file that the hub has"):
        fetch(hub, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine"


def test_a_model_of_another_repository_is_not_overwritten(hub: HubProcess, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    hub.put(f"org/toy/{NAME}", CONTENT[::-1])
    with Hub(hub.endpoint, "", FAST) as client:
        variant = client.repository("org/toy").variants[0]
        with pytest.raises(ModelError, match="is not the file that"):
            install.pull(client, variant, tmp_path, Record("other/toy", "", "", 0), Notes())
    assert path.read_bytes() == CONTENT


def test_what_is_being_fetched_can_not_be_removed(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(rate=8 * MB)
    watcher = Notes()
    thread, results = in_background(hub, tmp_path, watcher)
    assert watcher.changed.wait(20)
    with pytest.raises(ModelError, match=f"{NAME} is being fetched. Stop that first."):
        install.remove(tmp_path / NAME)
    hub.control(rate=0)
    thread.join(60)
    assert results == [tmp_path / NAME] and (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_that_is_here_needs_no_disk_space(hub: HubProcess, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    with Hub(hub.endpoint, "", FAST) as client:
        file = client.repository("org/toy").variants[0].files[0]
    install.check_room(Variant("", (replace(file, identity=Identity(1 << 60)),)), tmp_path)


def test_a_file_that_was_brought_by_other_means_is_recognised(hub: HubProcess, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(hub, tmp_path) == tmp_path / NAME
    assert "cdn" not in hub.stats()["requests"]
    assert read_record(tmp_path / NAME)


def test_the_beginning_of_a_download_never_replaces_the_whole_file(hub: HubProcess, tmp_path: Path) -> None:
    hub.control(faults=[{"kind": "cut", "after": 3 * MB}, *[{"kind": "reset"}] * 1000])
    impatient = TransferOptions(connections=1, patience=0.3, first_backoff=0.01, longest_backoff=0.1)
    with pytest.raises(NetworkError):
        fetch(hub, tmp_path, impatient)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(hub, tmp_path).read_bytes() == CONTENT
    assert install.unfinished([tmp_path]) == {} and list(tmp_path.glob("*.part")) == []


def test_another_quantisation_of_the_same_name_is_not_overwritten(hub: HubProcess, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    hub.put(f"org/toy/{NAME}", CONTENT[::-1])
    with Hub(hub.endpoint, "", FAST) as client:
        variant = client.repository("org/toy").variants[0]
        with pytest.raises(ModelError, match="is not the file that"):
            install.pull(client, variant, tmp_path, Record("org/toy", "Q8_0", "", 0), Notes())
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("changed", [CONTENT[::-1], CONTENT + b"more"])
def test_a_changed_file_of_a_server_without_hashes_is_fetched_again(
    hub: HubProcess, tmp_path: Path, changed: bytes
) -> None:
    url = f"http://localhost:{hub.port}/cdn/0/org/toy/{NAME}"

    def again() -> bytes:
        with Hub(hub.endpoint, "", FAST) as client:
            return install.pull(
                client, client.plain_url(url), tmp_path, Record(url, "", "", 0), Notes()
            ).read_bytes()

    assert again() == again() == CONTENT
    assert hub.stats()["bytes"] == len(CONTENT)
    hub.put(f"org/toy/{NAME}", changed)
    assert again() == changed


def test_a_record_that_promises_more_than_there_is_counts_for_nothing(
    hub: HubProcess, tmp_path: Path
) -> None:
    hub.control(faults=[{"kind": "cut", "after": 3 * MB}, *[{"kind": "reset"}] * 1000])
    impatient = TransferOptions(connections=1, patience=0.3, first_backoff=0.01, longest_backoff=0.1)
    with pytest.raises(NetworkError):
        fetch(hub, tmp_path, impatient)
    Paths(tmp_path, NAME).part.write_bytes(b"")
    hub.control(faults=[])
    assert fetch(hub, tmp_path).read_bytes() == CONTENT


def test_a_part_file_that_another_program_truncates_ends_the_download(
    hub: HubProcess, tmp_path: Path
) -> None:
    """What is written after that leaves zeros, where the hash has been computed already."""
    hub.control(rate=8 * MB)
    watcher = Notes()
    thread, results = in_background(hub, tmp_path, watcher)
    wait_for(lambda: watcher.have > 2 * MB, "the first bytes")
    os.truncate(Paths(tmp_path, NAME).part, MB)
    thread.join(60)
    hub.control(rate=0)
    assert isinstance(results[0], ModelError)
    assert f"{NAME}.part was truncated by another program. Run the same command" in str(results[0])
    assert fetch(hub, tmp_path).read_bytes() == CONTENT


def in_background(
    hub: HubProcess, folder: Path, watcher: Notes
) -> tuple[threading.Thread, list[Path | Exception]]:
    results: list[Path | Exception] = []

    def run() -> None:
        try:
            results.append(fetch(hub, folder, watcher=watcher))
        except Exception as error:  # noqa: BLE001 - looked at by the test
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results
