"""Every built-in task: pinned data, declared sizes, and nothing evaluated is ever learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks import TASKS
from tasks.splits import Copies, without_copies, words
from tasks.task import Example, TaskError, hash_of
from tests.tasks.leaks import leaks

BUILT_IN = ("movies", "valence", "bbc")


@pytest.mark.parametrize("name", BUILT_IN)
def test_data_are_what_the_declaration_says(name: str) -> None:
    task = TASKS[name]
    splits = task.splits()
    assert {split: len(examples) for split, examples in splits.items()} == task.sizes
    assert hash_of(splits) == task.data_sha256 == task.data_hash()
    assert hash_of(task.read()) == task.data_sha256


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_text_is_in_two_splits(name: str) -> None:
    splits = TASKS[name].splits()
    assert leaks(splits) == []
    texts = [example.text.strip() for examples in splits.values() for example in examples]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("name", BUILT_IN)
def test_labels(name: str) -> None:
    task = TASKS[name]
    for split, examples in task.splits().items():
        labels = {example.label for example in examples}
        if split == "unlabelled":
            assert labels <= {None}
        elif task.kind == "classification":
            assert labels == set(range(len(task.labels)))
        else:
            assert all(isinstance(label, float) and -4 <= label <= 4 for label in labels)


def test_sentiment_is_the_sign_of_the_valence() -> None:
    valence = {e.text: e.label for e in TASKS["valence"].splits()["test"]}
    movies = TASKS["movies"].splits()["test"]
    assert all(e.label == int(valence[e.text] > 0) for e in movies)
    assert len(movies) >= 1500


def test_load_gives_a_dataset_dict() -> None:
    loaded = TASKS["bbc"].load()
    assert loaded["test"].features["label"].names == list(TASKS["bbc"].labels)
    assert loaded["test"].column_names == ["text", "label"]
    assert loaded["unlabelled"].column_names == ["text"]


def test_changed_data_are_refused() -> None:
    changed = replace(TASKS["movies"], data_sha256="0" * 64)
    with pytest.raises(TaskError, match="its reader or its source has changed"):
        changed.splits()


@pytest.mark.parametrize(
    ("one", "other", "copy"),
    [
        ("A truly fine film, really fine.", "a truly FINE film; really fine!", True),
        (
            "one two three four five six seven eight nine ten",
            "one two three four five six seven eight nine",
            True,
        ),
        ("one two three four", "one two three five", False),
        ("!!!", "???", False),
        ("", "", True),
    ],
)
def test_what_a_copy_is(one: str, other: str, copy: bool) -> None:
    sets = [words(one), words(other)]
    copies = Copies(sets)
    copies.add(sets[0])
    assert (copies.find(sets[1]) is not None) is copy


def test_evaluated_splits_keep_their_text_and_training_loses_the_copy() -> None:
    splits = {
        "train": [Example("the same words here", 0), Example("something else", 1)],
        "test": [Example("The same words: here!", 0)],
    }
    assert leaks(splits) == [("test", "train", "The same words: here!")]
    kept = without_copies(splits, first=("test",))
    assert [e.text for e in kept["test"]] == ["The same words: here!"]
    assert [e.text for e in kept["train"]] == ["something else"]
    assert leaks(kept) == []


def test_cards_say_what_a_user_asks() -> None:
    card = TASKS["bbc"].card()
    assert "accuracy" in card
    assert "cut at 256 tokens" in card
