"""Sentiment of sentences from film reviews, and what of it holds for shopping, tweets and the news."""

from tasks.sentences import LICENCE, SHIFTED, SOURCE, VADER, read_sentences
from tasks.task import Splits, Task


def sign(valence: float) -> int | None:
    """Return 1 for a positive mean valence, 0 for a negative one, None for exactly 0."""
    return None if valence == 0 else int(valence > 0)


def read() -> Splits:
    return read_sentences(sign)


MOVIES = Task(
    name="movies",
    title="Is a sentence from a film review positive? Shifted: shopping, tweets, editorials",
    kind="classification",
    labels=("negative", "positive"),
    metric="accuracy",
    read=read,
    source=SOURCE,
    licence=LICENCE,
    max_tokens=128,
    assets=(VADER,),
    shifted=tuple(SHIFTED),
    sizes={
        "train": 7576,
        "validation": 998,
        "test": 1990,
        "amazon": 1461,
        "tweets": 1458,
        "nyt": 1411,
        "unlabelled": 8380,
    },
    data_sha256="8726776d2a72c475c262fd336230b15a4a9c37ca5e90429dd4379457013af79e",
)
