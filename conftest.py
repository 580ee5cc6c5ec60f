"""The fixtures that a benchmark test asks for; all of them follow from one parametrized cell."""

import pytest

from benchmarks.matrix import Cell


@pytest.fixture
def task(cell: Cell) -> str:
    return cell.task


@pytest.fixture
def model(cell: Cell) -> str:
    return cell.model


@pytest.fixture
def recipe(cell: Cell) -> str:
    return cell.recipe


@pytest.fixture
def device(cell: Cell) -> str:
    return cell.device


@pytest.fixture
def seed(cell: Cell) -> int:
    return cell.seed
