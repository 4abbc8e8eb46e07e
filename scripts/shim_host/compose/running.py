"""A Compose project as it runs: asked and changed through `docker compose`, one service at a time.

No value is among what is asked, but for `config`, whose answer stays in memory. What Docker says when it fails is
passed on as one masked line.
"""

import json
import os
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shim_host import docker_cli, explained
from shim_host.errors import Ended, Failed, Refused
from shim_host.explained import Explained
from shim_host.recognition.sensitive import masked_line
from shim_host.shell import quoted

QUESTION_SECONDS = 60
STOP_SECONDS = 120
# Without a health check a container counts as up from its first moment; most that cannot work have ended by then.
WATCH_SECONDS = 3
_POLL_SECONDS = 0.3  # as Compose itself does
LABEL = "com.docker.compose."


class NotDone(Ended):
    """Docker did not do what it was asked; the engine is there."""


@dataclass(frozen=True)
class FileMount:
    """What a service has mounted from this machine."""

    source: Path
    target: str


@dataclass(frozen=True)
class ComposeService:
    """A service as `docker compose config` shows it, as far as a rotation is concerned."""

    name: str
    mounts: tuple[FileMount, ...]  # secrets of the kind `file:`, and folders or files of `volumes:`
    has_fixed_place: bool  # a port of this machine, a name, a network of another: two cannot be there at once


@dataclass(frozen=True)
class Container:
    """One container of a service."""

    id: str
    name: str
    is_running: bool
    health: str  # "healthy", "starting", "unhealthy"; empty without a health check
    keeps_data: bool  # it can write to a volume or a folder, which two at once may not
    watches: bool  # its shim watches the secrets itself (--on-change)
    started: str = ""  # RFC 3339, by the engine's clock
    project: str = ""  # of Compose
    service: str = ""
    folder: str = ""  # where that was started from
    files: tuple[str, ...] = ()  # with these Compose files
    sources: tuple[str, ...] = ()  # of this machine, mounted
    is_one_off: bool = False  # of `docker compose run`
    env_files: tuple[str, ...] = ()  # that Compose read for `${...}` when it was started
    configured: str = ""  # what Compose made of its settings: a hash
    number: int = 0  # within its service
    is_stopped: bool = False  # it ended, or was never started; nor does the engine start it again

    @property
    def start_again(self) -> str:
        """Return the command that starts it with what its files hold then."""
        if not self.project or self.is_one_off:
            return f"docker restart {quoted(self.name)}"
        files = "".join(f" -f {quoted(file)}" for file in self.files)
        folder = self.folder and os.path.join(self.folder, ".env")
        files += "".join(f" --env-file {quoted(file)}" for file in self.env_files if file != folder)
        return f"docker compose -p {quoted(self.project)}{files} up -d --force-recreate {quoted(self.service)}"


@dataclass
class RunningProject:
    """Docker Compose with the files of one project."""

    files: Sequence[Path]
    environ: Mapping[str, str]
    timeout_seconds: int = 300
    name: str = ""
    services: dict[str, ComposeService] = field(default_factory=dict)
    env_files: Sequence[Path] = ()

    def named(self) -> tuple[list[str], list[str]]:
        """Return the paths of its Compose files and env files, for a run in another folder."""
        return [str(file.absolute()) for file in self.files], [str(file.absolute()) for file in self.env_files]

    def folders(self) -> set[Path]:
        """Return where its containers were started from, if it was started like this."""
        return {file.absolute().resolve().parent for file in self.files} or {Path.cwd().resolve()}

    def read(self) -> None:
        """Read the project, as Compose itself does.

        Raises:
            Refused: Compose refuses it.
            Failed: there is no Docker client, or no Compose.
        """
        answer = self._run(self._compose("--profile", "*", "config", "--format", "json"), QUESTION_SECONDS)
        if answer.returncode:
            if self._run(["docker", "compose", "version"], QUESTION_SECONDS).returncode:
                raise Failed("`docker compose` does not work here", "install docker-compose-plugin or docker-compose")
            # Its words may quote the file, and the file may hold a value.
            shown = " ".join(map(str, self.files)) or "the project in this folder"
            raise Refused(f"docker compose config refuses {shown}", "run it yourself to see why")
        with docker_cli.understood("read the project"):
            document = json.loads(answer.stdout)
            self.name = str(document.get("name") or "")
            definitions = document.get("secrets") or {}
            self.services = {
                name: _service(name, service, definitions) for name, service in (document.get("services") or {}).items()
            }

    def configured(self, service: str) -> str:
        """Return the hash that Compose makes of the settings of *service*; "" where it makes none."""
        answer = self._run(self._compose("--profile", "*", "config", "--hash", service), QUESTION_SECONDS)
        words = answer.stdout.split()
        return words[1] if not answer.returncode and words[:1] == [service] and len(words) == 2 else ""

    def containers(self, service: str, idle: Collection[int] = ()) -> list[Container]:
        """Return the containers of *service*, those that ended too, the oldest first.

        Args:
            service: which one.
            idle: the numbers of those that are left out while they do not run.

        Raises:
            Failed: the engine does not answer.
        """
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        filters = [word for name, value in labels.items() for word in ("--filter", f"label={LABEL}{name}={value}")]
        ids = self._ask(["docker", "ps", "--all", "--quiet", "--no-trunc", *filters], f"list {service}").split()
        found = self._inspected(ids, service)
        return [container for container in found if not (container.is_stopped and container.number in idle)]

    def mounting(self, paths: Iterable[Path]) -> list[Container]:
        """Return every container that runs with one of *paths*, or its folder, mounted, whoever started it."""
        places = {place for path in paths for end in (path.absolute(), path.resolve()) for place in (end, end.parent)}
        filters = [word for place in sorted(places) for word in ("--filter", f"volume={place}")]
        what = "list containers"
        ids = self._ask(["docker", "ps", "--quiet", "--no-trunc", *filters], what).split()
        return self._inspected(ids, what)

    def watched(self, containers: Sequence[Container]) -> list[Container]:
        """Return *containers* as they are when each that has no health check has been watched for some seconds.

        Raises:
            Failed: the engine does not answer.
        """
        unchecked = [container for container in containers if not container.health]
        if unchecked:
            # By the engine's clock, which need not be ours.
            with docker_cli.understood("watch what was started"):
                last = max(datetime.fromisoformat(container.started) for container in unchecked)
            filters = [word for container in unchecked for word in ("--filter", f"container={container.id}")]
            span = ("--since", last.isoformat(), "--until", (last + timedelta(seconds=WATCH_SECONDS)).isoformat())
            self._ask(["docker", "events", "--filter", "event=die", *filters, *span], "watch what was started")
        return self._inspected([container.id for container in containers], "what was started")

    def _inspected(self, ids: Sequence[str], what: str) -> list[Container]:
        if not ids:
            return []
        found = self._run(["docker", "inspect", "--type", "container", *ids], QUESTION_SECONDS)
        if found.returncode and not found.stdout.strip().startswith("["):
            raise self._trouble(f"look at {what}", found.stderr)
        with docker_cli.understood(f"look at {what}"):
            listed = sorted(json.loads(found.stdout), key=lambda container: str(container["Created"]))
            return [_container(container) for container in listed]

    def recreate(self, service: str, count: int, idle: Collection[int] = ()) -> None:
        """Recreate the containers of *service*, and wait until *count* run and are healthy; *idle* are not started.

        Raises:
            NotDone: they do not come up. Failed: the engine does not answer.
        """
        self._up(service, count, "--force-recreate", idle)

    def add(self, service: str, count: int, idle: Collection[int] = ()) -> None:
        """Start containers beside those that run until *count* do, and wait as `recreate` does."""
        self._up(service, count, "--no-recreate", idle)

    def _up(self, service: str, count: int, how: str, idle: Collection[int]) -> None:
        resting = [one for one in self.containers(service) if one.is_stopped and one.number in idle] if idle else []
        scale = ("--no-deps", "--no-build", how, "--scale", f"{service}={count + len(resting)}", service)
        what = f"start {service}"
        if not resting:
            self._ask(self._compose("up", "--detach", "--wait", *scale), what, self.timeout_seconds)
            return
        # Compose starts all that there are, or none.
        self._ask(self._compose("up", "--no-start", *scale), what, self.timeout_seconds)
        made = [container.id for container in self.containers(service, idle) if container.is_stopped]
        if made:
            self._ask(["docker", "start", *made], what, self.timeout_seconds)
        self._wait(service, made)

    def _wait(self, service: str, started: Sequence[str]) -> None:
        deadline = time.monotonic() + self.timeout_seconds
        while waiting := [one for one in self._inspected(started, service) if one.health not in ("", "healthy")]:
            ended = [one.name for one in waiting if one.is_stopped or one.health == "unhealthy"]
            if ended or time.monotonic() > deadline:
                names = ", ".join(ended or [one.name for one in waiting])
                raise NotDone(f"cannot start {service}: {names} did not come up")
            time.sleep(_POLL_SECONDS)

    def stop(self, containers: Iterable[Container], *, gently: bool) -> None:
        """Remove *containers*, which get their time to end when *gently*."""
        ids = [container.id for container in containers]
        if ids and gently:
            self._ask(["docker", "stop", *ids], "stop what is replaced", self.timeout_seconds + STOP_SECONDS)
        if ids:
            self._ask(["docker", "rm", "--force", *ids], "remove what is replaced", STOP_SECONDS)

    def signal(self, service: str, name: str) -> None:
        """Send the signal *name* to the containers of *service*."""
        self._ask(self._compose("kill", "--signal", name, service), f"signal {service}")

    def explained(self, container: Container, question: bytes) -> Explained | None:
        """Return what the shim in *container* says about its values; None without a shim that could be asked.

        Args:
            container: the one that is asked.
            question: what its shim reads on stdin: the key of the fingerprints, which no command line may hold.
        """
        command = ["docker", "exec", *(["--interactive"] if question else []), container.id]
        seconds, most = explained.SECONDS, explained.MOST_BYTES
        try:
            answer = docker_cli.ask([*command, *explained.command(question)], self.environ, seconds, question, most)
        except FileNotFoundError:
            raise Failed("docker is not installed", "install the Docker client") from None
        return explained.read(answer)

    def _compose(self, *words: str) -> list[str]:
        files = [word for file in self.files for word in ("--file", str(file))]
        files += [word for file in self.env_files for word in ("--env-file", str(file))]
        name = ["--project-name", self.name] if self.name else []
        return ["docker", "compose", *name, *files, *words]

    def _ask(self, command: Sequence[str], what: str, seconds: int = QUESTION_SECONDS) -> str:
        answer = self._run(command, seconds)
        if answer.returncode:
            raise self._trouble(what, answer.stderr)
        return answer.stdout

    def _trouble(self, what: str, said: str) -> Ended:
        """Return why *what* was not done: the engine is gone, or would not."""
        if self._run(["docker", "version", "--format", "{{.Server.Version}}"], QUESTION_SECONDS).returncode:
            return Failed(f"cannot {what}: the engine does not answer", "start Docker, or set DOCKER_HOST")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return NotDone(f"cannot {what}: {masked_line((lines or ['docker gave no reason'])[-1])}")

    def _run(self, command: Sequence[str], seconds: int) -> "subprocess.CompletedProcess[str]":
        try:
            return docker_cli.run(command, self.environ, seconds)
        except FileNotFoundError:
            raise Failed("docker is not installed", "install the Docker client") from None


def _service(name: str, service: Mapping[str, Any], definitions: Mapping[str, Any]) -> ComposeService:
    mounts = []
    for use in service.get("secrets") or ():
        file = (definitions.get(use["source"]) or {}).get("file")
        if file:
            target = use.get("target") or use["source"]
            mounts.append(FileMount(Path(file), target if target.startswith("/") else f"/run/secrets/{target}"))
    for volume in service.get("volumes") or ():
        if volume.get("type") == "bind":
            mounts.append(FileMount(Path(volume["source"]), volume["target"]))
    has_ports = any(port.get("published") not in (None, "", "0") for port in service.get("ports") or ())
    of_others = str(service.get("network_mode") or "").startswith(("host", "service:", "container:"))
    has_address = any((network or {}).get("ipv4_address") for network in (service.get("networks") or {}).values())
    is_fixed = has_ports or of_others or has_address or bool(service.get("container_name"))
    return ComposeService(name, tuple(mounts), is_fixed)


def _container(found: Mapping[str, Any]) -> Container:
    state = found.get("State") or {}
    config = found.get("Config") or {}
    variables = [str(entry) for entry in config.get("Env") or ()]
    words = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    labels = config.get("Labels") or {}
    of_compose = {name.removeprefix(LABEL): value for name, value in labels.items() if name.startswith(LABEL)}
    is_watching = any(entry.startswith("SHIM_ON_CHANGE=") and not entry.endswith("=") for entry in variables)
    return Container(
        id=str(found["Id"]),
        name=str(found.get("Name") or "").lstrip("/"),
        is_running=bool(state.get("Running")) and not state.get("Restarting"),
        health=(state.get("Health") or {}).get("Status") or "",
        keeps_data=any(mount.get("RW") and mount.get("Type") != "tmpfs" for mount in found.get("Mounts") or ()),
        watches=is_watching or any(str(word).startswith("--on-change") for word in words),
        started=str(state.get("StartedAt") or ""),
        project=of_compose.get("project", ""),
        service=of_compose.get("service", ""),
        folder=of_compose.get("project.working_dir", ""),
        files=tuple(filter(None, of_compose.get("project.config_files", "").split(","))),
        is_one_off=of_compose.get("oneoff") == "True",
        env_files=tuple(filter(None, of_compose.get("project.environment_file", "").split(","))),
        configured=of_compose.get("config-hash", ""),
        number=int(number) if (number := of_compose.get("container-number", "")).isdecimal() else 0,
        is_stopped=not state.get("Running"),
        sources=tuple(mount["Source"] for mount in found.get("Mounts") or () if mount.get("Source")),
    )
