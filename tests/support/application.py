"""The table of cases that both helper libraries are tested with."""

import json
from pathlib import Path
from typing import Any

from tests.support.forms import TESTS

Case = dict[str, Any]


CASES: list[Case] = json.loads((TESTS / "cases" / "secrets.json").read_text())


def laid_out(case: Case, folder: Path) -> dict[str, str]:
    """Make what the *case* describes below *folder*; return the environment."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    for name in case.get("folders", []):
        (folder / name).mkdir()
    for name, text in case.get("files", {}).items():
        (folder / name).write_bytes(text.encode())
    for name, text in case.get("root", {}).items():
        (root / name).write_bytes(text.encode())
    for name, text in case.get("hex", {}).items():
        (root / name).write_bytes(bytes.fromhex(text))
    for name, target in case.get("links", {}).items():
        (folder / name).symlink_to(target)
    return {"SHIM_SECRETS_DIR": str(root)} | {
        name: value.replace("{root}", str(root)).replace("{folder}", str(folder))
        for name, value in case.get("environ", {}).items()
    }
