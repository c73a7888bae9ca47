"""The projector of a model that sees: a GGUF file of its own, with `mmproj` in its name, beside the model."""

from __future__ import annotations

import re
from pathlib import Path

from llamachat.errors import ModelError
from llamachat.hub import gguf
from llamachat.hub.local_models import LocalModel, Places, list_models
from llamachat.language import _

NAME = re.compile(r"mmproj", re.IGNORECASE)
_QUANT = re.compile(r"[-._]((i?q\d\w*)|bf16|f16|f32|\d{5}-of-\d{5})(?=[-._]|$)", re.IGNORECASE)


def beside(model: LocalModel) -> Path | None:
    """The projector in the model's folder that has its name, or the only one beside an only model."""
    folder = model.path.parent
    try:
        found = sorted(path for path in folder.glob("*.gguf") if NAME.search(path.name))
        alone = len(list_models(Places((folder,)))) == 1
    except OSError:
        return None
    base = _QUANT.sub("", model.path.stem).lower()
    named = [path for path in found if base in path.name.lower()]
    if named:
        return min(named, key=lambda path: len(path.name))  # that of `m-large` has the name of `m` in its own
    return found[0] if len(found) == 1 and alone else None


def kept_as(name: str, model: str) -> str:
    """The name by which a projector is found beside the file `model`; on the hub many have the same one."""
    base = _QUANT.sub("", Path(model).stem)
    if base.lower() in name.lower():
        return name
    quant = _QUANT.search(Path(name).stem)
    return f"mmproj-{base}{f'-{quant[1]}' if quant else ''}.gguf"


def check(path: Path) -> int:
    """The bytes of its weights. Raises ModelError if the file is not a projector for pictures."""
    if not path.is_file():
        raise ModelError(_("There is no file {path}.").format(path=path))
    header = gguf.open_header(path)
    if header.metadata.get("general.architecture") != "clip" or not any(
        header.metadata.get(f"clip.has_{what}") for what in ("vision_encoder", "llava_projector")
    ):
        raise ModelError(
            _("{path} is not a projector for pictures.").format(path=path),
            _("It is a file with mmproj in its name, beside the model that it belongs to."),
        )
    return sum(tensor.n_bytes for tensor in header.tensors)
