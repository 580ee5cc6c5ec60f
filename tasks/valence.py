"""How positive a sentence from a film review is, from -4 to 4: regression on the same sentences."""

from tasks.sentences import LICENCE, SHIFTED, SOURCE, VADER, read_sentences
from tasks.task import Splits, Task


def read() -> Splits:
    return read_sentences(float)


VALENCE = Task(
    name="valence",
    title="How positive is a sentence from a film review, from -4 to 4?",
    kind="regression",
    metric="pearson",
    read=read,
    source=SOURCE,
    licence=LICENCE,
    max_tokens=128,
    assets=(VADER,),
    shifted=tuple(SHIFTED),
    notes="the mean of twenty raters; Spearman beside Pearson",
    sizes={
        "train": 7603,
        "validation": 1000,
        "test": 1998,
        "amazon": 1497,
        "tweets": 1458,
        "nyt": 1480,
        "unlabelled": 8380,
    },
    data_sha256="cd9232aa2a55cdd14dc9859c4100b325f55bf2ae887b008ff00c5f5fe0c80154",
)
