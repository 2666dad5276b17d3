"""The others: nginx with a file, and `feast serve` with Redis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from asking import (
    HERE,
    QUESTIONS,
    Peers,
    Target,
    descendants,
    entities_of,
    post,
    until_answers,
    write_bodies,
)


def nginx(peers: Peers, folder: Path, server: dict[str, Any], port: int) -> Target:
    """A file of the size of an answer, over TLS 1.3 with the suite that ours prefers."""
    root = folder / "nginx"
    (root / "files").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "answer.json", root / "files" / "query")
    (root / "nginx.conf").write_text(
        f"""daemon off; pid {root}/pid; error_log {root}/error.log; worker_processes 2;
        events {{ worker_connections 512; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
            client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
            uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; default_type application/json;
            server {{
                listen 127.0.0.1:{port} ssl; root {root}/files; ssl_protocols TLSv1.3;
                ssl_certificate {server["noop_certificate"]}; ssl_certificate_key {server["noop_key"]};
                open_file_cache max=10;
            }}
        }}"""
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = peers.start([binary, "-e", f"{root}/error.log", "-c", f"{root}/nginx.conf"], root / "log")
    until_answers(f"https://127.0.0.1:{port}/query")
    return Target("nginx", f"https://127.0.0.1:{port}/query", "-", processes=descendants(process.pid))


def feast(
    peers: Peers,
    folder: Path,
    python: str,
    users: int,
    port: int,
    outputs: list[str],
    entities: tuple[int, ...],
) -> list[Target]:
    """`feast serve` with two workers and Redis, without TLS and without anybody asking who asks."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    redis = peers.start(command, folder / "redis.log", cwd=folder)
    time.sleep(1)
    quiet = os.environ | {"PYTHONWARNINGS": "ignore", "FEAST_USAGE": "False"}
    loading = [python, str(HERE / "with_feast.py"), str(folder), str(users), str(port)]
    subprocess.run(loading, check=True, env=quiet, stdout=subprocess.DEVNULL)
    # Without end of requests per worker: a worker that starts anew takes seconds.
    command = [str(Path(python).with_name("feast")), "serve", "--port", str(port + 1), "--workers", "2"]
    command += ["--no-access-log", "--max-requests", "0"]
    process = peers.start(command, folder / "serve.log", cwd=folder, env=quiet)
    until_answers(f"http://127.0.0.1:{port + 1}/health")
    features = _named(outputs)
    targets = []
    for rows in entities:
        asked = [
            {"features": features, "entities": {"user_id": entities_of(n, rows, users)}}
            for n in range(QUESTIONS)
        ]
        bodies = write_bodies(folder / f"bodies-{rows}", asked)
        url = f"http://127.0.0.1:{port + 1}/get-online-features"
        processes = [*descendants(process.pid), redis.pid]
        targets.append(Target(f"feast {rows}", url, bodies, processes=processes))
    return targets


def _named(outputs: list[str]) -> list[str]:
    return [f"user:{output.removeprefix('User.')}" for output in outputs]


def compare(server: dict[str, Any], token: str, feast_url: str, users: int) -> None:
    """Both give the same values, or nothing was compared."""
    asked = entities_of(3, 10, users)
    question = {"inputs": {"User.id": asked}, "outputs": server["outputs"]}
    ours = post(server["creta"], question, token, server["ca"])
    theirs = post(feast_url, {"features": _named(server["outputs"]), "entities": {"user_id": asked}})
    names = theirs["metadata"]["feature_names"]
    for column in ours["columns"]:
        found = theirs["results"][names.index(column["feature"].removeprefix("User."))]["values"]
        if found != column["values"]:
            raise SystemExit(
                f"bench-serving: {column['feature']} is {json.dumps(column['values'])} here and "
                f"{json.dumps(found)} in Feast"
            )
