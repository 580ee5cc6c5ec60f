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


def test_values_are_fitted_by_ridge() -> None:
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    features = random.normal(size=(50, 3))
    values = features @ [1.0, -2.0, 0.5] + 3
    coef, intercept = linear_head.fit(features, values, "regression", outputs=1)
    expected = Ridge(alpha=1.0).fit(features, values)
    np.testing.assert_allclose(coef, [expected.coef_], rtol=1e-5)
    np.testing.assert_allclose(intercept, [expected.intercept_], rtol=1e-5)
