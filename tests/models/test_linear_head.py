"""Light heads: a class that nobody taught never wins, and the others keep their places."""

from __future__ import annotations

import numpy as np
import pytest

from models import linear_head


@pytest.mark.parametrize("taught", [(0, 2), (1, 2), (0, 1, 3), (0, 1, 2, 3)])
def test_classes_keep_their_places(taught: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    centres = 5 * np.eye(4)
    targets = np.repeat(taught, 30)
    features = centres[targets] + random.normal(0, 0.3, (len(targets), 4))
    coef, intercept = linear_head.fit(features, targets, "classification", outputs=4)
    assert coef.shape == (4, 4)
    assert intercept.shape == (4,)
    chosen = (features @ coef.T + intercept).argmax(axis=1)
    assert (chosen == targets).all()
