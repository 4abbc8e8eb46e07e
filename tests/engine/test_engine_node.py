"""`getSecret` of the TypeScript backend, by the same table of cases as `get_secret` of the Python package."""

import json
from pathlib import Path

import pytest

from tests.support.application import CASES, laid_out
from tests.support.engine import ROOT, Engine

pytestmark = [pytest.mark.engine, pytest.mark.frozen]


def test_get_secret_means_the_same_in_typescript(engine: Engine, tmp_path: Path) -> None:
    """Every case has the same outcome in both languages: the value, none, or a refusal that names the key."""
    asked = []
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        environ = laid_out(case, folder)
        asked.append({"key": case["key"], "required": case.get("required", False), "environ": environ})
    driver = ROOT / "tests/children/get_secret.js"
    mounts = ("--volume", f"{tmp_path}:{tmp_path}:ro", "--volume", f"{driver}:/get_secret.js:ro")
    done = engine.docker(
        *(
            "run",
            "--rm",
            "--interactive",
            *mounts,
            "--entrypoint",
            "node",
            engine.image("backend-node"),
            "/get_secret.js",
        ),
        input=json.dumps(asked),
    )

    answers = json.loads(done.stdout)
    assert len(answers) == len(CASES)
    differing = {}
    for case, answer in zip(CASES, answers, strict=True):
        is_right = (
            case["key"] in answer.get("refused", "") if case.get("refused") else answer == {"value": case["value"]}
        )
        if not is_right:
            differing[case["name"]] = answer
    assert differing == {}
