"""Each operation of the editor on each form of a node: Compose reads what was there, and what came or went."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shim_host.compose import nodes
from shim_host.compose.editor import Editor
from shim_host.compose.nodes import child
from shim_host.compose.plain_keys import with_plain_keys

from tests.support import compose_judge as judge
from tests.support.host import compose_program

HEAD = """\
x-list: &list
  - /a:/a
x-map: &map
  A: '1'
x-service: &service
  volumes: [/a:/a]
  environment: {A: '1'}
  depends_on: {db: {condition: service_started, required: false}}
services:
  db: {image: j}
"""
LISTS = {
    "none": "",
    "a block": "    volumes:\n      - /a:/a  # one\n      # two\n      - /b:/b\n",
    "a block as far left as its key": "    volumes:\n    - /a:/a\n    - type: bind\n      source: /c\n"
    "      target: /c\n",
    "brackets": "    volumes: [/a:/a, '/b:/b']\n",
    "brackets over lines": "    volumes: [\n      /a:/a,  # one\n      '/b:/b'  # two\n    ]\n",
    "empty brackets": "    volumes: []\n",
    "an alias": "    volumes: *list\n",
    "an anchor that others use": "    volumes: &own\n      - /a:/a\n  other: {image: j, volumes: *own}\n",
    "merged": "    <<: *service\n",
    "replaced": "    volumes: !override\n      - /a:/a\n",
}
MAPS = {
    "none": "",
    "a block": "    environment:\n      A: '1'  # one\n      # two\n      B:\n",
    "a list": "    environment:\n      - A=1\n      - B\n",
    "braces": "    environment: {A: '1', B: , C: 'x, y'}\n",
    "braces over lines": "    environment: {\n      A: '1',  # one\n      B: '2',\n    }\n",
    "an alias": "    environment: *map\n",
    "merged in it": "    environment:\n      <<: *map\n      B: '2'\n",
    "merged": "    <<: *service\n",
    "a text that keeps its empty lines": "    environment:\n      A: |+\n        one\n\n\n",
    "a plain text over lines": "    environment:\n      A: one\n        two\n      B: '2'\n",
}
AFTER = {"last": "", "followed": "    tty: true\n", "without a line end": "    tty: true"}


def environment_of(service: Any) -> Any:
    return child(service, "environment")


def read(folder: Path) -> dict[str, Any]:
    return judge.read(folder, compose=[compose_program()])


def edited(folder: Path, form: str, after: str, change: Callable[[Editor, Any], None]) -> tuple[Any, Any]:
    """Return what Compose reads before and after *change* to the service `a`."""
    own, _, others = form.partition("  other:")
    tail = f"  other:{others}" if others else ""
    text = f"{HEAD}  a:\n    image: i\n{own}{'' if tail and not after.endswith(chr(10)) else after}{tail}"
    path = folder / "compose.yaml"
    path.write_text(text)
    before = read(folder)
    documents = nodes.load(path, folder)
    editor = Editor(documents)
    change(editor, child(child(documents[0].root, "services"), "a"))
    path.write_text(editor.result())
    kept = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert [comment for comment in kept if comment not in path.read_text()] == []
    after_it = read(folder)
    for document in (before, after_it):
        for name in [name for name in document if name.startswith("x-")]:
            del document[name]
    return before, after_it


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("form", LISTS)
def test_a_list_gets_one_more(tmp_path: Path, form: str, after: str) -> None:
    def change(editor: Editor, node: Any) -> None:
        editor.add_to_list(node, "volumes", ["/new:/new"])

    before, now = edited(tmp_path, LISTS[form], AFTER[after], change)

    added = now["services"]["a"]["volumes"].pop()
    assert (added["source"], added["target"]) == ("/new", "/new")
    assert now["services"]["a"].pop("volumes") == before["services"]["a"].pop("volumes", [])
    assert now == before


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("form", [form for form in MAPS if form != "a list"])
def test_a_mapping_gets_one_more(tmp_path: Path, form: str, after: str) -> None:
    def change(editor: Editor, node: Any) -> None:
        editor.grow(node, "environment", {"NEW": "a: b # c"})

    before, now = edited(tmp_path, MAPS[form], AFTER[after], change)

    assert now["services"]["a"]["environment"].pop("NEW") == "a: b # c"
    assert now["services"]["a"].pop("environment") == (before["services"]["a"].pop("environment", None) or {})
    assert now == before


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("form", ["a block", "a list", "braces", "braces over lines", "a plain text over lines"])
def test_an_element_goes(tmp_path: Path, form: str, after: str) -> None:
    """The first, and then all, when the whole field goes."""

    def remove_first(editor: Editor, node: Any) -> None:
        editor.remove(environment_of(node), 0)

    def remove_all(editor: Editor, node: Any) -> None:
        environment = environment_of(node)
        for position in range(len(environment.value)):
            editor.remove(environment, position)
        editor.settle_emptied(node, [key.value for key, _ in node.value].index("environment"))

    before, now = edited(tmp_path, MAPS[form], AFTER[after], remove_first)
    del before["services"]["a"]["environment"]["A"]
    if not before["services"]["a"]["environment"]:
        del before["services"]["a"]["environment"]
    assert now == before
    before, now = edited(tmp_path, MAPS[form], AFTER[after], remove_all)
    del before["services"]["a"]["environment"]
    now["services"]["a"].pop("environment", None)
    assert now == before


def test_comments_of_a_field_that_goes_stay_out_of_the_text_above(tmp_path: Path) -> None:
    """As far right as they are, they would be a part of it: of the last words of a command."""
    own = "    command: >-\n      x\n      y\n    environment: # one\n      # two\n      A: '1'  # three\n\n"

    def remove(editor: Editor, node: Any) -> None:
        editor.remove(environment_of(node), 0)
        editor.settle_emptied(node, [key.value for key, _ in node.value].index("environment"))

    before, now = edited(tmp_path, f"{own}        # four\n", AFTER["followed"], remove)

    del before["services"]["a"]["environment"]
    assert now == before


FIELDS = {
    "none": "",
    "text": "    command: x y  # one\n",
    "a folded text": "    command: >-\n      x\n      y\n",
    "a block": "    command:\n      - x\n      - y\n",
    "brackets": "    command: [x, y]\n",
    "nothing": "    command:\n",
    "a word for nothing": "    command: ~\n",
    "an anchor that others use": "    command: &own [x, y]\n  other: {image: j, command: *own}\n",
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("form", FIELDS)
def test_a_field_is_replaced(tmp_path: Path, form: str, after: str) -> None:
    def change(editor: Editor, node: Any) -> None:
        editor.set_field(node, "command", ("new", "a: $$b"), after="image")

    before, now = edited(tmp_path, FIELDS[form], AFTER[after], change)

    assert now["services"]["a"].pop("command") == ["new", "a: $$b"]
    before["services"]["a"].pop("command", None)
    assert now == before


PLAIN = {
    "? a\n: b\n": "a: b\n",
    "? a\n? b\n# c\n: |\n  x ? y\n": "a:\n# c\nb: |\n  x ? y\n",
    "? &k 'a'  # one\n: &v  # two\n  - x\nb:\n  ? *k\n  : *v\n": "# one\n&k 'a': &v  # two\n  - x\nb:\n  *k : *v\n",
    "a:\n- ? b\n  : ? c\n    : - d\n  e: 1\n": "a:\n- b:\n    c:\n      - d\n  e: 1\n",
    "? a\r\n: b: 1\r\n  c: 2\r\n": "a:\r\n  b: 1\r\n  c: 2\r\n",
    "a: {? b : 1, ? c, d: x ? y}\n": "a: {b: 1, c, d: x ? y}\n",
    "a: is it ?\nb: what ? c\n": "",
    "? |\n  a\n: b\n": '"a\\n": b\n',
    "a:\n  ? >-  # one\n    b\n    c\n  # two\n  :\n    - d\n": 'a:\n  # one\n  # two\n  "b c":\n    - d\n',
    "a: {? 'b\n  c' : 1}\n": 'a: {"b c": 1}\n',
    "? |-\r\n  a\r\n: b\r\n": '"a": b\r\n',
    f"? {'a' * 2000}\n: b\n": "",
}


@pytest.mark.parametrize("text", PLAIN)
def test_keys_with_a_mark_lose_it(tmp_path: Path, text: str) -> None:
    """What cannot be a plain key stays as it is; so does a file whose text says something else then."""
    path = tmp_path / "compose.yaml"
    path.write_bytes(text.encode())
    (before,) = nodes.load(path, tmp_path)

    (after,) = with_plain_keys([before])

    assert after.text == (PLAIN[text] or before.text)
    assert after.original == (before.text if PLAIN[text] else "")


def test_the_corpus_program_judges_a_folder(tmp_path: Path) -> None:
    """One project is migrated, so is a file beside another one, one has no secret; Compose and `migrate` refuse two."""
    environment = "    environment: {DB_PASSWORD: '${DB_PASSWORD}'}\n"
    for name, text in (("one", environment), ("two", ""), ("three", "    nonsense: 1\n"), ("four", environment)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "compose.yaml").write_text(f"services:\n  a:\n    image: i\n{text}")
    (tmp_path / "one" / ".env.example").write_text("DB_PASSWORD=swordfish-and-chips\n")
    (tmp_path / "two" / "compose prod.yaml").write_text(
        "services: {b: {image: i, environment: {DB_PASSWORD: s3cr-et}}}\n"
    )
    (tmp_path / "four" / ".env").write_text("DB_PASSWORD=swordfish-and-chips\n")
    (tmp_path / "four" / "secrets").mkdir()
    (tmp_path / "four" / "secrets" / "db_password").write_text("another")
    root = Path(__file__).resolve().parents[3]
    config = tmp_path / "docker" / "cli-plugins"
    config.mkdir(parents=True)
    (config / "docker-compose").symlink_to(compose_program())
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker")}

    done = subprocess.run(
        [sys.executable, "-m", "tests.corpus", str(tmp_path)],
        cwd=root,
        env={**environ, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    *listed, refused = (line for line in done.stdout.splitlines() if "seconds" not in line)
    lines = dict(line.rsplit("  ", 1) for line in listed)
    assert refused.startswith("  refused 1: manage-secrets: error: these no longer hold the value")
    table = {name.strip(): value.strip() for name, value in lines.items()}
    assert table == {
        "projects": "5",
        "accepted by Compose": "4",
        "with a secret": "3",
        "migrated": "2",
        "services equal": "2 of 2",
        "services left": "0",
        "refused": "1",
        "audit finds besides": "0",
    }
    assert json.dumps(sorted(path.name for path in (tmp_path / "one").iterdir())) == '[".env.example", "compose.yaml"]'
