"""The GitHub Action and the GitLab job of docs/CI.md: what their hosts take, and what their shell lines find."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.support.forms import REPOSITORY
from tests.support.host import Canary, Manage
from tests.support.pages import blocks

ACTION = REPOSITORY / "action.yml"
VENDORED = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor"
SARIF = REPOSITORY / "tests/cases/sarif-2.1.0-rtm.5.json"


def pages_yaml(word: str) -> Any:
    """Return the document of docs/CI.md that has *word* at its top."""
    documents = [YAML(typ="safe").load(block.text) for block in blocks(REPOSITORY / "docs/CI.md", "yaml")]
    (found,) = [document for document in documents if word in document]
    return found


def check(document: Any, schema: Path) -> None:
    found = jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).iter_errors(document)
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in found] == []


def test_the_hosts_take_what_is_written() -> None:
    """By the published schemas of both, which come along with check-jsonschema."""
    action = YAML(typ="safe").load(ACTION)
    check(action, VENDORED / "github-actions.json")
    workflow = pages_yaml("jobs")
    check(workflow, VENDORED / "github-workflows.json")
    check(pages_yaml("check-secrets"), VENDORED / "gitlab-ci.json")

    steps = workflow["jobs"]["secrets"]["steps"]
    (step,) = [step for step in steps if "docker-secrets-shim" in step["uses"]]
    assert set(step["with"]) <= set(action["inputs"])
    for step in action["runs"]["steps"]:  # others could move a tag
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), step["uses"]


def test_nothing_of_the_repository_that_is_checked_is_run_for_pip(tmp_path: Path) -> None:
    """A pull request may add a folder pip/, which Python would take before the real one."""
    steps = YAML(typ="safe").load(ACTION)["runs"]["steps"]
    (install,) = [step["run"] for step in steps if step.get("name") == "install"]
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/__init__.py").touch()
    (tmp_path / "pip/__main__.py").write_text("print('planted')")
    python, _, _ = install.partition(" install")

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    end = subprocess.run(
        ["bash", "-c", f"{python} --version"], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True
    )
    assert end.stdout.startswith("pip "), end


def scripts() -> dict[str, str]:
    """Return the shell lines of the check, as each host runs them."""
    (of_github,) = [step["run"] for step in YAML(typ="safe").load(ACTION)["runs"]["steps"] if step.get("id") == "check"]
    return {"github": of_github, "gitlab": "\n".join(pages_yaml("check-secrets")["check-secrets"]["script"])}


def run(manage: Manage, script: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=manage.folder,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(manage.folder.parent),
            "HISTORY": "true",
            "FAIL_ON": "error",
            "SARIF": "found.sarif",
            "GITHUB_OUTPUT": "output",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    manage.custody.said += [done.stdout, done.stderr]
    return done


def commit(manage: Manage, message: str) -> None:
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for arguments in (["add", "--all", "--force"], ["commit", "--quiet", "--message", message]):
        subprocess.run([*git, *arguments], cwd=manage.folder, check=True)


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_the_lines_of_the_check_find_what_git_has(manage: Manage, canary: Canary, host: str) -> None:
    """A repository in order passes without any value; what was once committed, and plain text, do not."""
    script = scripts()[host]
    subprocess.run(["git", "init", "--quiet"], cwd=manage.folder, check=True)
    manage.write(".gitignore", ".env\n/secrets/*\n*.sarif\noutput\n")
    manage.write(".env.schema", "# @required @sensitive\nDB_PASSWORD=\n")
    compose = "services:\n  app:\n    image: app\n    secrets: [db_password]\n"
    secrets = "secrets:\n  db_password:\n    file: ./secrets/db_password\n"
    manage.write("compose.yml", compose + secrets)
    commit(manage, "begin")

    clean = run(manage, script)

    assert clean.returncode == 0, clean.stdout + clean.stderr
    (sarif,) = manage.folder.glob("*.sarif")
    check(json.loads(sarif.read_text()), SARIF)
    if host == "github":
        assert (manage.folder / "output").read_text() == f"sarif={manage.folder}/found.sarif\n"

    manage.write("deploy.sh", "export GH_TOKEN=ghp_" + "0123456789abcdefghijABCDEFGHIJklmnop\n")
    commit(manage, "a token")
    (manage.folder / "deploy.sh").unlink()
    commit(manage, "and gone again")
    manage.write("compose.yml", compose + f"    environment:\n      DB_PASSWORD: {canary()}\n" + secrets)
    dirty = run(manage, script)

    assert dirty.returncode == 1
    assert "a token of GitHub" in dirty.stderr
    if host == "github":  # nothing that a file is called is a command of the runner
        commands = [line for line in dirty.stdout.splitlines() if line.startswith("::")]
        assert re.fullmatch(r"::stop-commands::([0-9a-f]{32})\n::\1::", "\n".join(commands))
        assert dirty.stdout.startswith("::stop")
        assert dirty.stdout.endswith("::\n")
    check(json.loads(sarif.read_text()), SARIF)
    assert json.loads(sarif.read_text())["runs"][0]["results"]
