"""Which model is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.errors import ModelError
from llamachat.hub import local
from tests.gguf_files import LLAMA, gguf


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(gguf())


@pytest.mark.parametrize("name", ["Alpha", "Alpha.gguf", "alpha"])
def test_a_name_in_the_models_folder_with_or_without_suffix(models: Path, name: str) -> None:
    put(models, "Alpha.gguf", "Beta.gguf")
    assert local.resolve(name, [models]) == local.LocalModel(models / "Alpha.gguf", "Alpha")


def test_a_path_wins(models: Path) -> None:
    put(models, "Alpha.gguf")
    assert local.resolve(str(models / "Alpha.gguf"), []).path == models / "Alpha.gguf"


def test_without_a_name_the_only_one(models: Path) -> None:
    put(models, "Alpha.gguf")
    (models / "readme.txt").write_text("not a model")
    assert local.resolve(None, [models]).name == "Alpha"


def test_without_a_name_and_an_empty_folder_the_bundled_one(models: Path, small_model: Path) -> None:
    assert local.resolve(None, [models]) == local.LocalModel(small_model, small_model.stem, bundled=True)


def test_the_bundled_one_by_name_and_by_path(models: Path, small_model: Path) -> None:
    put(models, "Alpha.gguf")
    assert local.resolve(small_model.stem, [models]).bundled
    assert local.resolve(str(small_model), [models]).bundled


def test_several_are_listed_with_how_to_choose(models: Path) -> None:
    put(models, "Alpha.gguf", "Beta.gguf")
    with pytest.raises(ModelError, match="Alpha, Beta") as caught:
        local.resolve(None, [models])
    assert "llamachat serve MODEL" in caught.value.hint


def test_shards_are_one_model_named_by_its_first(models: Path) -> None:
    shards = [f"Big-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    put(models, *shards)
    assert local.list_models([models]) == [local.LocalModel(models / shards[0], "Big-00001-of-00003")]
    assert local.resolve(str(models / shards[1]), []).path == models / shards[0]
    assert local.resolve("big", [models]).path == models / shards[0]
    assert local.check(local.resolve(None, [models])).weight_bytes == 3 * 64 * 32 * 4


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_shard_is_named(models: Path, missing: int) -> None:
    put(models, *(f"Big-{n:05}-of-00003.gguf" for n in (1, 2, 3) if n != missing))
    with pytest.raises(ModelError, match=f"Big-{missing:05}-of-00003.gguf"):
        local.check(local.resolve(None, [models]))


@pytest.mark.parametrize("suffix", [".part", ".incomplete", ".aria2", ".crdownload"])
def test_a_download_that_is_not_over_is_named(models: Path, suffix: str) -> None:
    (models / f"Alpha.gguf{suffix}").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=f"Alpha.gguf{suffix}"):
        local.resolve("Alpha.gguf", [models])


def test_a_file_that_aria2_still_fills_is_named(models: Path) -> None:
    put(models, "Alpha.gguf", "Alpha.gguf.aria2")
    with pytest.raises(ModelError, match="partial download"):
        local.check(local.resolve("Alpha", [models]))


def test_a_folder_names_the_files_in_it(models: Path) -> None:
    put(models, "Alpha.gguf")
    with pytest.raises(ModelError, match="is a folder") as caught:
        local.resolve(str(models), [])
    assert "Alpha.gguf" in caught.value.hint


def test_a_vocabulary_alone_is_no_model(models: Path) -> None:
    (models / "vocab.gguf").write_bytes(gguf(LLAMA, shapes=()))
    with pytest.raises(ModelError, match="only a vocabulary"):
        local.check(local.resolve("vocab", [models]))


def test_the_models_folder_is_that_of_the_checkout_one_stands_in(tmp_path: Path) -> None:
    (tmp_path / "src" / "llamachat").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "deep" / "down").mkdir(parents=True)
    assert local.models_folders(tmp_path / "deep" / "down") == (tmp_path / "models",)


def test_elsewhere_the_models_folder_is_the_users(tmp_path: Path) -> None:
    (folder,) = local.models_folders(tmp_path)
    assert folder.parts[-2:] == ("llamachat", "models")
