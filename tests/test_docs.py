"""What the documents name is there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_links_and_tests_that_a_page_names_are_there(page) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    ("fails", "mailed"),
    [("git", "git ran\n"), ("pytest", "git ran\npytest ran\n"), ("nothing", None)],
)
def test_the_cron_line_mails_the_log_of_its_own_night(
    tmp_path: Path, fails: str, mailed: str | None
) -> None:
    lines = {
        line.removeprefix("17 2 * * * ")
        for page in ("README.md", "docs/nightly.md")
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("17 2 * * * ")
    }
    assert len(lines) == 1
    checkout, programs = tmp_path / "leanboard", tmp_path / "programs"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").touch()
    programs.mkdir()
    for name in ("git", "pytest"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} ran\nexit {int(name == fails)}\n")
    (programs / "mail").write_text(f"#!/bin/sh\ncat > {tmp_path}/mailed\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "night.log").write_text("yesterday")
    subprocess.run(
        ["sh", "-c", lines.pop().replace("/path/to/leanboard", str(checkout))],
        cwd=tmp_path,
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        check=True,
    )
    mail = tmp_path / "mailed"
    assert (mail.read_text() if mail.exists() else None) == mailed
