"""The file of versions, as a shell reads it after people have edited it."""

import subprocess
from pathlib import Path

import pytest
from shim_host.swarm import versions_file


def sourced(path: Path, variable: str) -> str:
    command = f'. "{path}"; printf %s "${variable}"'
    return subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, check=True, text=True).stdout


@pytest.mark.parametrize(
    "line",
    [
        "API_TOKEN_VERSION=2",
        "export API_TOKEN_VERSION=2",
        'API_TOKEN_VERSION="2"',
        "API_TOKEN_VERSION='2'  # after the leak",
        "  API_TOKEN_VERSION=2",
        "API_TOKEN_VERSION=1\nAPI_TOKEN_VERSION=2",
    ],
)
def test_an_edited_version_is_read_and_replaced_as_a_shell_would(tmp_path: Path, line: str) -> None:
    path = tmp_path / "secrets.lock.env"
    path.write_text(f"{line}\n")
    assert sourced(path, "API_TOKEN_VERSION") == "2"

    assert versions_file.read(path) == {"API_TOKEN_VERSION": 2}
    versions_file.write(path, {"API_TOKEN": 3})

    assert sourced(path, "API_TOKEN_VERSION") == "3"
    assert ("export API_TOKEN_VERSION=3" in path.read_text().splitlines()) == line.startswith("export")


def test_a_version_that_is_not_a_number_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "secrets.lock.env"
    path.write_text("export API_TOKEN_VERSION=latest\r\n")
    versions_file.write(path, {"API_TOKEN": 3})
    assert sourced(path, "API_TOKEN_VERSION") == "3"


def test_what_people_added_stays(tmp_path: Path) -> None:
    path = tmp_path / "secrets.shop.lock.env"
    versions_file.write(path, {"OTHER": 4})
    path.write_text(path.read_text() + "# the registry of the office\nREGISTRY=registry.example.org/\nTAG=1.4.0\n")

    for version in (2, 3):
        versions_file.write(path, {"API_TOKEN": version})

    lines = path.read_text().splitlines()
    assert lines[1].endswith(
        ". ./secrets.shop.lock.env; set +a; docker stack deploy --compose-file docker-compose.swarm.yml shop"
    )
    assert lines[2:] == [
        *("# the registry of the office", "REGISTRY=registry.example.org/", "TAG=1.4.0"),
        *("API_TOKEN_VERSION=3", "OTHER_VERSION=4"),
    ]
