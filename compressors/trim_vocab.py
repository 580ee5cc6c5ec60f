"""A smaller vocabulary: the tokens that the task's text needs, and their rows of the embedding table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Step, headline

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class TrimVocab(Step):
    """Keep the tokens that the text needs, at most `tokens` of them, the most frequent first.

    Abdaoui et al. 2020, arXiv 2010.05609. Special tokens and single characters always stay, so no
    text becomes unknown: a word whose token went is spelt with shorter ones. Without a
    limit the texts that were counted are read exactly as before; others become longer, and what
    that costs shows in the shifted splits. For WordPiece and BPE.
    """

    name: ClassVar[str] = "trim-vocab"
    family: ClassVar[str] = "vocabulary"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)

    tokens: int | None = headline(None, low=1, high=999_999)
    unlabelled: bool = True
    """Count the unlabelled text beside the training text."""

    def refuse(self, start: Artifact) -> None:
        kept = indispensable(*read_vocabulary(start))
        if self.tokens is not None and self.tokens <= len(kept):
            raise self.nothing_left(kept)

    def nothing_left(self, kept: set[str]) -> Exception:
        from models.vocabulary import VocabularyError

        return VocabularyError(
            f"no word is left: {len(kept)} special tokens and single characters always stay, "
            f"at most {self.tokens} were asked for"
        )

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models import vocabulary

        assert source
        tokenizer, config = read_vocabulary(source)
        kept = indispensable(tokenizer, config)
        names = {id: token for token, id in vocabulary.ids_of(tokenizer).items()}
        counts = {names[id]: count for id, count in self.counts(source, workbench).items()}
        chosen = vocabulary.choose(tokenizer, counts, kept, self.tokens)
        if chosen == kept:
            raise self.nothing_left(kept)
        renumbered = vocabulary.cut(tokenizer, chosen)
        if (source.folder / "model.safetensors").exists():
            slice_table(source, workbench, list(renumbered))
        config |= {name: renumbered.get(id) for name, id in token_ids(config).items()}
        config["vocab_size"] = len(renumbered)
        for name, content in (("tokenizer.json", tokenizer), ("config.json", config)):
            text = json.dumps(content, ensure_ascii=False)
            (workbench.folder / name).write_text(text, encoding="utf-8")
        return workbench.seal(source)

    def counts(self, source: Artifact, workbench: Workbench) -> Counter[int]:
        """Count the ids of the text, as the model reads it."""
        from models.tokenization import tokenize

        splits = ("train", "unlabelled") if self.unlabelled else ("train",)
        rows = tokenize(workbench.tokenizer(source), workbench.texts(*splits))
        return Counter(id for row in rows for id in row)


def read_vocabulary(artifact: Artifact) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an artifact's `tokenizer.json` and `config.json`.

    Raises:
        VocabularyError: it is of a kind that cannot be cut.
    """
    from models import vocabulary

    names = ("tokenizer.json", "config.json")
    tokenizer, config = (
        json.loads((artifact.folder / name).read_text(encoding="utf-8")) for name in names
    )
    vocabulary.check(tokenizer)
    return tokenizer, config


def indispensable(tokenizer: dict[str, Any], config: dict[str, Any]) -> set[str]:
    """Return the tokens that stay whatever the text needs."""
    from models import vocabulary

    named = set(token_ids(config).values())
    # RoBERTa and MPNet count positions from the padding's id: what lies below it stays too.
    pad_id = config.get("pad_token_id") or 0
    ids = vocabulary.ids_of(tokenizer)
    kept = {token for token, id in ids.items() if id in named or id <= pad_id}
    return kept | vocabulary.indispensable(tokenizer)


def token_ids(config: dict[str, Any]) -> dict[str, int]:
    """Return the ids of tokens that a config names: `pad_token_id`, `bos_token_id` …"""
    return {
        name: value
        for name, value in config.items()
        if name.endswith("_token_id") and isinstance(value, int)
    }


def slice_table(source: Artifact, workbench: Workbench, rows: list[int]) -> None:
    """Write the source's weights with these rows of its word embeddings, [rows, hidden].

    Raises:
        VocabularyError: there is no such table, or more than one.
    """
    from safetensors.torch import load_file, save_file

    from models.vocabulary import VocabularyError

    weights = load_file(source.folder / "model.safetensors")
    ends = ("word_embeddings.weight", "word_embeddings.0.weight")  # whole, or factored
    tables = [name for name in weights if name.endswith(ends)]
    if len(tables) != 1:
        raise VocabularyError(f"needs one table of word embeddings, found {tables or 'none'}")
    weights[tables[0]] = weights[tables[0]][rows].contiguous()
    save_file(weights, workbench.folder / "model.safetensors", metadata={"format": "pt"})
