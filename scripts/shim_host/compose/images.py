"""What an image says of itself: entrypoint, command, user, health check. Asked of the engine, or read from a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shim_host.docker_cli import run_docker, understood
from shim_host.errors import Failed, Refused, failed_file
from shim_host.inputs import read_bounded

_SHELL = ("/bin/sh", "-c")

MOST_IMAGES_BYTES = 64 << 20  # what `docker image inspect` says of hundreds of images


@dataclass(frozen=True)
class ImageConfig:
    """The part of an image's configuration that a start depends on."""

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    user: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    healthcheck: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=lambda: list(_SHELL))


def from_config(config: Mapping[str, Any]) -> ImageConfig:
    """Return the `ImageConfig` of the engine's (or the OCI image's) `Config`."""
    pairs = [entry.partition("=") for entry in config.get("Env") or []]
    return ImageConfig(
        entrypoint=_words(config.get("Entrypoint")),
        command=_words(config.get("Cmd")),
        user=str(config.get("User") or ""),
        variables={name: value for name, _, value in pairs},
        healthcheck=_words((config.get("Healthcheck") or {}).get("Test")),
        shell=_words(config.get("Shell")) or list(_SHELL),
    )


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(word) for word in value] if isinstance(value, list) else []


def read_configs(path: Path) -> dict[str, ImageConfig]:
    """Return the configurations in the file *path*, by the image's name; "" is the name of one that has none.

    Taken are what `docker image inspect` prints, a mapping from names to configurations, and one configuration alone.

    Raises:
        Refused: it is something else.
        Failed: it cannot be read.
    """
    try:
        document = json.loads(read_bounded(path, MOST_IMAGES_BYTES))
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    except (ValueError, RecursionError):
        raise Refused(f"{path} is not JSON", "docker image inspect IMAGE > FILE creates one") from None
    found: dict[str, ImageConfig] = {}
    for entry in document if isinstance(document, list) else [document]:
        if not isinstance(entry, dict):
            raise Refused(
                f"{path} does not contain an image's configuration", "docker image inspect IMAGE > FILE creates one"
            )
        config = _inner(entry)
        if config is not None:
            names = [*(entry.get("RepoTags") or []), *(entry.get("RepoDigests") or []), str(entry.get("Id") or "")]
            found.update(dict.fromkeys([str(name) for name in names if name] or [""], from_config(config)))
            continue
        for name, value in entry.items():
            inner = _inner(value) if isinstance(value, dict) else None
            if inner is None:
                raise Refused(f"{path}: {name} does not contain an image's configuration")
            found[name] = from_config(inner)
    return found


def _inner(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the configuration in *entry*, or None when it is a mapping from names."""
    for name in ("Config", "config"):
        if isinstance(entry.get(name), dict):
            return entry[name]  # type: ignore[no-any-return]
    known = {"Entrypoint", "Cmd", "User", "Env", "Healthcheck", "Shell", "WorkingDir", "Labels"}
    return entry if known.intersection(entry) else None


def find(configs: Mapping[str, ImageConfig], image: str) -> ImageConfig | None:
    """Return the configuration of *image*; one without a name is everybody's."""
    last = image[image.rfind("/") + 1 :]
    whole = image if ":" in last or "@" in last else f"{image}:latest"
    return configs.get(image) or configs.get(whole) or configs.get(image.removesuffix(":latest")) or configs.get("")


def ask_engine(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, ImageConfig]:
    """Return the configurations of those of *names* that the engine has. The Docker client's settings count.

    Raises:
        Failed: there is no client, or its engine does not answer.
    """
    found = {}
    for name in names:
        answer = run_docker(["image", "inspect", "--", name], environ)
        if answer.returncode == 0:
            with understood(f"look up the image {name}"):
                found[name] = from_config(json.loads(answer.stdout)[0]["Config"])
        elif "no such" not in answer.stderr.lower():
            # The client's own words, which hold no more than the image's name and the engine's address.
            words = (answer.stderr.strip() or "no answer").splitlines()[-1]
            raise Failed(
                f"the image {name} cannot be looked up: {words}",
                "start the engine or set DOCKER_HOST; without one, give --image-config FILE",
            )
    return found
