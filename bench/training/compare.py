"""Whether two answers agree: `compare.py OURS THEIRS`. Prints one line; ends with 1 when they differ.

Counts, maxima and what is looked up must be the same values. A mean may differ in its last digits
and a standard deviation in its later ones, since only ours come from exact sums.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TOLERANCES = {"delay_mean": 1e-9, "amount_mean": 1e-9, "delay_std": 1e-4}
"""Relative to the larger of the value and 1: delays are minutes. The deviations of pandas drift."""


def tolerance(column: str) -> float:
    return next((limit for name, limit in TOLERANCES.items() if f".{name}[" in column), 0.0)


def differences(ours: pa.ChunkedArray, theirs: pa.ChunkedArray, limit: float) -> tuple[int, float]:
    """How many cells differ by more than the limit, and the largest relative difference."""
    a, b = ours.combine_chunks(), theirs.cast(ours.type).combine_chunks()
    absent = np.asarray(a.is_null()) != np.asarray(b.is_null())
    both = np.asarray(a.is_valid()) & np.asarray(b.is_valid())
    if not pa.types.is_floating(a.type):
        unequal = np.asarray(pc.fill_null(pc.not_equal(a, b), False))
        return int((absent | unequal).sum()), 0.0
    x, y = a.fill_null(0.0).to_numpy(zero_copy_only=False), b.fill_null(0.0).to_numpy(zero_copy_only=False)
    apart = np.where(both, np.abs(x - y) / np.maximum(1.0, np.abs(x)), 0.0)
    return int((absent | (apart > limit)).sum()), float(apart.max(initial=0.0))


def main(ours: Path, theirs: Path) -> int:
    a, b = pq.read_table(ours), pq.read_table(theirs)
    wrong, largest, cells = 0, 0.0, 0
    for name in b.column_names:
        number, apart = differences(a[name], b[name], tolerance(name))
        if number:
            print(f"`{name}` differs in {number:,} rows, by up to {apart:.1e}")
        wrong, largest, cells = wrong + number, max(largest, apart), cells + len(b)
    verdict = "the same answers" if not wrong else f"{wrong:,} cells differ"
    print(f"{b.num_columns} columns, {cells:,} cells: {verdict}; floats at most {largest:.1e} apart")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
