"""A user's own model: a folder that `save_pretrained` wrote, or a hub id; with its head if it has one."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Collection
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from models.model import Model, Shape
from tasks.assets import file_sha256

WEIGHTS = "model.safetensors"
PARTS = "model.safetensors.index.json"
TOKENIZERS = (
    *("tokenizer.json", "vocab.txt", "vocab.json"),
    *("sentencepiece.bpe.model", "spm.model", "spiece.model"),
)
"""Any of them makes a tokenizer."""
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
"""What else a tokenizer is made from."""
READ = ("config.json", "*.safetensors", PARTS, *TOKENIZERS, *BESIDE)
"""What is read, and fetched from the hub: no code, nothing pickled."""
SHAPE = {
    "layers": ("num_hidden_layers", "n_layers"),
    "hidden": ("hidden_size", "dim"),
    "heads": ("num_attention_heads", "n_heads"),
    "ffn": ("intermediate_size", "hidden_dim"),
}
"""The names that configs have for each dimension."""
PADDED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Architectures whose positions count from behind the padding's: two are lost."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class OwnModelError(ValueError):
    """A folder or hub id that no recipe can start from; the message says what is missing."""


def is_own(name: str) -> bool:
    """Say whether a `--model` is a path or a hub id, not the name of a model that is known."""
    return Path(name).expanduser().is_dir() or "/" in name or "\\" in name


def own_name(source: str) -> str:
    """Return the name that a folder or a hub id gets, unless another model has it."""
    return re.sub(r"[^a-z0-9]+", "-", folder_name(source).lower()).strip("-") or "model"


def own_model(source: str, taken: Collection[str] = ()) -> Model:
    """Declare a user's model from what its folder says of it; nothing in it is executed.

    Args:
        source: a folder, or a hub id, which is fetched.
        taken: names that the model must not have.

    Raises:
        OwnModelError: it is no saved encoder; the message says what is missing.
    """
    folder = _folder(source)
    config = _config(folder)
    name = own_name(source)
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_read(path.name))
    identity = [(path.name, file_sha256(path)) for path in files]
    return Model(
        name=name
        if name not in taken
        else next(n for i in count(2) if (n := f"{name}-{i}") not in taken),
        title=f"Your model: {folder_name(source)} ({config['model_type']})",
        shape=_shape(folder, config),
        revision=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        source=f"hub id {source}" if _is_hub_id(source) else f"folder {folder.name}",
        licence="your own" if not _is_hub_id(source) else "see its page on the hub",
        write=partial(write, folder),
        architecture=config["model_type"],
        head=_head(folder, config),
        max_tokens=_most_tokens(config),
    )


def to_json(model: Model) -> dict[str, Any]:
    """Return an own model as plain data, from which another process declares it again."""
    assert isinstance(model.write, partial)
    kept = {
        f.name: getattr(model, f.name) for f in fields(model) if f.name not in ("write", "shape")
    }
    return kept | {"shape": model.shape.to_json(), "folder": str(model.write.args[0])}


def from_json(data: dict[str, Any]) -> Model:
    """Declare an own model again, without reading its files."""
    given = dict(data)
    folder, shape, head = Path(given.pop("folder")), Shape(**given.pop("shape")), given.pop("head")
    given |= {"assets": (), "head": None if head is None else tuple(head)}
    return Model(**given, shape=shape, write=partial(write, folder))


def folder_name(source: str) -> str:
    """Return the last part of a path or hub id."""
    return source if _is_hub_id(source) else Path(source).expanduser().absolute().name


def _is_hub_id(source: str) -> bool:
    return bool(_HUB_ID.fullmatch(source)) and not Path(source).is_dir()


def _is_read(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in READ)


def _folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if not _is_hub_id(source):
        raise OwnModelError(f"--model {source}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=[*READ]))
    except Exception as error:  # httpx's, the hub's and the system's
        raise OwnModelError(
            f"--model {source}: no such folder, and the hub gives no model of that name "
            f"({type(error).__name__})"
        ) from None


def _config(folder: Path) -> dict[str, Any]:
    """Read the config, and check that the rest of the folder is there."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert isinstance(config["model_type"], str)
    except FileNotFoundError:
        raise OwnModelError(
            f"--model {folder}: no config.json; a folder that `save_pretrained` wrote is needed"
        ) from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise OwnModelError(
            f"--model {folder}: config.json names no `model_type`, as `save_pretrained` writes it"
        ) from None
    if not any((folder / name).exists() for name in (WEIGHTS, PARTS)):
        pickled = " (pickled weights are not opened)" if any(folder.glob("*.bin")) else ""
        raise OwnModelError(
            f"--model {folder}: no {WEIGHTS}{pickled}; load it with transformers and write it with "
            "`save_pretrained`"
        )
    if not any((folder / name).exists() for name in TOKENIZERS):
        raise OwnModelError(
            f"--model {folder}: no tokenizer; write it there with `tokenizer.save_pretrained`"
        )
    return config


def _shape(folder: Path, config: dict[str, Any]) -> Shape:
    found = {
        field: next((config[name] for name in names if isinstance(config.get(name), int)), None)
        for field, names in SHAPE.items()
    }
    if missing := [SHAPE[field][0] for field, value in found.items() if not value]:
        raise OwnModelError(
            f"--model {folder}: config.json has no `{missing[0]}`; a '{config['model_type']}' is no "
            "encoder that recipes can start from"
        )
    return Shape(**{field: int(value or 0) for field, value in found.items()})


def _head(folder: Path, config: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of a fine-tuned head's outputs; None for an encoder alone."""
    if not str((config.get("architectures") or [""])[0]).endswith("ForSequenceClassification"):
        return None
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        return tuple(str(names[key]) for key in sorted(names, key=int))
    except (ValueError, AttributeError, TypeError):
        raise OwnModelError(
            f"--model {folder}: `id2label` in config.json is no map of numbers to names"
        ) from None


def _most_tokens(config: dict[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    return positions - 2 if config["model_type"] in PADDED_POSITIONS else positions


def write(source: Path, folder: Path) -> None:
    """Write config, weights and tokenizer in the form that every step reads: float32."""
    if (source / WEIGHTS).exists():
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
        shutil.copyfile(source / "config.json", folder / "config.json")
    else:
        _join_parts(source, folder)
    in_float32(folder)
    if (source / "tokenizer.json").exists():
        tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer["padding"] = tokenizer["truncation"] = None
        text = json.dumps(tokenizer, ensure_ascii=False)
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    else:
        from transformers import AutoTokenizer

        backend = AutoTokenizer.from_pretrained(source).backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        backend.save(str(folder / "tokenizer.json"))


def in_float32(folder: Path) -> None:
    """Make half-precision weights float32, in place: the reference is, and so is what is trained."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    halves = [n for n, t in weights.items() if t.is_floating_point() and t.dtype != torch.float32]
    if not halves:
        return
    weights |= {name: weights[name].float() for name in halves}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    text = json.dumps(config | {"dtype": "float32"}, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")


def _join_parts(source: Path, folder: Path) -> None:
    from transformers import AutoModel, AutoModelForSequenceClassification

    tuned = _head(source, _config(source)) is not None
    auto = AutoModelForSequenceClassification if tuned else AutoModel
    auto.from_pretrained(source).save_pretrained(folder, max_shard_size="100GB")
