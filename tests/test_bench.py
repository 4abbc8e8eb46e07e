"""The benchmark is one command; here it runs with next to no rounds. How long anything took is nobody's failure."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.forms import IN_CI, REPOSITORY, cannot_run

ALONE = ("python3.11 -I -S -c pass", "true", "C, execve", "C, vfork and waitpid", "tini", "dumb-init", "gosu")
WITH_SECRETS = ("bash file_env", "sh $(cat) loop", "s6-envdir", "dotenv run", "shim, files alone", "shim --init")
OURS = ("shim", "shim, public API only", "naive onedir", "naive onefile")
# What a tiny run leaves out on purpose; it builds nothing, and every test on the machine needs the kernel's caches.
LEFT_OUT = ("a tiny run builds only the shim", "a tiny run leaves the kernel's caches alone")

STARTS = [
    *((name, None, False) for name in ALONE),
    *((name, size, False) for name in (*WITH_SECRETS, *OURS) for size in (1, 20)),
    *((name, size, True) for name in OURS for size in (1, 20)),
]


@pytest.fixture(scope="module")
def folder(shim_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a tiny run wrote its results to."""
    out = tmp_path_factory.mktemp("results")
    command = [str(REPOSITORY / "tests/bench/run"), "--tiny", "--shim", str(shim_binary), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 111:
        cannot_run(f"the benchmark cannot run here:\n{done.stderr}")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def heads(rows: list[dict[str, Any]]) -> list[tuple[str, int | None, bool]]:
    return [(row["program"], row["secrets"], row["schema"]) for row in rows]


def assert_measured(rows: list[dict[str, Any]], *fields: str) -> None:
    """Every row has its numbers, or says why it has none."""
    for row in rows:
        missing = row.get("missing")
        if missing is None:
            assert all(row[field] > 0 for field in fields), row
        else:
            is_absent_tool = missing.endswith(("is not installed", "by root", "its memory"))
            assert missing in LEFT_OUT or (is_absent_tool and not IN_CI and os.geteuid() != 0), row


def test_every_start_is_a_row(results: dict[str, Any]) -> None:
    """Each program, with each number of secrets, with and without a schema, was started or says why not."""
    assert sorted(heads(results["starts"]), key=str) == sorted(STARTS, key=str)
    assert_measured(results["starts"], "starts", "median_us", "p10_us", "min_us", "page_faults", "ratio", "ratio_p10")


def test_the_first_instruction_is_a_row_each_way(results: dict[str, Any]) -> None:
    """How long a service waits for its first instruction is measured by exec and with --init."""
    assert [row["program"] for row in results["first_instruction"]] == ["exec", "--init"]
    assert_measured(results["first_instruction"], "p10_us", "p20_us", "median_us")


def test_cold_starts_are_rows(results: dict[str, Any]) -> None:
    """Everything with twenty secrets, or none, has its row for cold caches."""
    assert set(heads(results["cold"])) == {head for head in STARTS if head[1] in (None, 20)}
    assert_measured(results["cold"], "median_us")


def test_instructions_sizes_and_memory_are_rows(results: dict[str, Any]) -> None:
    """What a busy machine cannot disturb is there too: instructions, bytes, memory."""
    assert ("shim", 20, False) in heads(results["instructions"])
    assert_measured(results["instructions"], "instructions")
    assert [row["program"] for row in results["sizes"]] == [*OURS, "tini", "dumb-init", "gosu"]
    assert_measured(results["sizes"], "bytes", "bytes_gzipped")
    assert [row["program"] for row in results["memory"]] == ["shim --init", "tini", "dumb-init"]
    assert_measured(results["memory"], "rss_kib", "private_kib")


def test_the_page_says_where_and_what(results: dict[str, Any], folder: Path) -> None:
    """The page names date, machine, commit and every program, and judges each target."""
    (file,) = folder.glob("*.md")
    page = file.read_text()
    for word in (results["date"], results["machine"]["kernel"], results["machine"]["processor"], results["commit"]):
        assert word in page
    for name in (*ALONE, *WITH_SECRETS, *OURS):
        assert f"| {name} |" in page
    assert len(results["targets"]) > 10
    for row in results["targets"]:
        assert row["target"] in page
