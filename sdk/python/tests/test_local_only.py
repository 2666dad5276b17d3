"""`creta.local` takes nothing of a server: no data folder, no key, no credential, no production table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import creta
from creta import Feature, entity, event_time, feature, key

AT = datetime(2025, 3, 1, tzinfo=UTC)
CANARY = "canary-7f3a@example.com"


@entity
class Person:
    """Somebody."""

    id: Feature[int] = key()
    email: Feature[str] = feature()
    at: Feature[datetime] = event_time()


def here() -> ModuleType:
    return sys.modules[__name__]


def people(label: str | None = None) -> pa.Table:
    columns = {"id": [1], "email": [CANARY], "at": pa.array([AT], pa.timestamp("us", "UTC"))}
    table = pa.table(columns)
    if label is None:
        return table
    return table.replace_schema_metadata({"creta.environment": "prod", "creta.class": label})


PROJECT = """
from datetime import datetime
from creta import Feature, entity, event_time, feature, key, {kind}, source

@entity
class Person:
    id: Feature[int] = key()
    email: Feature[str] = feature()
    at: Feature[datetime] = event_time()

people = source(Person, {kind}({arguments}), event_time="at", arrival="at")
"""


def project(folder: Path, kind: str = "parquet", arguments: str = '"people.parquet"') -> Path:
    folder.mkdir()
    (folder / "creta.toml").write_text('[project]\nname = "people"\n')
    (folder / f"people_{folder.name}.py").write_text(PROJECT.format(kind=kind, arguments=arguments))
    return folder


def refused(give: object) -> creta.CretaError:
    assert callable(give)
    with pytest.raises(creta.CretaError) as error:
        give()
    assert error.value.code == "access/local-only", error.value
    assert error.value.help is not None
    assert "creta synth" in error.value.help
    assert CANARY not in str(error.value)
    return error.value


@pytest.mark.parametrize("label", ["production", "staging", "Production", "prod"])
def test_attack_ch14_tables_of_other_environments_are_refused_as_facts_and_as_spine(label: str) -> None:
    error = refused(lambda: creta.local(here(), facts={Person: people(label)}))
    assert "`prod`" in error.message
    local = creta.local(here(), facts={Person: people()})
    refused(lambda: local.ingest(Person, people(label)))
    asked = pa.table({"Person.id": [1], "at": pa.array([AT], pa.timestamp("us", "UTC"))})
    spine = asked.replace_schema_metadata(people(label).schema.metadata)
    refused(lambda: local.training_set(spine, as_of="at", features=[Person.email]))


def test_attack_ch14_files_of_other_environments_are_refused_as_sources(tmp_path: Path) -> None:
    folder = project(tmp_path / "a")
    pq.write_table(people("production"), folder / "people.parquet")
    error = refused(lambda: creta.local(folder))
    assert error.location is not None
    assert error.location.file == "people_a.py"
    folder = project(tmp_path / "b", "arrow", '"people.arrow"')
    with pa.OSFile(str(folder / "people.arrow"), "wb") as file, pa.ipc.new_file(file, people().schema) as out:
        out.write_table(people())
    creta.local(folder)
    labelled = people("production")
    with pa.OSFile(str(folder / "people.arrow"), "wb") as file, pa.ipc.new_file(file, labelled.schema) as out:
        out.write_table(labelled)
    refused(lambda: creta.local(folder))


def test_what_is_for_development_or_not_from_a_server_is_taken(tmp_path: Path) -> None:
    for table in (people(), people("development")):
        local = creta.local(here(), facts={Person: table})
        assert local.query({Person.id: 1}, [Person.email])[Person.email].value == CANARY
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        pq.write_table(table, project(folder) / "people.parquet")
        creta.local(folder)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a real server of class production."""
    binary = os.environ.get("CRETA_BINARY")
    if binary is None:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    folder = tmp_path_factory.mktemp("server") / "data"
    init = [binary, "server", "init", "--data", str(folder), "--environment", "prod", "--class", "production"]
    done = subprocess.run(init, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_attack_ch14_the_data_folder_of_a_server_is_refused(data_folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "project"
    link.symlink_to(data_folder)
    for path in (data_folder, str(data_folder), data_folder / "metadata.sqlite", link):
        assert "data folder of a server" in refused(lambda path=path: creta.local(path)).message
    # As a source of a project that links to it.
    folder = project(tmp_path / "c", "sqlite", '"data/metadata.sqlite", "select * from document"')
    (folder / "data").symlink_to(data_folder)
    assert "environment `prod`" in refused(lambda: creta.local(folder)).message


def test_attack_ch14_keys_credentials_and_profiles_are_refused(data_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "root.key"
    elsewhere.write_bytes((data_folder / "root.key").read_bytes())
    assert "root key" in refused(lambda: creta.local(elsewhere)).message
    credential = tmp_path / "admin.json"
    credential.write_text(json.dumps({"client_id": "admin", "client_secret": "creta_sk_x"}))
    assert "credential" in refused(lambda: creta.local(credential)).message
    session = tmp_path / "session.json"
    session.write_text(json.dumps({"format": "creta.session-file/1", "person": "ana"}))
    assert "session" in refused(lambda: creta.local(session)).message
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[default]\nurl = "https://prod:7443"\nclient_id = "x"\nclient_secret_file = "y"\n')
    assert "profiles" in refused(lambda: creta.local(profiles)).message


def test_a_profile_of_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the shell points, facts are those given here."""
    monkeypatch.setenv("CRETA_PROFILE", "prod")
    monkeypatch.setenv("CRETA_PROFILE_FILE", "/nowhere/profiles.toml")
    local = creta.local(here(), facts={})
    assert local.query({Person.id: 1}, [Person.email])[Person.email].state == "missing"
