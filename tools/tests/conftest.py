"""Runs the verifier as its command line does."""

# pyright: strict

from __future__ import annotations

from pathlib import Path

import creta_verify_log as verifier
import pytest
from log_builder import LOG
from verdict import Run, Verdict


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path, key: str = LOG.vkey) -> Verdict:
        code = verifier.main([*map(str, arguments), "--key", key])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].startswith("verified: " if code == 0 else "NOT verified: ")
        return Verdict(code, lines)

    return command
