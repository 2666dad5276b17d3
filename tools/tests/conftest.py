"""Runs the verifier as its command line does.

Property tests look at a few dozen cases each; `pytest --hypothesis-profile long` at thousands.
"""

# pyright: strict

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

import creta_verify_log as verifier
from log_builder import LOG
from verdict import Run, Verdict

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("long", max_examples=5000, deadline=None)
settings.load_profile("quick")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path, key: str = LOG.vkey) -> Verdict:
        code = verifier.main([*map(str, arguments), "--key", key])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].startswith("verified: " if code == 0 else "NOT verified: ")
        return Verdict(code, lines)

    return command
