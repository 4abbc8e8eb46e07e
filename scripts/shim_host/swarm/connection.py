"""The engine and its Swarm; the only room that knows the Docker SDK. Its dictionaries do not leave here."""

import base64
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from shim.secret import Secret
from shim_host import explained
from shim_host import output as report
from shim_host.docker_cli import request_seconds
from shim_host.errors import Ended, Failed
from shim_host.explained import Explained
from shim_host.swarm import inside, privacy
from shim_host.swarm.answers import Fields, in_shape, mounts_of, secret_of, service_of
from shim_host.swarm.model import (
    ENGINE_LEFT_OUT,
    IDENTITY,
    ComposeFolder,
    RunningContainer,
    SwarmSecret,
    SwarmService,
)
from shim_host.swarm.reach import not_answered
from shim_host.swarm.trouble import Missing as Missing
from shim_host.swarm.trouble import NoSwarm as NoSwarm
from shim_host.swarm.trouble import NotManager as NotManager
from shim_host.swarm.trouble import Unclear as Unclear
from shim_host.swarm.trouble import api_trouble

# The SDK is loaded by `connect`, so that `--help` and commands that need no engine stay quick.
if TYPE_CHECKING:
    import docker
    from docker.errors import APIError
    from requests import HTTPError

PARALLEL_CALLS = 8
_ENDED_STATES = frozenset(["complete", "failed", "shutdown", "rejected", "orphaned", "remove"])


def connect(environ: Mapping[str, str]) -> "Swarm":
    """Return a connection to the engine that `DOCKER_HOST`, or else the Docker context, names.

    Raises:
        Failed: nothing answers there.
    """
    return connect_as(Swarm, environ)


def connect_as(kind: "type[S]", environ: Mapping[str, str]) -> "S":
    """Return the same connection as a *kind* of `Swarm` that can do more.

    Raises:
        Failed: nothing answers there.
    """
    import requests
    from docker.errors import DockerException

    from shim_host.swarm.reach import client, endpoint

    place = environ.get("DOCKER_HOST", "")
    seconds = request_seconds(environ)
    try:
        arguments = endpoint.of_host(environ) if place else endpoint.context(environ)
        place = place or arguments.get("base_url") or "the default socket"
        if "tls" in arguments:
            arguments["tls"] = client.tls_of(arguments["tls"])
        if place.startswith("ssh://") and sys.platform != "win32":
            from shim_host.swarm.reach import ssh

            api = ssh.client(place, seconds, PARALLEL_CALLS)
        else:
            api = client.sdk_client()(
                version="auto",
                timeout=seconds,
                use_ssh_client=True,
                max_pool_size=PARALLEL_CALLS,
                num_pools=PARALLEL_CALLS,
                **arguments,
            )
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        why = not_answered.why(error)
        raise Failed(f"no engine answers at {place or 'the default socket'} ({why})", not_answered.hint(why)) from None
    except (AttributeError, TypeError):  # of the SDK, which reads it for what registries need
        path = endpoint.folder(environ) / "config.json"
        hint = "repair it, or move it away; `docker login` writes a new one"
        raise Failed(f"{path} is not as Docker writes it", hint) from None
    # Over a socket or ssh there is no proxy, and looking for one is a tenth of every call.
    api.trust_env = False
    report.detail(f"connected to {place}, API {api.api_version}")
    return kind(api, place)


class Swarm:
    """One connection to an engine."""

    def __init__(self, api: "docker.APIClient", place: str) -> None:
        self._api = api
        self.place = place

    def secrets(self) -> list[SwarmSecret]:
        """Return every secret of the Swarm.

        Raises:
            Failed: the engine is not a manager of a Swarm, or does not answer.
        """
        return [secret_of(found) for found in self._listed("list secrets", self._api.secrets)]

    def services(self) -> list[SwarmService]:
        """Return every service with the secrets that its present specification mounts."""
        return [service_of(found) for found in self._listed("list services", self._api.services)]

    def named_ids(self) -> set[str]:
        """Return the ids of all secrets that a service, its previous specification or a live task names.

        Removing one that only a previous specification names breaks every later update (swarmkit issue 2509).
        """
        named: set[str] = set()
        for service in self._listed("list services", self._api.services):
            for spec in ("Spec", "PreviousSpec"):
                named.update(m.secret_id for m in mounts_of((service.get(spec) or {}).get("TaskTemplate")))
        for task in self._listed("list tasks", self._api.tasks):
            if (task.get("Status") or {}).get("State") not in _ENDED_STATES:
                named.update(m.secret_id for m in mounts_of(task.get("Spec")))
        return named

    def create(self, name: str, value: Secret, labels: Mapping[str, str], template: str = "") -> bool:
        """Make the secret *name*; return False when it is there already with these very labels.

        A call that fails may have been carried out, so what is there is read before it is tried once more.

        Args:
            name: what it is called in the Swarm.
            value: what it holds.
            labels: what is kept with it.
            template: the driver that fills it in when a task starts; empty for a value that is taken as it is.

        Raises:
            Failed: the engine does not make it, or has one of that name which is not this one.
        """
        try:
            self._create(name, value, labels, template)
        except Failed:
            if self._is_made(name, labels):
                return False
            self._create(name, value, labels, template)
        return True

    def refuse_open(self) -> None:
        """Refuse to send or read a value where others could read it, or somebody else may answer.

        Raises:
            Refused: the connection is plain TCP to another machine, or TLS that nobody checks.
        """
        privacy.refuse_open(self._api.base_url, self._api.verify, self.place)

    @property
    def is_open(self) -> bool:
        """Return whether others could read what travels."""
        return bool(privacy.why_open(self._api.base_url, self._api.verify))

    def _create(self, name: str, value: Secret, labels: Mapping[str, str], template: str) -> None:
        self.refuse_open()

        def call() -> None:
            if not template:
                self._api.create_secret(name, value.reveal(), labels=dict(labels))
                return
            data = base64.b64encode(value.reveal()).decode()
            spec = {"Name": name, "Labels": dict(labels), "Data": data, "Templating": {"Name": template}}
            self._post("secrets/create", spec, {})

        self._call(f"create {name}", call)
        report.detail(f"created {name}")

    def _post(self, path: str, document: Any, parameters: Mapping[str, Any]) -> None:
        """Post what the SDK has no method or argument for."""
        url = f"{self._api.base_url}/v{self._api.api_version}/{path}"
        response = self._api.post(url, json=document, params=parameters, timeout=self._api.timeout)
        response.raise_for_status()

    def _is_made(self, name: str, labels: Mapping[str, str]) -> bool:
        found = self._listed("list secrets", lambda: self._api.secrets(filters={"names": [name]}))
        return any(
            secret["Spec"]["Name"] == name
            and all((secret["Spec"].get("Labels") or {}).get(label) == labels.get(label) for label in IDENTITY)
            for secret in found
        )

    def remove(self, secret: SwarmSecret) -> None:
        """Remove *secret*; one that is gone already is fine.

        Raises:
            Failed: the engine refuses, because a service uses it.
        """

        def call() -> None:
            from docker.errors import NotFound

            with suppress(NotFound):
                self._api.remove_secret(secret.id)

        self._call(f"remove {secret.name}", call)
        report.detail(f"removed {secret.name}")

    def label_secret(self, secret_id: str, labels: Mapping[str, str]) -> None:
        """Change these labels of a secret; the others stay, and so does its value, which cannot be changed."""
        self._label("secrets", self._api.inspect_secret, secret_id, labels)

    def label_config(self, name: str, labels: Mapping[str, str]) -> None:
        """Change these labels of the config *name*, if there is one; the others stay."""
        client: Any = self._api
        self._label("configs", client.inspect_config, name, labels)

    def _label(self, kind: str, inspect: Any, which: str, labels: Mapping[str, str]) -> None:
        def call() -> None:
            there = inspect(which)
            spec = {**there["Spec"], "Labels": {**(there["Spec"].get("Labels") or {}), **labels}}
            if spec != there["Spec"]:
                self._post(f"{kind}/{there['ID']}/update", spec, {"version": there["Version"]["Index"]})

        self._unless_gone(self._call, "change labels", call)

    def config(self, name: str) -> bytes | None:
        """Return what the config *name* holds; None when there is none."""
        spec = self._config(name)
        with strange_answers(f"look for {name}", self.place):
            return None if spec is None else base64.b64decode(spec.get("Data") or "")

    def config_label(self, name: str, label: str) -> str:
        """Return what the config *name* has as *label*; an empty string when it has none, or is not there."""
        return str(((self._config(name) or {}).get("Labels") or {}).get(label) or "")

    def _config(self, name: str) -> Any:
        client: Any = self._api
        found = self._listed(f"look for {name}", lambda: client.configs(filters={"name": name}))
        return next((config["Spec"] for config in found if config["Spec"]["Name"] == name), None)

    def make_config(self, name: str, data: bytes, labels: Mapping[str, str]) -> None:
        """Make the config *name*."""
        self.refuse_open()
        client: Any = self._api
        self._call(f"make {name}", lambda: client.create_config(name, data, labels=dict(labels)))

    def running_containers(self) -> list[RunningContainer]:
        """Return the containers of this node that run and have something mounted below /run/secrets."""
        found = []
        for container in self._listed("list containers", self._api.containers):
            mounts = {
                mount.get("Destination") or "": mount.get("Source") or "" for mount in container.get("Mounts") or ()
            }
            files = tuple(source for mount, source in mounts.items() if f"{mount}/".startswith("/run/secrets/"))
            labels = container.get("Labels") or {}
            service = labels.get("com.docker.swarm.service.name") or labels.get("com.docker.compose.service") or ""
            if files or "com.docker.swarm.service.name" in labels:
                name = (container.get("Names") or [container["Id"][:12]])[0].lstrip("/")
                project = labels.get("com.docker.compose.project") or ""
                of_swarm = labels.get("com.docker.swarm.service.id") or ""
                is_paused = container.get("State") == "paused"
                folder = labels.get("com.docker.compose.project.working_dir") or ""
                at = (container["Id"], name, service or name, project, of_swarm, files, is_paused, folder)
                found.append(RunningContainer(*at))
        return found

    def compose_folders(self) -> list[ComposeFolder]:
        """Return the Compose projects that have containers on this engine, by name."""
        label = "com.docker.compose.project"
        found = self._listed("list containers", lambda: self._api.containers(all=True, filters={"label": label}))
        projects = {}
        for container in found:
            labels = container.get("Labels") or {}
            folder, *lists = (
                labels.get(f"{label}.{name}") or "" for name in ("working_dir", "config_files", "environment_file")
            )
            if folder:
                files, env_files = (tuple(filter(None, text.split(","))) for text in lists)
                projects[labels[label]] = ComposeFolder(labels[label], folder, files, env_files)
        return [projects[name] for name in sorted(projects)]

    def explained(
        self,
        container: RunningContainer,
        question: bytes,
        seconds: float = explained.SECONDS,
        gaps: list[str] | None = None,
    ) -> Explained | None:
        """Return what the shim inside *container* says about its values; None without a shim that could be asked.

        Where the engine lets nothing run in it, although it is there, that is added to *gaps*.

        Args:
            container: the one that is asked.
            question: what its shim reads on stdin: the key of the fingerprints, which no command line may hold.
            seconds: how long it may take.
            gaps: what could not be looked at.
        """
        if question and self.is_open:
            report.detail(f"{container.name} is not asked: the key would travel for all to read")
            return None
        argv, most = explained.command(question), explained.MOST_BYTES

        job = ""

        def ask() -> tuple[int, bytes, bytes]:
            return inside.run(self._api, container.id, argv, question, seconds, most, job=job)

        what = f"ask {container.name}"
        try:
            job = self._call(what, lambda: inside.prepared(self._api, container.id, argv, question))
            code, out, _ = self._call(what, ask)
        except Ended as ended:
            is_there = not (job or isinstance(ended, Missing) or "is not running" in ended.message)
            if gaps is not None and is_there:
                gaps.append(f"{ENGINE_LEFT_OUT}{ended.message}")
            # It ended meanwhile, has no such program, or does not behave: that is not a reason to end here.
            report.detail(ended.message)
            return None
        return explained.read(out.decode("utf-8", "replace")) if code == 0 else None

    def _listed(self, what: str, call: Any) -> list[Fields]:
        """Return the list that *call* answers; without what has no id, which nobody could name."""
        answer, left_out = in_shape(self._call(what, call))
        if answer is None:  # how some engines write an empty list
            return []
        if not isinstance(answer, list):
            raise _strange(what, self.place)
        if left_out:
            report.warn(f"the engine lists {report.many(left_out, 'thing')} without an ID, so it cannot be inspected")
        return answer

    def _found(self, what: str, call: Any) -> Fields:
        """Return what *call* answers of one thing."""
        answer = in_shape(self._call(what, call))[0]
        if not isinstance(answer, Fields):
            raise _strange(what, self.place)
        return answer

    def _unless_gone(self, call: Any, what: str, asked: Any) -> Any:
        """Return what *call* does, one of the three here; None where the engine has no such thing, or no more."""
        try:
            return call(what, asked)
        except Missing:
            return None

    def _call(self, what: str, call: Any) -> Any:
        """Return what *call* answers, every field of it: what is changed and sent back comes back whole."""
        import requests
        from docker.errors import APIError, DockerException

        with strange_answers(what, self.place):
            try:
                return call()
            except APIError as error:
                raise api_trouble(what, error) from None
            except requests.HTTPError as error:  # of a call that goes around the SDK's own methods
                raise api_trouble(what, _as_api_error(error)) from None
            except requests.exceptions.InvalidJSONError:
                raise _strange(what, self.place) from None
            except (DockerException, requests.RequestException, OSError) as error:
                said = not_answered.why(error)
                message = f"cannot {what}: the engine at {self.place} does not answer ({said})"
                raise Unclear(message, "run the same command again once it does: it goes on from there") from None


@contextmanager
def strange_answers(what: str, place: str) -> Iterator[None]:
    """Blame the engine for what its answer breaks in here: anyone may have written it, and it is not a bug of ours."""
    try:
        yield
    except Ended:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError):
        raise _strange(what, place) from None


def _strange(what: str, place: str) -> Unclear:
    message = f"cannot {what}: the engine at {place} answers with something that its API does not have there"
    return Unclear(
        message, "is it an engine of Docker, and nothing in its place? See `docker version`, and DOCKER_HOST"
    )


def _as_api_error(error: "HTTPError") -> "APIError":
    from docker.errors import APIError

    words = error.response.text
    with suppress(ValueError, KeyError, TypeError, RecursionError):  # where no engine answers, it is whatever it is
        words = str(error.response.json()["message"])
    return APIError(words, response=error.response, explanation=words)


S = TypeVar("S", bound=Swarm)
