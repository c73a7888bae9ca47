"""Names, ranges, records, sizes and advice: what the hub package works out without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.errors import ModelError, UsageError
from llamachat.hub import catalogue, estimate, gguf, quants, reference, segments
from llamachat.hub.hardware import Machine
from llamachat.hub.segments import Identity, Journal, read_identity, read_progress

GB = 10**9
ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))))


@given(ranges)
def test_merged_ranges_and_what_is_missing_make_up_the_file(parts: list[segments.Span]) -> None:
    merged = segments.merge(parts)
    covered = {byte for start, end in parts for byte in range(start, end)}
    assert {byte for start, end in merged for byte in range(start, end)} == covered
    assert segments.total(merged) == len(covered)
    lacking = {byte for start, end in segments.missing(merged, 60) for byte in range(start, end)}
    assert lacking == set(range(60)) - covered
    assert segments.frontier(merged) == next(byte for byte in range(61) if byte not in covered)


IDENTITY = Identity(1000, "a" * 64)


def written(path: Path, boot: float = 1e9) -> Journal:
    journal = Journal(path, IDENTITY, boot, 1000)
    journal.add((0, 100))
    journal.mark_durable([(0, 100)])
    journal.add((100, 200))
    journal.add((500, 600))
    journal.close()
    return journal


def reopened(path: Path, identity: Identity = IDENTITY, boot: float = 1e9, part_size: int = 1000) -> Journal:
    journal = Journal(path, identity, boot, part_size)
    journal.close()
    return journal


def test_after_a_killed_process_all_that_was_written_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    assert reopened(path).done == reopened(path).done == [(0, 200), (500, 600)]
    assert read_progress(path) == 300 and read_identity(path) == IDENTITY


def test_after_a_reboot_only_what_was_durable_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    assert reopened(path, boot=2e9).done == [(0, 100)]
    assert reopened(path, boot=3e9).done == [(0, 100)]


def test_what_the_part_file_no_longer_has_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    assert reopened(path, part_size=550).done == [(0, 200), (500, 550)]
    assert reopened(path, part_size=50, boot=2e9).done == [(0, 50)]


def test_the_record_of_another_file_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    journal = reopened(path, Identity(1000, "b" * 64))
    assert journal.changed and journal.done == []


@pytest.mark.parametrize("tail", [b"+ 200 3", b"+ 200", b"\x00\xff\n", b"? 1 2\n"])
def test_a_torn_or_strange_line_does_no_harm(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal"
    written(path)
    path.write_bytes(path.read_bytes() + tail)
    assert reopened(path).done == [(0, 200), (500, 600)]


@pytest.mark.parametrize(
    ("text", "repo", "quant", "file"),
    [
        ("llama3", "QuantFactory/Meta-Llama-3-8B-Instruct-GGUF", "", ""),
        ("LLAMA3:q2_k", "QuantFactory/Meta-Llama-3-8B-Instruct-GGUF", "Q2_K", ""),
        ("llama3:70b", "QuantFactory/Meta-Llama-3-70B-Instruct-GGUF", "", ""),
        ("llama3:70b:Q2_K", "QuantFactory/Meta-Llama-3-70B-Instruct-GGUF", "Q2_K", ""),
        ("org/some.repo-GGUF:fp16", "org/some.repo-GGUF", "F16", ""),
        ("https://huggingface.co/org/repo", "org/repo", "", ""),
        ("https://huggingface.co/org/repo/tree/main", "org/repo", "", ""),
        ("huggingface.co/org/repo/blob/main/a/b.gguf", "org/repo", "", "a/b.gguf"),
        ("https://hf-mirror.com/org/repo/resolve/main/b.gguf?download=true", "org/repo", "", "b.gguf"),
        ("https://huggingface.co/org/repo/blob/refs%2Fpr%2F1/b%20c.gguf", "org/repo", "", "b c.gguf"),
        ("hf.co/org/repo:Q4_K_M", "org/repo", "Q4_K_M", ""),
        ("org/repo:UD-Q4_K_XL", "org/repo", "Q4_K_XL", ""),
        ("org/repo:q4km", "org/repo", "Q4_K_M", ""),
        ("hf.co/org/repo:Q99", "org/repo", "Q99", ""),
    ],
)
def test_what_the_user_may_name(text: str, repo: str, quant: str, file: str) -> None:
    parsed = reference.parse(text)
    assert (parsed.repo, parsed.quant, parsed.file, parsed.url) == (repo, quant, file, "")


@pytest.mark.parametrize(
    ("text", "hub"),
    [
        ("https://hf-mirror.com/org/repo/tree/main", "https://hf-mirror.com"),
        ("hf-mirror.com/org/repo:Q4_K_M", "https://hf-mirror.com"),
        ("http://hf-mirror.com/org/repo/blob/main/b.gguf", "http://hf-mirror.com"),
        ("https://huggingface.co/org/repo/tree/main", ""),
        ("https://hub.example/org/repo", ""),
        ("org/repo", ""),
    ],
)
def test_an_address_of_a_mirror_names_the_hub_to_ask(text: str, hub: str) -> None:
    parsed = reference.parse(text, "https://hub.example")
    assert (parsed.repo, parsed.hub) == ("org/repo", hub)


def test_any_other_url_is_fetched_as_it_is() -> None:
    assert reference.parse("https://example.org/a/b.gguf").url == "https://example.org/a/b.gguf"


@pytest.mark.parametrize(
    "text", ["https://", "file:///etc/x.gguf", "http://[::1/x.gguf", "http://h:99999/x.gguf"]
)
def test_an_address_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid address"):
        reference.parse(text)


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"Known names: llama3, .*qwen3"):
        reference.parse("llama9")


@pytest.mark.parametrize(
    ("file", "quant"),
    [
        ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("model-IQ3_XXS.gguf", "IQ3_XXS"),
        ("model-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("model-fp16.gguf", "F16"),
        ("model.BF16.gguf", "BF16"),
        ("gpt-MXFP4.gguf", "MXFP4"),
        ("model-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("Qwen3-4B-Q8_0.gguf", "Q8_0"),
        ("Qwen3-4B.gguf", ""),
    ],
)
def test_a_file_name_tells_its_quantisation(file: str, quant: str) -> None:
    assert quants.quant_of(file) == quant


def test_every_known_quantisation_is_explained_in_both_languages() -> None:
    for name in {*quants.BITS, *quants.FILE_TYPES.values()}:
        english, chinese = quants.explain(name, "en"), quants.explain(name, "zh")
        assert english != chinese and len(english.splitlines()) == len(chinese.splitlines()) >= 3
    assert "medium mix" in quants.explain("q4_k_m", "en")
    assert "k-quants" in quants.explain("Q4_K_M", "zh") and "中（medium）" in quants.explain("Q4_K_M", "zh")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Q2_K_L", "noticeably worse"),
        ("Q3_K_XL", "A compromise"),
        ("UD-Q4_K_XL", "The usual choice"),
        ("i1-Q4_K", "The usual choice"),
        ("Q6_K_L", "Almost indistinguishable"),
        ("Q8_K_XL", "Almost indistinguishable"),
        ("Q3_K_L", "even more layers"),
        ("Q5_K_L", "larger than the plain variant"),
        ("TQ1_0", "ternary"),
        ("Q1_0", "noticeably worse"),
        ("MXFP4_MOE", "blocks of 32"),
        ("NVFP4", "blocks of 16"),
        ("Q4_0_8_8", "no longer reads this"),
    ],
)
def test_variations_are_explained_as_what_they_are(name: str, words: str) -> None:
    assert words in quants.explain(name, "en")
    assert len(quants.explain(name, "en").splitlines()) == len(quants.explain(name, "zh").splitlines())


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("Q4KM", "Q4_K_M"),
        ("iq3xxs", "IQ3_XXS"),
        ("q80", "Q8_0"),
        ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "Q4_K_M"),
        ("big-Q8_0-00001-of-00002.gguf", "Q8_0"),
    ],
)
def test_other_spellings_and_files_are_explained_alike(text: str, like: str) -> None:
    assert quants.explain(text, "en") == quants.explain(like, "en")


@pytest.mark.parametrize(
    ("letters", "words"), [("K_M", "medium mix"), ("_K", "k-quants"), ("xxs", "smallest")]
)
def test_letters_alone_are_explained(letters: str, words: str) -> None:
    assert words in quants.explain(letters, "en")
    assert len(quants.explain(letters, "en").splitlines()) == len(quants.explain(letters, "zh").splitlines())


@pytest.mark.parametrize("name", [".Q4_0", "_Q4_K", "/F16", "", "Q9_0", "IQ", "-Q4_K_M"])
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a quantisation"):
        quants.explain(name, "en")


def test_the_catalogue_is_sound() -> None:
    entries = catalogue.entries()
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.repo.count("/") == 1 and entry.name == entry.name.lower()
        assert entry.quant in quants.BITS and entry.weak_quant in ("", *quants.BITS)
        assert catalogue.licence(entry.licence).url
    chinese = [entry.params for entry in entries if "zh" in entry.languages]
    assert min(chinese) < 1 and max(chinese) > 14


def test_llama3_is_the_articles() -> None:
    entry = catalogue.find("llama3")
    assert entry and (entry.quant, entry.weak_quant) == ("Q4_K_M", "Q2_K")
    assert entry.file_size("Q4_K_M") == pytest.approx(4.92e9, rel=0.01)
    assert catalogue.licence(entry.licence).ask


@pytest.mark.parametrize(
    ("machine", "language", "name"),
    [
        (Machine(16 * GB, 12 * GB, 8, ""), "zh", "qwen3"),
        (Machine(16 * GB, 12 * GB, 4, ""), "zh", "qwen3:4b"),
        (Machine(16 * GB, 12 * GB, 8, ""), "en", "qwen3"),
        (Machine(4 * GB, 3 * GB, 2, ""), "zh", "qwen2.5:1.5b"),
        (Machine(32 * GB, 30 * GB, 8, "Apple GPU"), "zh", "qwen3:14b"),
    ],
)
def test_advice_suits_the_computer_and_the_language(machine: Machine, language: str, name: str) -> None:
    advised = catalogue.recommend(catalogue.entries(), machine, 100 * GB, language, 2048)
    assert advised.entry.name == name and "\n" not in advised.reason


def test_without_room_no_model_is_recommended() -> None:
    with pytest.raises(ModelError, match="No model of the catalogue fits"):
        catalogue.recommend(catalogue.entries(), Machine(16 * GB, GB, 8, ""), 10**8, "en", 2048)


def test_weak_machines_get_the_smaller_quantisation() -> None:
    entry = catalogue.find("llama3")
    assert entry
    assert catalogue.choose_quant(entry, Machine(16 * GB, GB, 8, ""), 2048) == "Q4_K_M"
    assert catalogue.choose_quant(entry, Machine(6 * GB, GB, 2, ""), 2048) == "Q2_K"


def test_fit_is_comfortable_tight_or_no() -> None:
    machine = Machine(16 * GB, GB, 8, "")
    assert [machine.fit(need * GB) for need in (9, 12, 15)] == ["comfortably", "tightly", "no"]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("n_ctx", "kv_type", "n_ubatch", "kv_cache", "buffers"),
    [
        (2048, "f16", 512, 45.00, 99.38),
        (4096, "f16", 512, 90.00, 99.38),
        (8192, "f16", 512, 180.00, 166.38),
        (2048, "f16", 256, 45.00, 49.69),
    ],
)
def test_the_estimate_is_what_the_engine_prints(
    small_model: Path, n_ctx: int, kv_type: str, n_ubatch: int, kv_cache: float, buffers: float
) -> None:
    """The numbers are those of llama.cpp's log, `--verbose true`, for this model (MiB)."""
    need = estimate.estimate(gguf.open_header(small_model), n_ctx, kv_type, n_ubatch)
    assert need.weights / MIB == pytest.approx(92.10, abs=0.01)
    assert need.kv_cache / MIB == pytest.approx(kv_cache, abs=0.01)
    assert need.buffers / MIB == pytest.approx(buffers, rel=0.01)


def test_a_quantised_cache_is_smaller(small_model: Path) -> None:
    header = gguf.open_header(small_model)
    assert estimate.estimate(header, 2048, "q8_0").kv_cache / MIB == pytest.approx(2 * 11.95, abs=0.01)
