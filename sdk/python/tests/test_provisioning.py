"""The organisation's directory can provision: `scim2-tester` finds nothing against a running server."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from test_http_interface import creta, server, token

__all__ = ["server"]


def test_the_scim_tester_finds_nothing(server: tuple[Path, str]) -> None:
    folder, address = server
    words = ["service-account", "create", "directory", "--environment", "--role", "provisioner"]
    creta(*words, "--out", "directory.json", "--profile", "admin", folder=folder)
    client = httpx2.Client(
        base_url=f"{address}/scim/v2",
        headers={"authorization": f"Bearer {token(folder, 'directory.json')}"},
        verify=ssl.create_default_context(cafile=folder / "data" / "tls" / "ca.pem"),
        timeout=30,
    )
    with client:
        scim = SyncSCIMClient(client)
        scim.discover()
        results = check_server(scim)
    bad = [
        f"{result.status.name} {result.title}: {result.reason}"
        for result in results
        if result.status not in (Status.SUCCESS, Status.SKIPPED)
    ]
    assert not bad, "\n".join(bad)
    succeeded = sum(result.status == Status.SUCCESS for result in results)
    assert succeeded >= 20, f"{succeeded} checks succeeded"
