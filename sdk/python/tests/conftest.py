"""What the tests share: the golden files and the project they are about."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares with a file in `golden/`; `CRETA_GOLDEN_UPDATE=1` writes it, and the author reads the
    difference."""

    def compare(name: str, text: str) -> None:
        file = HERE / "golden" / name
        if os.environ.get("CRETA_GOLDEN_UPDATE"):
            file.write_text(text, encoding="utf-8")
        assert file.read_text(encoding="utf-8") == text

    return compare
