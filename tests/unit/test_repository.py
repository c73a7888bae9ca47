"""A repository's list of files, read with distrust."""

from __future__ import annotations

import pytest

from llamachat.errors import NetworkError
from llamachat.hub import install, projector
from llamachat.hub import repository as repo

HUB = "https://hub.example"


def repository(*names: str, **more: object) -> repo.Repository:
    siblings = [{"rfilename": name, "size": 5, "lfs": {"sha256": "a" * 64}} for name in names]
    return repo.read({"id": "o/r", "sha": "c0ffee", "siblings": siblings, **more}, HUB)


@pytest.mark.parametrize(
    "answer", [None, [], "", {}, {"id": "o/r", "siblings": [1]}, {"id": "o/r", "siblings": [{}]}]
)
def test_an_answer_that_is_not_a_list_of_files_is_one_line(answer: object) -> None:
    with pytest.raises(NetworkError, match="something that is not a list of files"):
        repo.read(answer, HUB)


def test_a_model_lacking_a_shard_is_left_out() -> None:
    shards = [f"m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert repository(*shards[:2]).variants == ()
    (variant,) = repository(*shards).variants
    assert variant.name == "m-Q8_0.gguf" and variant.size == 15


@pytest.mark.parametrize(
    ("projectors", "chosen", "kept"),
    [
        (("mmproj-model-f16.gguf",), 0, "mmproj-V-7B-f16.gguf"),
        (("mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"), 1, "mmproj-V-7B-F16.gguf"),
        (("mmproj-V-3B-F16.gguf", "mmproj-V-7B-F32.gguf"), 1, "mmproj-V-7B-F32.gguf"),
        (("V-7B.mmproj-Q8_0.gguf",), 0, "V-7B.mmproj-Q8_0.gguf"),
        (("clip/mmproj.gguf",), 0, "mmproj-V-7B.gguf"),
        ((), None, None),
    ],
)
def test_a_projector_is_no_model_and_gets_the_name_of_its_model(
    projectors: tuple[str, ...], chosen: int | None, kept: str | None
) -> None:
    found = repository("V-7B-Q4_K_M.gguf", *projectors)
    (variant,) = found.variants
    file = install.choose_projector(found, variant)
    assert (file.name if file else None) == kept
    if file and chosen is not None:
        assert file.url.endswith(projectors[chosen])
        assert projector.kept_as(file.name, variant.name) == file.name


def test_folders_of_the_hub_are_left_out() -> None:
    (variant,) = repository("../../Q4_K_M/m.gguf").variants
    assert variant.name == "m.gguf" and variant.quant == "Q4_K_M"
    assert variant.files[0].url == f"{HUB}/o/r/resolve/c0ffee/../../Q4_K_M/m.gguf"


@pytest.mark.parametrize("name", ["a\\b.gguf", "C:m.gguf", "a\nb.gguf", "a\x1bb.gguf", "a*.gguf"])
def test_names_that_are_unsafe_somewhere_are_left_out(name: str) -> None:
    assert repository(name).variants == ()


def test_an_invalid_size_or_hash_does_not_count() -> None:
    odd = [{"rfilename": "a.gguf", "size": size} for size in (None, 0, -1, "5")]
    assert repo.read({"id": "o/r", "siblings": odd}, HUB).variants == ()
    bad = [{"rfilename": "a.gguf", "size": 5, "lfs": {"sha256": "../x"}}]
    assert repo.read({"id": "o/r", "siblings": bad}, HUB).variants[0].files[0].identity.sha256 is None


@pytest.mark.parametrize(
    ("more", "licence"),
    [
        ({"cardData": {"license": "MIT"}}, "mit"),
        ({"cardData": {"license": ["llama3", "mit"]}}, "llama3"),
        ({"cardData": {"license": "other", "license_name": "qwen-research"}}, "qwen-research"),
        ({"cardData": None, "tags": ["gguf", "license:llama3.1"]}, "llama3.1"),
        ({}, ""),
    ],
)
def test_the_licence_is_that_of_the_card_or_the_tags(more: dict[str, object], licence: str) -> None:
    assert repository("m.gguf", **more).licence == licence
