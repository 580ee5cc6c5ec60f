"""Vocabularies in `tokenizer.json`: what must stay for no text to become unknown, and the rest cut out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

Description = dict[str, Any]
"""A parsed `tokenizer.json`."""


class VocabularyError(ValueError):
    """A vocabulary that cannot be cut, or not so far; the message is the reason."""


def ids_of(tokenizer: Description) -> dict[str, int]:
    """Return every token's id, those of the model and those that were added."""
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return tokenizer["model"]["vocab"] | added


def check(tokenizer: Description) -> None:
    """Refuse what `cut` cannot cut without changing more than the vocabulary.

    Raises:
        VocabularyError: neither WordPiece nor plain BPE, or WordPiece without some character alone.
    """
    model = tokenizer["model"]
    kind = model.get("type")
    if kind not in ("WordPiece", "BPE"):
        raise VocabularyError(f"vocabularies of WordPiece and BPE can be trimmed, not of {kind}")
    pieces = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if kind == "BPE" and (odd := [name for name in pieces if model.get(name)]):
        raise VocabularyError(f"BPE with {' and '.join(odd)} cannot be trimmed")
    if kind == "WordPiece" and (alone := _not_alone(tokenizer)):
        raise VocabularyError(
            f"characters occur in tokens and are none themselves ({', '.join(sorted(alone)[:5])}): "
            "words that are known now could become unknown"
        )


def _not_alone(tokenizer: Description) -> set[str]:
    """Return the characters of WordPiece tokens that are no tokens themselves, with their prefix.

    Tokens that no text can become (`[unused7]`) do not count.
    """
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_str(json.dumps(tokenizer))
    vocabulary, prefix = set(tokenizer["model"]["vocab"]), _prefix(tokenizer)

    def words(text: str) -> list[str]:
        normal = loaded.normalizer.normalize_str(text) if loaded.normalizer else text
        if loaded.pre_tokenizer is None:
            return [normal]
        return [word for word, _ in loaded.pre_tokenizer.pre_tokenize_str(normal)]

    alone = set()
    added = {token["content"] for token in tokenizer["added_tokens"]}
    for token in vocabulary - added:
        text = token.removeprefix(prefix)
        if text and words(text) == [text]:
            first = prefix if token != text else ""
            needed = {first + text[0], *(prefix + letter for letter in text[1:])}
            alone |= needed - vocabulary
    return alone


def _prefix(tokenizer: Description) -> str:
    return tokenizer["model"].get("continuing_subword_prefix") or ""


def indispensable(tokenizer: Description) -> set[str]:
    """Return the tokens without which a text could become unknown, or lose its frame.

    These are the special and other added tokens, the unknown token, those that the post-processor
    puts round a text, and every single character, at a word's start and within it.
    """
    model, prefix = tokenizer["model"], _prefix(tokenizer)
    kept = {token["content"] for token in tokenizer["added_tokens"]}
    kept |= {token for token in model["vocab"] if len(token.removeprefix(prefix)) == 1}
    kept |= {token for token, *_ in _frame(tokenizer.get("post_processor"))}
    return (kept | {model.get("unk_token")}) & ids_of(tokenizer).keys()


def _frame(processor: Description | None) -> list[tuple[str, list[Any], int]]:
    """Return each token that a post-processor adds, and the list and place where its id stands."""
    if processor is None:
        return []
    if processor["type"] == "Sequence":
        return [entry for part in processor["processors"] for entry in _frame(part)]
    if processor["type"] == "TemplateProcessing":
        return [
            (token, special["ids"], place)
            for special in processor["special_tokens"].values()
            for place, token in enumerate(special["tokens"])
        ]
    pairs = [processor[name] for name in ("cls", "sep") if name in processor]
    return [(token, pair, 1) for pair in pairs for token in pair[:1]]


def ancestry(tokenizer: Description) -> Callable[[str], set[str]]:
    """Return what a token needs to be reached: BPE's merges pass through other tokens."""
    if tokenizer["model"]["type"] == "WordPiece":
        return lambda token: {token}
    ranks = {pair: rank for rank, pair in enumerate(_merges(tokenizer["model"]))}

    def passed(token: str) -> set[str]:
        parts, seen = list(token), {token}
        while pairs := [pair for pair in pairwise(parts) if pair in ranks]:
            at = list(pairwise(parts)).index(min(pairs, key=ranks.__getitem__))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            seen.add(parts[at])
        return seen

    return passed


def _merges(model: Description) -> list[tuple[str, str]]:
    """Return BPE's merges; older files write a pair as one string."""
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return [(left, right) for left, right in pairs]


def choose(
    tokenizer: Description, counts: Mapping[str, int], kept: set[str], limit: int | None
) -> set[str]:
    """Return `kept` and the counted tokens, the most frequent first, at most `limit` together."""
    needs, chosen = ancestry(tokenizer), set(kept)
    for token in sorted(counts, key=lambda token: (-counts[token], token)):
        more = needs(token) - chosen
        if limit is not None and len(chosen) + len(more) > limit:
            break
        chosen |= more
    return chosen


def cut(tokenizer: Description, kept: set[str]) -> dict[int, int]:
    """Leave only the kept tokens, in place and in their order, numbered from 0.

    Returns:
        each kept token's old id to its new one, in order.
    """
    old = ids_of(tokenizer)
    new = {token: id for id, token in enumerate(sorted(kept, key=old.__getitem__))}
    model = tokenizer["model"]
    model["vocab"] = {token: id for token, id in new.items() if token in model["vocab"]}
    if model["type"] == "BPE":
        model["merges"] = [
            [left, right] for left, right in _merges(model) if {left, right, left + right} <= kept
        ]
    for token in tokenizer["added_tokens"]:
        token["id"] = new[token["content"]]
    for token, ids, place in _frame(tokenizer.get("post_processor")):
        ids[place] = new[token]
    return {old[token]: id for token, id in new.items()}
