"""A linear map on features, stored without pickle: `head.safetensors` with `coef` and `intercept`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HEAD = "head.safetensors"
NEVER = -1e4
"""The logit of a class that no text was seen of."""


def fit(
    features: Any, targets: np.ndarray, kind: str, outputs: int = 2, freedom: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Fit logistic regression (classification) or ridge (regression) with scikit-learn.

    Args:
        features: [n, dim], dense or sparse.
        targets: [n] class indices or values.
        outputs: number of classes; one that no target has gets logits that never win.
        freedom: the inverse strength of logistic regression's penalty (scikit-learn's C).

    Returns:
        coef float32 [outputs, dim] and intercept float32 [outputs]; a binary classifier gets two
        rows, so that the difference of its two logits is the fitted log-odds.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    if kind == "regression":
        ridge = Ridge(alpha=1.0, random_state=0).fit(features, targets)
        coef, intercept = ridge.coef_[None], np.atleast_1d(ridge.intercept_)
    else:
        logistic = LogisticRegression(C=freedom, max_iter=1000, random_state=0)
        logistic.fit(features, targets)
        found, found_intercept = logistic.coef_, logistic.intercept_
        if len(found) == 1:
            found, found_intercept = np.vstack([0 * found, found]), np.append(0, found_intercept)
        coef = np.zeros((outputs, found.shape[1]))
        intercept = np.full(outputs, NEVER)
        coef[logistic.classes_], intercept[logistic.classes_] = found, found_intercept
    return coef.astype(np.float32), intercept.astype(np.float32)


def save(folder: Path, coef: np.ndarray, intercept: np.ndarray) -> None:
    from safetensors.numpy import save_file

    head = {"coef": np.ascontiguousarray(coef), "intercept": np.ascontiguousarray(intercept)}
    save_file(head, folder / HEAD)


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return coef float32 [outputs, dim] and intercept float32 [outputs]."""
    from safetensors.numpy import load_file

    head = load_file(folder / HEAD)
    return head["coef"], head["intercept"]
