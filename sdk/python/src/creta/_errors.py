"""The one exception of the package, and how it is shown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's project; `line` starts at 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Note:
    """One labelled line under an error: what asked for it, what is closest."""

    label: str
    text: str
    location: Location | None = None


class CretaError(Exception):
    """What failed, where, and what to do next.

    `code` is stable (`plan/no-resolver`); `message` is for people and never holds a feature value.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        help: str | None = None,
        location: Location | None = None,
        notes: tuple[Note, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.location = location
        self.notes = notes
        self.others: tuple[CretaError, ...] = ()
        """Further errors found at the same time."""

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.message}"]
        if self.location is not None:
            lines.append(f"  at            {self.location}")
        for note in self.notes:
            place = f"   {note.location}" if note.location is not None else ""
            lines.append(f"  {note.label:<13} {note.text}{place}")
        if self.help is not None:
            lines.append(f"  help: {self.help}")
        return "\n".join([*lines, *(str(other) for other in self.others)])

    def to_problem(self) -> dict[str, Any]:
        """The JSON form that every surface of Creta shares."""
        problem: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.notes:
            problem["notes"] = [
                {"label": note.label, "text": note.text}
                | ({"location": _location_json(note.location)} if note.location else {})
                for note in self.notes
            ]
        if self.help is not None:
            problem["help"] = self.help
        if self.location is not None:
            problem["location"] = _location_json(self.location)
        return problem

    @classmethod
    def from_problem(cls, problem: dict[str, Any]) -> CretaError:
        """Reads the JSON form."""
        return cls(
            str(problem.get("code", "unknown")),
            str(problem.get("message", "an unknown error")),
            help=problem.get("help"),
            location=_location(problem.get("location")),
            notes=tuple(
                Note(str(note["label"]), str(note["text"]), _location(note.get("location")))
                for note in problem.get("notes", ())
            ),
        )


def _location_json(location: Location) -> dict[str, Any]:
    return {"file": location.file, "line": location.line}


def _location(json: dict[str, Any] | None) -> Location | None:
    return None if json is None else Location(str(json["file"]), int(json["line"]))


def caller() -> Location:
    """The nearest place outside this package on the call stack."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "creta":
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


def problem_here(code: str, message: str, help: str | None = None, at: Location | None = None) -> CretaError:
    """An error at the user's line that is running now, or at `at`."""
    return CretaError(code, message, help=help, location=at or caller())
