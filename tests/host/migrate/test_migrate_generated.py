"""Compose files by chance: whatever their style, a migrated service sees what it saw, and no comment is lost."""

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from shim_host.compose.images import from_config
from shim_host.compose.reading import read_project
from shim_host.migrate import check
from shim_host.migrate.model import EnvSource, ShimSource, Wishes
from shim_host.migrate.new_files import new_files, new_path
from shim_host.migrate.plan import make_plan
from shim_host.migrate.prove import Asked, Proven, proven

from tests.corpus import generated

IMAGES = {
    "app": from_config({"Entrypoint": None, "Cmd": ["run"]}),
    "entry": from_config({"Entrypoint": ["/e"], "Cmd": ["c"], "User": "u", "Healthcheck": {"Test": ["CMD", "x"]}}),
    "postgres": from_config({"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["postgres"], "Env": ["PG_MAJOR=16"]}),
}
KEYS = ("TOKEN", "DB_PASSWORD", "LEVEL", "apiKey", "POSTGRES_PASSWORD", "URL", "_TOKEN", "EMPTY_SECRET", "NAME")
RAW = ("$%s", "${%s}", "pre-${TOKEN}-post", "${NOPE:-d ef}", "", "a$$b", "x: y # z", "plain")


class Writer:
    """Writes one project, each decision by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.comments = 0
        self.names: list[str] = []

    def often(self, share: float) -> bool:
        return self.chance.random() < share

    def comment(self) -> str:
        self.comments += 1
        return f"  # c{self.comments}." if self.often(0.4) else ""

    def raw(self, key: str) -> str:
        raw = self.chance.choice(RAW)
        return raw % self.chance.choice((key, *KEYS)) if "%s" in raw else raw

    def environment(self, indent: int, anchor: str = "", merged: bool = False) -> Iterator[str]:
        keys = self.chance.sample(KEYS, self.chance.randrange(1, 5))
        front = " " * indent + "environment:" + anchor
        style = "mapping" if merged else self.chance.choice(("mapping", "braces", "mapping" if anchor else "list"))
        if style == "braces":
            # What is last may be empty: `{A: 'x', B: }`.
            last = ", LAST: " if self.often(0.2) else ""
            yield f"{front} {{{', '.join(f'{key}: {self.raw(key)!r}' for key in keys)}{last}}}{self.comment()}"
            return
        yield front + self.comment()
        if merged:
            yield " " * indent + "  <<: *env" + self.comment()
        left = " " * (indent + self.chance.choice((0, 2)))
        for key in keys:
            if style == "list":
                entry = key if self.often(0.3) else repr(f"{key}={self.raw(key)}")
                yield f"{left}- {entry}{self.comment()}"
            else:
                yield f"{' ' * indent}  {key}: {self.raw(key)!r}{self.comment()}"

    def service(self, name: str, has_common: bool) -> Iterator[str]:
        yield f"  {name}:{self.comment()}"
        if has_common and self.often(0.5):
            yield "    <<: *common"
        yield f"    image: {self.chance.choice(tuple(IMAGES))}{self.comment()}"
        if self.often(0.7):
            yield from self.environment(4, merged=has_common and self.often(0.5))
        if self.often(0.5):
            yield from self.chance.choice(
                (["    env_file: .env"], ["    env_file:", "      - path: .env", "      - x.env"])
            )
        if self.often(0.3):
            yield from ("    secrets:" + self.comment(), "    - other" + self.comment())
        if self.often(0.3):
            yield from self.chance.choice(
                (
                    ["    healthcheck: {test: 'a $$TOKEN', interval: 1s}"],
                    ["    healthcheck:", "      test: [CMD, a]" + self.comment(), "      interval: 1s"],
                    [
                        "    healthcheck:",
                        "      interval: 1s",
                        "      test:" + self.comment(),
                        "      - CMD",
                        "      - a",
                    ],
                    ["    healthcheck:", "      test: >-", "        a b", "        c"],
                    ["    healthcheck: {disable: true}"],
                )
            )
        if self.often(0.4):
            yield from self.chance.choice(
                (
                    ["    entrypoint: [a, b]"],
                    ["    entrypoint:", "    - a" + self.comment()],
                    ["    entrypoint: a 'b c'"],
                    ["    entrypoint: []"],
                    ["    entrypoint:"],
                    ["    command: [run, '$$X']", "    entrypoint: [a]"],
                    ["    command: >-", "      run", "      it"],
                )
            )
        if self.often(0.2):
            yield "    user: '7:8'" + self.comment()
        if self.often(0.3):
            yield from self.chance.choice(
                (["    volumes: [ a:/b ]"], ["    volumes:", "      - a:/b" + self.comment()])
            )

    def project(self) -> Iterator[str]:
        has_common = self.often(0.6)
        if has_common:
            yield from ("x-common: &common", "  restart: always" + self.comment(), *self.environment(2, " &env"))
        yield "services:" + self.comment()
        self.names = self.chance.sample(("web", "db", "api", "job"), self.chance.randrange(1, 4))
        if has_common and self.often(0.3):
            # A health check that others have by its anchor, in a block with comments.
            yield from ("  first:", "    image: app", *self.environment(4), "    healthcheck: &h" + self.comment())
            yield from (
                "      " + self.comment().lstrip(),
                "      test:",
                "        - CMD" + self.comment(),
                "        - a",
            )
            yield from ("  second: {image: app, healthcheck: *h, environment: *env}",)
        for name in self.names:
            yield from ([""] if self.often(0.5) else [])
            yield from self.service(name, has_common)
        yield from ("secrets:" + self.comment(), "  other: {file: ./o}")
        yield from self.chance.choice(
            ([], ["volumes:", "  a:" + self.comment()], ["volumes: {a: }"], ["volumes:", " a:"])
        )
        yield from (["---", "services:", f"  {self.names[0]}:", "    init: true"] if self.often(0.1) else [])
        yield "# the end"


@pytest.mark.parametrize("seed", range(80))
def test_a_generated_project_stays_the_same(tmp_path: Path, seed: int) -> None:
    writer = Writer(seed)
    line_end = "\r\n" if writer.often(0.1) else "\n"
    text = line_end.join(writer.project()) + (line_end if writer.often(0.8) else "")
    old, env_file = tmp_path / "docker-compose.yml", tmp_path / ".env"
    old.write_bytes(text.encode())
    values = ("'v%d $ x'", "v%d", '"a\nb%d"')
    env_file.write_text("".join(f"{key}={writer.chance.choice(values) % 7}\n" for key in KEYS[:7]) + "EMPTY_SECRET=\n")
    (tmp_path / "x.env").write_text("EXTRA=1\nDB_PASSWORD=another\n")

    project = read_project(tmp_path)
    sources = [EnvSource(env_file, env_file.read_bytes(), project.environ)]
    plan = make_plan(project, sources, Wishes(secrets_dir=tmp_path / "secrets"), IMAGES)
    results = new_files(plan, ShimSource(), new_path)
    for file in results:
        file.new.write_bytes(file.text.encode())
    new = {file.old: file.new for file in results}

    migrated = read_project([new.get(old, old)], {}, [new.get(env_file, env_file)])
    assert check.differs(plan, migrated) is None
    written = new.get(old, old).read_bytes().decode()
    assert [comment for comment in re.findall(r"# c\d+\.|# the end", text) if comment not in written] == []
    assert len(re.findall(r"(?<!\r)\n", written)) == 0 or line_end == "\n"


@pytest.mark.parametrize("seed", range(7000, 7005))
def test_a_project_of_the_corpus_stays_the_same(tmp_path: Path, seed: int) -> None:
    """One in any form, as `python -m tests.corpus.generated` writes it; here without Compose."""
    generated.write(tmp_path, seed)
    project = read_project(tmp_path, to_edit=True)
    sources = [EnvSource(path, path.read_bytes(), project.environ) for path in project.env_files]
    known = {service.image or f"{project.name}-{name}": IMAGES["entry"] for name, service in project.services.items()}

    def make(left: Mapping[str, str]) -> Proven:
        plan = make_plan(project, sources, Wishes(secrets_dir=tmp_path / "secrets"), known, left)
        return Proven(plan, new_files(plan, ShimSource(), new_path), new_files(plan, ShimSource(), lambda path: path))

    found = proven(make, ShimSource(), Asked(None, {}))

    assert found.files
    assert not found.plan.left


SHARED = {
    "a block": "    environment: &e  # c1.\n      DB_PASSWORD: v1\n      # c2.\n      LEVEL: '1'  # c3.\n",
    "a block with nothing else": "    environment: &e\n      DB_PASSWORD: v1\n",
    "braces": "    environment: &e {DB_PASSWORD: v1, LEVEL: '1'}\n",
    "a list": "    environment: &e\n    - DB_PASSWORD=v1\n    - LEVEL=1\n",
    "a list in brackets": "    environment: &e [DB_PASSWORD=v1, LEVEL=1]\n",
}


@pytest.mark.parametrize("form", SHARED)
def test_what_a_service_gets_does_not_reach_one_with_the_same_anchor(tmp_path: Path, form: str) -> None:
    """An env file of the first gives it a secret, so that a blank comes to its variables, and to no other's."""
    compose, env_file = tmp_path / "compose.yaml", tmp_path / "x.env"
    services = f"  a:\n    image: app\n    env_file: x.env\n{SHARED[form]}  b: {{image: app, environment: *e}}\n"
    compose.write_text(f"services:\n{services}  c: {{image: app, environment: *e}}\n")
    env_file.write_text("API_TOKEN=another\n")
    project = read_project([compose], to_edit=True)
    plan = make_plan(project, [], Wishes(secrets_dir=tmp_path / "secrets"), IMAGES)

    (file,) = (file for file in new_files(plan, ShimSource(), new_path) if file.old == compose)

    file.new.write_text(file.text)
    migrated = read_project([file.new])
    assert set(plan.moved) == {"a", "b", "c"}
    assert check.differs(plan, migrated) is None
    assert [("API_TOKEN" in service.environment) for service in migrated.services.values()][:3] == [True, False, False]
    assert all(comment in file.text for comment in re.findall(r"# c\d\.", SHARED[form]))


BASE = (
    "services:\n  base:\n    image: app\n    environment: {A_TOKEN: v1-token}\n  heir:\n    extends: {service: base}\n"
)
# The first file, the one that overrides it, and the secrets that each service has then.
EXTENDED = {
    "a secret of the base is in the file that overrides": (
        BASE,
        "services:\n  base:\n    environment: {DB_PASSWORD: v2}\n",
        {"base": {"a_token", "db_password"}, "heir": {"a_token"}},
    ),
    "its env file is named there": (
        BASE,
        "services:\n  base:\n    env_file: x.env\n",
        {"base": {"a_token", "api_token"}, "heir": {"a_token"}},
    ),
    "the heir has no secret of that name": (
        BASE + "    environment: {A_TOKEN: 'true'}\n",
        "services: {}\n",
        {"base": {"a_token"}, "heir": {"a_token"}},
    ),
    "a list takes the place of what there was": (
        "services:\n  base:\n    image: app\n    env_file: x.env\n    environment: [LEVEL=1, DB_PASSWORD=v2]\n",
        "services:\n  base:\n    environment: !reset []\n",
        {"base": {"api_token"}},
    ),
}


@pytest.mark.parametrize("form", EXTENDED)
def test_a_service_that_extends_another_gets_its_own_secrets(tmp_path: Path, form: str) -> None:
    first, second, expected = EXTENDED[form]
    (tmp_path / "compose.yaml").write_text(first)
    (tmp_path / "compose.override.yaml").write_text(second)
    (tmp_path / "x.env").write_text("API_TOKEN=another\n")
    project = read_project(tmp_path, to_edit=True)
    plan = make_plan(project, [], Wishes(secrets_dir=tmp_path / "secrets"), IMAGES)

    files = new_files(plan, ShimSource(), new_path)

    for file in files:
        file.new.write_text(file.text)
    new = {file.old: file.new for file in files}
    migrated = read_project([new.get(file, file) for file in project.files])
    assert check.differs(plan, migrated) is None
    found = {name: {use.target for use in service.secrets} for name, service in migrated.services.items()}
    assert {name: {target.rpartition("/")[2] for target in found[name]} for name in expected} == expected
    assert "LEVEL" not in migrated.services["base"].environment


@pytest.mark.parametrize("service", ["{image: app, environment: [DB_PASSWORD]}", "{image: app}"])
def test_what_nothing_uses_and_compose_would_refuse_goes(tmp_path: Path, service: str) -> None:
    """Compose reads `${KEY:?}` wherever it is; once the key is gone from `.env`, it would refuse the file."""
    (tmp_path / "compose.yaml").write_text(
        "x-a: &a\n  ONE: ${DB_PASSWORD:?gone}\n  TWO: ${LEVEL:?}\nx-b: ['${NOPE:-${DB_PASSWORD?}}', '${DB_PASSWORD}']\n"
        f"services:\n  a: {service}\n"
    )
    env_file = tmp_path / ".env"
    env_file.write_text("DB_PASSWORD=v1-secret\nLEVEL=1\n")
    project = read_project(tmp_path, to_edit=True)
    sources = [EnvSource(env_file, env_file.read_bytes(), project.environ)]
    plan = make_plan(project, sources, Wishes(secrets_dir=tmp_path / "secrets"), IMAGES)

    texts = {file.old.name: file.text for file in new_files(plan, ShimSource(), new_path)}

    assert "DB_PASSWORD=" not in texts[".env"]
    assert texts["compose.yaml"].startswith("x-a: &a\n  TWO: ${LEVEL:?}\nx-b: ['${DB_PASSWORD}']\nservices:\n")


@pytest.mark.parametrize(
    "before",
    ["  a: &a {image: app}\n  b: *a\n", "  ? a\n  : image: app\n  ? b\n  : {image: app}\n"],
)
def test_nothing_is_shown_of_a_file_that_is_read_in_another_form(tmp_path: Path, before: str) -> None:
    """The old text is masked at its own places: a short value is masked nowhere else."""
    (tmp_path / "compose.yaml").write_text(f"services:\n{before}  c: {{image: app, environment: [CODE=q7x, A=1]}}\n")
    project = read_project(tmp_path, to_edit=True)
    plan = make_plan(project, [], Wishes(secret=frozenset({"CODE"}), secrets_dir=tmp_path / "secrets"), IMAGES)

    (file,) = new_files(plan, ShimSource(), new_path)

    assert "q7x" not in file.old_shown + file.new_shown
    assert "environment: [CODE=***, A=1]}" in file.old_shown
