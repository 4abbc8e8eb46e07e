"""What is started, with which secrets: the shim in its forms, and the ways people hand secrets to a service today.

Every program gets an environment of its own and ends by becoming /bin/true, so that what is measured is the way there.
The secrets lie in memory, as an engine mounts them. Those that hand on secrets are first seen to do it.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.builds import Builds

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHILD = "/bin/true"
BASELINE = "python3.11 -I -S -c pass"
SCHEMA_KEYS = 50

# One key each of what a service's configuration is made of, as .env.schema says it, and a value that is right.
_TYPED = (
    ("PASSWORD", "@required @sensitive @type=string(minLength=16)", "m{n:04}-Vr8#kq/Zt2=w"),
    ("PORT", "@required @type=port", "8{n:03}"),
    ("URL", "@required @type=url", "https://service-{n}.example.org:8443/api?x=1"),
    ("CONTACT", "@type=email", "operations+{n}@example.org"),
    ("STAGE", "@required @type=enum(development, staging, production)", "production"),
    ("ENCRYPTION_KEY", "@required @sensitive @type=bytes(32, hex)", "{n:064x}"),
    ("DEBUG", "@type=boolean", "false"),
    ("RATIO", "@type=number(min=0, max=9999)", "{n}.5"),
    ("SIGNING_KEY", "@required @type=bytes(32, base64)", "c2hpbS1iZW5jaG1hcmstc2lnbmluZy1rZXktMTIzNDU="),
    ("LIMITS", "@type=json", '{{"requests": {n}, "burst": [1, 2.5e1], "names": ["a", "b"], "strict": true}}'),
    ("TOKEN", "@required @type=jwt", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCJ9.c2lnbmF0dXJl"),
    ("LICENSE", "@required @sensitive @type=string(minLength=8, maxLength=64, startsWith=lic_)", "lic_{n:020}"),
)

# The loop of many an entrypoint script: one subshell and one cat a secret.
_CAT_LOOP = r"""#!/bin/sh
set -e
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)_FILE=.*/\1/p'); do
  eval "path=\$${name}_FILE"
  export "$name=$(cat "$path")"
  unset "${name}_FILE"
done
exec "$@"
"""

# What the official images' entrypoints promise: VALUE or VALUE_FILE but not both, exported, the pointer removed. They
# are found by their first line, and most say it like this.
_FILE_ENV = """#!/usr/bin/env bash
set -Eeuo pipefail
file_env() {
  local key=$1 pointer=${1}_FILE content=${2:-}
  if [ -n "${!key:-}" ] && [ -n "${!pointer:-}" ]; then
    printf 'error: %s and %s exclude each other\\n' "$key" "$pointer" >&2
    exit 1
  fi
  if [ -n "${!key:-}" ]; then
    content=${!key}
  elif [ -n "${!pointer:-}" ]; then
    content=$(< "${!pointer}")
  fi
  export "$key"="$content"
  unset "$pointer"
}
"""


@dataclass(frozen=True)
class Program:
    """One thing to start: a row of the result. It is not there when `missing` says why."""

    name: str
    prefix: tuple[str, ...] = ()
    child: tuple[str, ...] = (CHILD,)
    environment: tuple[tuple[str, str], ...] = ()
    secrets: int | None = None  # how many it hands on; None for those that hand on none
    schema: bool = False
    proof: tuple[str, str] | None = None  # a key and the value that the child must see
    missing: str = ""

    @property
    def argv(self) -> list[str]:
        """Return what is executed."""
        return [*self.prefix, *self.child]

    @property
    def row(self) -> dict[str, object]:
        """Return the head of the result's row."""
        return {"program": self.name, "secrets": self.secrets, "schema": self.schema}


class Folder:
    """The secrets of every size, in the form each program wants them, and the scripts, where they may be executed."""

    def __init__(self, place: Path, scripts: Path, sizes: tuple[int, ...]) -> None:
        self.place = place
        self.scripts = scripts
        self.sizes = sizes
        for size in sizes:
            self._write(size)
        self.schema = place / "env.schema"
        self.schema.write_text("".join(_schema_lines()))
        self.cat_loop = _script(scripts / "cat-loop.sh", _CAT_LOOP)

    def _write(self, size: int) -> None:
        for folder in (self.secrets(size), self.envdir(size)):
            folder.mkdir(parents=True)
        for key, value in _secrets(size):
            (self.secrets(size) / key.lower()).write_text(value + "\n")
            (self.envdir(size) / key).write_text(value + "\n")
        self.dotenv(size).write_text("".join(f"{key}='{value}'\n" for key, value in _secrets(size)))
        calls = "".join(f"file_env '{key}'\n" for key, _ in _secrets(size))
        _script(self.file_env(size), _FILE_ENV + calls + 'exec "$@"\n')

    def secrets(self, size: int) -> Path:
        """Return the secrets root: one file per secret."""
        return self.place / str(size) / "secrets"

    def envdir(self, size: int) -> Path:
        """Return the folder whose files' names are the keys themselves."""
        return self.place / str(size) / "envdir"

    def dotenv(self, size: int) -> Path:
        """Return the .env file with all secrets in it."""
        return self.place / str(size) / "dotenv"

    def file_env(self, size: int) -> Path:
        """Return the entrypoint script with one `file_env` a secret."""
        return self.scripts / f"file-env-{size}.sh"

    def pointers(self, size: int) -> tuple[tuple[str, str], ...]:
        """Return a KEY_FILE variable for every secret."""
        return tuple((f"{key}_FILE", str(self.secrets(size) / key.lower())) for key, _ in _secrets(size))

    def roots(self, size: int) -> tuple[tuple[str, str], ...]:
        """Return what makes the shim look into the right root, as an image would set it."""
        return (("SHIM_SECRETS_DIR", str(self.secrets(size))),)

    def plain(self, size: int) -> tuple[tuple[str, str], ...]:
        """Return the schema's keys that are not secrets: with them, each of the schema's keys has a value."""
        return tuple((key, value) for key, _, value in _keys(SCHEMA_KEYS)[size:])


def start_programs(folder: Folder, builds: Builds, least: Path) -> list[Program]:
    """Return everything whose start is timed; the first is what all are compared with. *least* is made of least.c."""
    path = (("PATH", PATH),)
    return [
        _tool(BASELINE, "/usr/bin/python3.11", "-I", "-S", "-c", "pass", ends_itself=True),
        Program("true", environment=path),
        Program("C, execve", (str(least), "exec"), environment=path),
        Program("C, vfork and waitpid", (str(least), "init"), environment=path),
        _tool("tini", "tini", "--"),
        _tool("dumb-init", "dumb-init", "--"),
        _tool("gosu", "gosu", "root", needs_root=True),
        *(program for size in folder.sizes for program in _with_secrets(folder, size, builds)),
    ]


def _with_secrets(folder: Folder, size: int, builds: Builds) -> Iterator[Program]:
    environment = (("PATH", PATH), *folder.pointers(size))
    key, value = _secrets(size)[-1]
    proof = (key, value)
    ways = [
        ("bash file_env", (str(folder.file_env(size)),), environment),
        ("sh $(cat) loop", (str(folder.cat_loop),), environment),
        ("s6-envdir", ("s6-envdir", str(folder.envdir(size))), (("PATH", PATH),)),
        ("dotenv run", (_beside_python("dotenv"), "-f", str(folder.dotenv(size)), "run", "--"), (("PATH", PATH),)),
    ]
    for name, prefix, variables in ways:
        found = shutil.which(prefix[0], path=PATH)
        missing = "" if found else f"{prefix[0]} is not installed"
        yield Program(name, (found or prefix[0], *prefix[1:]), (CHILD,), variables, size, False, proof, missing)

    forms: list[tuple[str, Path | None]] = [
        ("shim", builds.shim),
        ("shim, public API only", builds.public_api_shim),
        ("naive onedir", builds.onedir),
        ("naive onefile", builds.onefile),
    ]
    for name, binary in forms:
        prefix = (str(binary), "--")
        missing = "" if binary else builds.missing
        variables = (*environment, *folder.roots(size))
        yield Program(name, prefix, (CHILD,), variables, size, False, proof, missing)
        variables = (*variables, *folder.plain(size), ("SHIM_SCHEMA", str(folder.schema)))
        yield Program(name, prefix, (CHILD,), variables, size, True, proof, missing)
    variables = (("PATH", PATH), *folder.roots(size))
    yield Program("shim, files alone", (str(builds.shim), "--"), (CHILD,), variables, size, False, proof)
    variables = (*environment, *folder.roots(size))
    yield Program("shim --init", (str(builds.shim), "--init", "--"), (CHILD,), variables, size, False, proof)


def cold_programs(starts: list[Program]) -> list[Program]:
    """Return those that are also started with cold caches: everything with twenty secrets, or none at all."""
    return [program for program in starts if program.secrets in (None, 20)]


def counted_programs(starts: list[Program], *, is_tiny: bool) -> list[Program]:
    """Return those whose instructions are counted; a script that starts others cannot be counted as one."""
    names = ("shim", "shim, public API only", "shim, files alone", "shim --init", "s6-envdir")
    rows = [program for program in starts if program.secrets is None or program.name in names]
    if is_tiny:
        rows = [program for program in rows if program.name in (BASELINE, "shim")]
    return [program for program in rows if program.name not in ("true", "gosu")]  # Go does not run under valgrind


def resident_programs(folder: Folder, builds: Builds) -> list[Program]:
    """Return what stays in memory beside the service."""
    waits = ("/bin/sh", "-c", "echo started; exec sleep 600")
    variables = (("PATH", PATH), *folder.pointers(20), *folder.roots(20))
    return [
        Program("shim --init", (str(builds.shim), "--init", "--"), waits, variables, 20),
        *(_tool(name, name, "--", child=waits) for name in ("tini", "dumb-init")),
    ]


def _tool(
    name: str,
    program: str,
    *arguments: str,
    child: tuple[str, ...] = (CHILD,),
    ends_itself: bool = False,
    needs_root: bool = False,
) -> Program:
    found = shutil.which(program, path=PATH)
    missing = "" if found else f"{program} is not installed"
    if needs_root and os.geteuid() != 0:
        missing = f"{program} must be started by root"
    prefix = (found or program, *arguments)
    return Program(name, prefix, () if ends_itself else child, (("PATH", PATH),), missing=missing)


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def _beside_python(name: str) -> str:
    import sys

    return str(Path(sys.executable).with_name(name))


def _keys(count: int) -> list[tuple[str, str, str]]:
    """Return key, decorators and a value for each of *count* keys."""
    made = []
    for number in range(count):
        name, decorators, value = _TYPED[number % len(_TYPED)]
        made.append((f"SERVICE_{number:04}_{name}", decorators, value.format(n=number)))
    return made


def _secrets(count: int) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in _keys(count)]


def _schema_lines() -> Iterator[str]:
    for key, decorators, _ in _keys(SCHEMA_KEYS):
        yield f"# {key.replace('_', ' ').capitalize()}, as the service's manual explains it\n# {decorators}\n{key}=\n\n"
