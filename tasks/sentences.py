"""Sentences with a mean valence by twenty raters (Hutto and Gilbert 2014): films, and other domains.

`movies` and `valence` learn from the same sentences with the same splits.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

from tasks.assets import Asset, Distribution, fetch
from tasks.splits import shuffled, without_copies
from tasks.task import Example, Splits

VADER = Asset(
    name="hutto-icwsm-2014",
    distributions=(
        Distribution(
            package="vaderSentiment",
            filename="vaderSentiment-3.3.2.tar.gz",
            sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        ),
    ),
    members=(
        (
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
            "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
        ),
    ),
)
SOURCE = "package vaderSentiment 3.3.2, the sentences of Hutto and Gilbert 2014 (ICWSM)"
LICENCE = "MIT"

FILMS = "movieReviewSnippets"
SHIFTED = {"amazon": "amazonReviewSnippets", "tweets": "tweets", "nyt": "nytEditorialSnippets"}
TEST, VALIDATION, SHIFTED_SIZE = 2000, 1000, 1500


def _domain(tar: tarfile.TarFile, name: str) -> list[Example]:
    """Read one domain: lines of id, mean valence from -4 to 4, text."""
    stream = tar.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
    assert stream
    lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
    rows = (line.rstrip("\r\n").split("\t", 2) for line in lines)
    return [Example(text.strip(), float(valence)) for _, valence, text in rows if text.strip()]


def read_sentences(label: Callable[[float], int | float | None]) -> Splits:
    """Read all domains and split them; a sentence whose label is None is left out.

    The split of a sentence depends on its text alone, not on the task.
    """
    with tarfile.open(fetch(VADER) / "hutto_ICWSM_2014.tar.gz", "r:gz") as tar:
        films = shuffled(_domain(tar, FILMS))
        domains = {name: shuffled(_domain(tar, file)) for name, file in SHIFTED.items()}
    splits: Splits = {
        "train": films[TEST + VALIDATION :],
        "validation": films[TEST : TEST + VALIDATION],
        "test": films[:TEST],
        **{name: sentences[:SHIFTED_SIZE] for name, sentences in domains.items()},
        "unlabelled": [s for sentences in domains.values() for s in sentences[SHIFTED_SIZE:]],
    }
    evaluated = ("test", *SHIFTED, "validation")
    labelled: Splits = {}
    for name, examples in without_copies(splits, first=evaluated).items():
        if name == "unlabelled":
            labelled[name] = [Example(e.text, None) for e in examples]
        else:
            marked = [Example(e.text, label(float(e.label or 0.0))) for e in examples]
            labelled[name] = [e for e in marked if e.label is not None]
    return labelled
