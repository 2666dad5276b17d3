"""When a request may be sent again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

RETRY_SECONDS = 10.0
"""For how long a request is tried again, from when it was first sent."""

LOAD_RETRY_SECONDS = 60.0
"""The same for loads with an idempotency key: nobody waits in front of a screen for them."""

FIRST_PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 5.0

_READS = frozenset(
    {
        "/v1/query",
        "/v1/query/arrow",
        "/v1/explain",
        "/v1/training-sets",
        "/v1/training-sets/leakage",
        "/v1/check",
        "/v1/verify",
    }
)
"""Requests that change nothing, so that sending them twice does no harm."""

_COME_BACK = (429, 503)
"""Statuses of a server that has too much to do."""


class Retries:
    """Decides about one request.

    Reads and loads with an idempotency key are sent again: when the server says that it is busy, after the
    time that it asks for, and when a connection broke. Pauses grow, and differ between clients, so that many
    of them do not come back at once.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        keyed = "idempotency-key" in request.get("headers", {})
        self._safe = keyed or request["url"] in _READS
        self._until = time.monotonic() + (LOAD_RETRY_SECONDS if keyed else RETRY_SECONDS)
        self._tried = 0

    def pause_after(self, response: httpx.Response) -> float | None:
        """How long to wait before the request is sent again; `None` when this is the answer."""
        if response.status_code not in _COME_BACK:
            return None
        try:
            asked = float(response.headers.get("retry-after", "0"))
        except ValueError:  # A date, which servers of ours do not send.
            asked = 0.0
        return self._pause(max(asked, 0.0))

    def pause_after_error(self, error: Exception, reached: bool) -> float | None:
        """The same after a connection failed.

        An address at which nobody ever answered is most likely a wrong one, and who waited for an answer as
        long as it takes does not wait as long again.
        """
        import httpx

        if not reached or isinstance(
            error, (httpx.ReadTimeout, httpx.WriteTimeout, httpx.UnsupportedProtocol)
        ):
            return None
        return self._pause(0.0)

    def _pause(self, least: float) -> float | None:
        grown = min(FIRST_PAUSE_SECONDS * 2**self._tried, PAUSE_SECONDS_MAX)
        self._tried += 1
        pause = least + grown * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return pause if self._safe and time.monotonic() + pause < self._until else None
