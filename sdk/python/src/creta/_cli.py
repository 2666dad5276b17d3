"""The command `creta`: the native command line, told which Python to import projects with."""

from __future__ import annotations

import os
import sys

from creta._errors import CretaError


def main() -> int:
    """Runs the command line with the arguments of the process and returns its exit code."""
    from creta._local import native_module

    os.environ.setdefault("CRETA_PYTHON", sys.executable)
    try:
        native = native_module()
    except CretaError as error:
        print(error, file=sys.stderr)
        return 2
    code: int = native.main(sys.argv)
    return code
