"""Which model is meant, and where models are looked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llamachat.errors import ModelError
from llamachat.hub import local_models
from llamachat.hub.local_models import BUNDLED, HERE, LocalModel, Places
from tests.gguf_files import LLAMA, gguf
from tests.support import clean_env, llamachat

SOURCE = Path(local_models.__file__).parents[1]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def at(*folders: Path, cwd: Path | None = None) -> Places:
    return Places(folders, cwd)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(gguf())


@pytest.mark.parametrize("name", ["Alpha", "Alpha.gguf", "alpha"])
def test_a_name_in_the_models_folder_with_or_without_suffix(models: Path, name: str) -> None:
    put(models, "Alpha.gguf", "Beta.gguf")
    assert local_models.resolve(name, at(models)) == LocalModel(models / "Alpha.gguf", "Alpha")


def test_a_path_wins(models: Path) -> None:
    put(models, "Alpha.gguf")
    assert local_models.resolve(str(models / "Alpha.gguf"), at()).path == models / "Alpha.gguf"


def test_without_a_name_the_only_one(models: Path) -> None:
    put(models, "Alpha.gguf")
    (models / "readme.txt").write_text("not a model")
    assert local_models.resolve(None, at(models)).name == "Alpha"


def test_without_a_name_and_an_empty_folder_the_bundled_one(models: Path, small_model: Path) -> None:
    assert local_models.resolve(None, at(models)) == LocalModel(small_model, small_model.stem, BUNDLED)


def test_the_bundled_one_by_name_and_by_path(models: Path, small_model: Path) -> None:
    put(models, "Alpha.gguf")
    assert local_models.resolve(small_model.stem, at(models)).bundled
    assert local_models.resolve(str(small_model), at(models)).bundled


def test_several_are_listed_with_how_to_choose(models: Path) -> None:
    put(models, "Alpha.gguf", "Beta.gguf")
    with pytest.raises(ModelError, match="Alpha, Beta") as caught:
        local_models.resolve(None, at(models))
    assert "llamachat serve MODEL" in caught.value.hint


def test_shards_are_one_model_named_by_its_first(models: Path) -> None:
    shards = [f"Big-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    put(models, *shards)
    assert local_models.list_models(at(models)) == [LocalModel(models / shards[0], "Big-00001-of-00003")]
    assert local_models.resolve(str(models / shards[1]), at()).path == models / shards[0]
    assert local_models.resolve("big", at(models)).path == models / shards[0]
    assert local_models.check(local_models.resolve(None, at(models))).weight_bytes == 3 * 64 * 32 * 4


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_shard_is_named(models: Path, missing: int) -> None:
    put(models, *(f"Big-{n:05}-of-00003.gguf" for n in (1, 2, 3) if n != missing))
    with pytest.raises(ModelError, match=f"Big-{missing:05}-of-00003.gguf"):
        local_models.check(local_models.resolve(None, at(models)))


@pytest.mark.parametrize("suffix", [".part", ".incomplete", ".aria2", ".crdownload"])
def test_a_download_that_is_not_over_is_named(models: Path, suffix: str) -> None:
    (models / f"Alpha.gguf{suffix}").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=f"Alpha.gguf{suffix}"):
        local_models.resolve("Alpha.gguf", at(models))


def test_a_file_that_aria2_still_fills_is_named(models: Path) -> None:
    put(models, "Alpha.gguf", "Alpha.gguf.aria2")
    with pytest.raises(ModelError, match="partial download"):
        local_models.check(local_models.resolve("Alpha", at(models)))


def test_a_folder_names_the_files_in_it(models: Path) -> None:
    put(models, "Alpha.gguf")
    with pytest.raises(ModelError, match="is a folder") as caught:
        local_models.resolve(str(models), at())
    assert "Alpha.gguf" in caught.value.hint


def test_a_vocabulary_alone_is_not_a_model(models: Path) -> None:
    (models / "vocab.gguf").write_bytes(gguf(LLAMA, shapes=()))
    with pytest.raises(ModelError, match="only a vocabulary"):
        local_models.check(local_models.resolve("vocab", at(models)))


def test_a_model_in_the_current_directory_is_found(models: Path, tmp_path: Path) -> None:
    put(tmp_path, "Alpha.gguf", "mmproj-Alpha.gguf")
    found = LocalModel(tmp_path / "Alpha.gguf", "Alpha", HERE)
    assert local_models.resolve(None, at(models, cwd=tmp_path)) == found
    assert local_models.resolve("alpha", at(models, cwd=tmp_path)) == found
    put(models, "Beta.gguf")
    with pytest.raises(ModelError, match="several models: Beta, Alpha"):
        local_models.resolve(None, at(models, cwd=tmp_path))


def test_the_models_folder_as_the_current_directory_counts_once(models: Path) -> None:
    put(models, "Alpha.gguf")
    assert local_models.resolve(None, at(models, cwd=models)) == LocalModel(models / "Alpha.gguf", "Alpha")


def test_a_folder_of_a_models_name_does_not_hide_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models, "Alpha.gguf")
    (tmp_path / "Alpha").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local_models.resolve("Alpha", at(models)).path == models / "Alpha.gguf"


def test_new_models_go_to_the_checkout_that_contains_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "src" / "llamachat").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "deep" / "down").mkdir(parents=True)
    assert local_models.places(cwd=tmp_path / "deep" / "down").folders[0] == tmp_path / "models"


def test_elsewhere_they_go_to_the_users_folder(tmp_path: Path) -> None:
    assert local_models.places(cwd=tmp_path).folders[0].parts[-2:] == ("llamachat", "models")


def test_a_model_in_the_programs_checkout_is_found_from_everywhere(tmp_path: Path) -> None:
    """The program as a user has it: a clone, run from another directory."""
    clone, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    shutil.copytree(SOURCE, clone / "src" / "llamachat")
    (clone / "models").mkdir()
    put(clone / "models", "Alpha.gguf")
    elsewhere.mkdir()
    env = clean_env(tmp_path, PYTHONPATH=str(clone / "src"))
    del env["LLAMACHAT_FOLDER"]
    done = llamachat("serve", "--print-command", env=env, cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "") and str(clone / "models" / "Alpha.gguf") in done.stdout


def test_a_named_folder_is_the_only_models_folder(tmp_path: Path) -> None:
    assert local_models.places(str(tmp_path), tmp_path).folders == (tmp_path,)
