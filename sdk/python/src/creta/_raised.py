"""Where in a project's files an exception came from."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from creta._errors import Location


class Sources:
    """A project's texts, and the file names under which the interpreter knows them."""

    def __init__(self, texts: Mapping[str, str], files: Mapping[str, str] | None = None) -> None:
        """`texts` by path relative to the project; `files` maps names of code objects to such paths, and
        without it they are the paths themselves."""
        self._texts = texts
        self._files = files if files is not None else {path: path for path in texts}
        self._starts: dict[str, dict[int, int]] = {}

    def location(self, error: BaseException) -> Location | None:
        """The innermost statement of the project that an exception left, by its first line."""
        trace, found = error.__traceback__, None
        while trace is not None:
            path = self._files.get(trace.tb_frame.f_code.co_filename)
            if path is not None:
                found = (path, trace.tb_lineno)
            trace = trace.tb_next
        if found is None:
            return None
        path, line = found
        return Location(path, self._statements(path).get(line, line))

    def _statements(self, path: str) -> dict[int, int]:
        """For each line of a file the first line of the innermost statement that it is part of."""
        known = self._starts.get(path)
        if known is None:
            known = self._starts[path] = {}
            try:
                tree = ast.parse(self._texts[path])
            except (KeyError, SyntaxError):
                return known
            for node in ast.walk(tree):
                if isinstance(node, ast.stmt):
                    for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                        known[line] = max(known.get(line, 0), node.lineno)
        return known


NOWHERE = Sources({})
"""Of functions whose project is not known."""
