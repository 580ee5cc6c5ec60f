"""Each cell of the run and of its baseline, judged after everything is measured: `--against DIR`."""

from benchmarks.session import Session


def test_verdict(leanboard: Session, judged: str) -> None:
    leanboard.check_verdict(judged)
