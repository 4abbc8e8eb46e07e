"""Whether a migrated project is still the same one: the real Compose and the real shim judge, and nothing of ours.

What `docker compose config` makes of a project before and after is compared for each service, and each service that the
shim starts is started for real, on the files that it would have in its container.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHIM = "/opt/shim/shim"
ROOT = "/run/secrets"
QUICK = {"GOGC": "off"}  # a program of Go that ends at once need not tidy its memory: a third of its time
Read = Mapping[str, Any]


class Refused(Exception):
    """Compose takes the project not; the message is its last line."""


def read(
    folder: Path,
    files: Sequence[str | Path] = (),
    env_files: Sequence[str | Path] = (),
    environ: Mapping[str, str] | None = None,
    compose: Sequence[str | Path] = ("docker", "compose"),
) -> dict[str, Any]:
    """Return what Compose makes of the project in *folder*.

    Raises:
        Refused: nothing.
    """
    words = [*(f"--file={file}" for file in files), *(f"--env-file={file}" for file in env_files), "--profile=*"]
    done = subprocess.run(
        [*map(str, compose), *words, "config", "--format", "json"],
        cwd=folder,
        env={**(os.environ if environ is None else environ), **QUICK},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused((done.stderr.strip() or "no reason").splitlines()[-1])
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def variables(service: Read) -> dict[str, str]:
    """Return what the container's environment gets; `config` writes a dollar twice."""
    given = service.get("environment") or {}
    return {key: str(value).replace("$$", "$") for key, value in given.items() if value is not None}


def differences(plan: Read, before: Read, after: Read) -> list[str]:
    """Return every variable of a service that is not what it was, as `service: variable`.

    Args:
        plan: what `migrate --json` printed.
        before, after: what Compose makes of the project.
    """
    moved = {entry["service"]: entry for entry in plan["services"]}
    found = []
    for name, old in before["services"].items():
        new = after["services"].get(name)
        if new is None:
            found.append(f"{name}: gone")
            continue
        sees = variables(new)
        sources = {use["source"] for use in new.get("secrets") or []}
        for key, secret in moved.get(name, {}).get("secrets", {}).items():
            if secret not in sources:
                found.append(f"{name}: {secret} is not mounted")
                continue
            if f"{key}_FILE" not in variables(old):
                sees.pop(f"{key}_FILE", None)
            sees[key] = Path(after["secrets"][secret]["file"]).read_bytes().decode("utf-8", "surrogateescape")
        had = variables(old)
        found += [f"{name}: {key}" for key in sorted({*had, *sees}) if had.get(key) != sees.get(key)]
    return found


def starts(shim: Path, service: Read, secrets: Read) -> dict[str, str]:
    """Return the environment that the shim gives the command of *service*, with the files that Compose would mount.

    Raises:
        Refused: the shim does not start it; the message is what it says.
    """
    entrypoint = [str(word).replace("$$", "$") for word in service["entrypoint"]]
    options = entrypoint[1 : entrypoint.index("--")]
    if "--user" in options:
        # Whom it becomes is in the image, and not here.
        del options[options.index("--user") :][:2]
        options = [word for at, word in enumerate(options) if word != "--user" and options[at - 1 : at] != ["--user"]]
    with tempfile.TemporaryDirectory() as folder:
        for use in service.get("secrets") or []:
            target = Path(use.get("target") or use["source"])
            source = Path(secrets[use["source"]].get("file") or "/nowhere")
            if source.exists() and (not target.is_absolute() or str(target).startswith(ROOT)):
                Path(folder, target.name).write_bytes(source.read_bytes())
        environ = {key: value.replace(ROOT, folder) for key, value in variables(service).items()}
        done = subprocess.run(
            [shim, "--secrets-dir", folder, *options, "--", "/usr/bin/env", "-0"],
            cwd="/",
            env=environ,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.decode(errors="replace").strip())
        pairs = [entry.partition("=") for entry in done.stdout.decode("utf-8", "surrogateescape").split("\0") if entry]
        return {key: value.replace(folder, ROOT) for key, _, value in pairs}


def unlike(shim: Path, plan: Read, before: Read, after: Read) -> list[str]:
    """Return every service that the shim starts with a different environment from before, or not at all."""
    found = []
    for entry in plan["services"]:
        name = entry["service"]
        new = after["services"].get(name)
        if entry["how"] != "shim" or new is None or (new.get("entrypoint") or [""])[0] != SHIM:
            continue
        try:
            sees = starts(shim, new, after.get("secrets") or {})
        except Refused as refused:
            found.append(f"{name}: the shim says {refused}")
            continue
        had = variables(before["services"][name])
        wrong = sorted(key for key in {*had, *sees} - _OWN if had.get(key) != sees.get(key))
        found += [f"{name}: the shim gives {key}" for key in wrong if not _is_pointer(key, entry["secrets"])]
    return found


_OWN = {"HOME", "USER", "LOGNAME", "PWD", "SHLVL", "_", "PATH", "OLDPWD"}


def _is_pointer(key: str, moved: Mapping[str, str]) -> bool:
    return key.endswith("_FILE") and key[: -len("_FILE")] in moved
