"""What is known of a local model without running it, and whether its files are intact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llamachat.errors import LlamachatError, ModelError
from llamachat.hub import estimate, gguf, local_models, other_stores, projector, quants
from llamachat.hub.download import sha256_of
from llamachat.hub.local_models import LocalModel
from llamachat.hub.model_folder import read_record
from llamachat.language import _, reason

_NOTHING = estimate.Estimate(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """From the header and the record of the download; only `problem` where the model can't be read.

    `projector` is what the model sees pictures with; `need` has its weights, too.
    """

    quant: str = ""
    n_params: int = 0
    n_ctx_train: int = 0
    licence: str = ""
    need: estimate.Estimate = _NOTHING
    projector: Path | None = None
    problem: str = ""


def facts_of(model: LocalModel, n_ctx: int) -> Facts:
    """Read the header; a model that is damaged or incomplete has a `problem`."""
    try:
        header = local_models.check(model)
        sees_with = projector.beside(model)
        need = estimate.estimate(header, n_ctx)
        if sees_with:
            need = need.with_weights(projector.check(sees_with))
    except LlamachatError as error:
        return Facts(problem=error.message)
    record = read_record(model.path)
    return Facts(
        quant=quant_of(header, model.path.name),
        n_params=sum(tensor.n_values for tensor in header.tensors),
        n_ctx_train=header.n_ctx_train or 0,
        licence=(record.licence if record else "") or header.text("general.license"),
        need=need,
        projector=sees_with,
    )


def quant_of(header: gguf.GGUFHeader, file_name: str) -> str:
    """From the header's file type, else from the file's name."""
    file_type = header.metadata.get("general.file_type")
    known = quants.FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
    return known or quants.quant_of(file_name)


def verify(model: LocalModel) -> str:
    """Compare each file with its known hash; returns "" if all agree, else what could be checked.

    Raises ModelError for another hash, and for a truncated file.
    """
    local_models.check(model)
    sees_with = projector.beside(model)
    for path in (*local_models.shards(model.path), *([sees_with] if sees_with else [])):
        record = read_record(path)
        wanted = record.sha256 if record else other_stores.named_sha256(path)
        if not wanted:
            return _("no hash is known; header and size are right")
        try:
            actual = sha256_of(path)
        except OSError as error:
            raise ModelError(
                _("{path} can't be read: {reason}.").format(path=path, reason=reason(error))
            ) from error
        if actual != wanted:
            text = _("{path} has sha256 {actual}, it should be {wanted}.").format(
                path=path, actual=actual, wanted=wanted
            )
            raise ModelError(text, _("Remove it and fetch it again."))
    return ""
