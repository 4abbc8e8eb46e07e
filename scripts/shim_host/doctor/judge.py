"""What will not work, and what to do about it: facts come in, findings leave. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from shim_host.shell import quoted

if TYPE_CHECKING:  # a library that is missing is a finding, and must not end the one who looks for it
    from shim_host.doctor.engine import EngineFacts, Node
    from shim_host.machine import Daemon, Disk, Folder, Memory, Socket

OK, NOTE, WARNING, FAILURE = "ok", "note", "warning", "failure"

OLDEST_API = (1, 41)  # engine 20.10
OLDEST_COMPOSE = (2, 20)
MEGABYTE = 1_000_000
_LITTLE_DISK, _NO_DISK = 1000 * MEGABYTE, 50 * MEGABYTE
_LITTLE_MEMORY, _NO_MEMORY = 200 * MEGABYTE, 50 * MEGABYTE
_FEW_FILES = 1000
_CLOCK_WARNS, _CLOCK_FAILS = timedelta(seconds=5), timedelta(minutes=5)
_FIRST_RELEASE_YEAR = 2026
# These have no owners or modes, or leave them to another machine.
_MODELESS = ("vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "cifs", "smb3", "9p", "drvfs", "nfs", "nfs4")
_GONE_AT_REBOOT = ("tmpfs", "ramfs")


class Diagnosis(NamedTuple):
    """One thing that was looked at. A warning or a failure is to be fixed; a note only limits what can be done."""

    name: str
    level: str
    message: str
    hint: str = ""


def libraries(missing: list[str]) -> Diagnosis:
    """Judge the Python libraries that commands import when they run."""
    if not missing:
        return Diagnosis("libraries", OK, "all are here")
    return Diagnosis("libraries", FAILURE, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def folder(found: Folder) -> list[Diagnosis]:
    """Judge the folder of secrets."""
    name = "secrets folder"
    if found.trouble:
        return [Diagnosis(name, FAILURE, f"{found.path} cannot be looked at: {found.trouble}", "run this as its owner")]
    if found.is_link:
        message = f"{found.path} is a link, and secrets are not written through one"
        return [Diagnosis(name, FAILURE, message, "make it a folder, or name the real one with --secrets-dir")]
    if not found.exists:
        return [Diagnosis(name, NOTE, f"there is no folder {found.path} yet", "create-from-env makes it")]
    if not found.is_folder:
        return [Diagnosis(name, FAILURE, f"{found.path} is a file", "move it away")]
    bad = []
    if found.mode & 0o077:
        message = f"{found.path} is open to others (mode {found.mode:04o})"
        bad.append(Diagnosis(name, FAILURE, message, f"chmod 700 {quoted(str(found.path))}"))
    if found.wide_files:
        message = f"{_some(found.wide_files)} in {found.path} can be read by others"
        bad.append(Diagnosis(name, FAILURE, message, "validate --fix sets 0600; chmod 600 does too"))
    if not found.can_write:
        bad.append(Diagnosis(name, FAILURE, f"{found.path} cannot be written to", "run this as its owner"))
    if not found.is_ours or found.other_owners:
        whose = found.path if not found.is_ours else f"{_some(found.other_owners)} in {found.path}"
        hint = "fine if a service runs as that user; a file that you rewrite becomes yours"
        bad.append(Diagnosis(name, NOTE, f"another user owns {whose}", hint))
    return bad or [Diagnosis(name, OK, f"{found.path} is private")]


def disk(found: Disk | None, what: str) -> list[Diagnosis]:
    """Judge the room for *what*."""
    name = f"disk of {what}"
    if found is None:
        return [Diagnosis(name, NOTE, "it cannot be checked from here")]
    findings = [_room(found, name)]
    if found.free_files is not None and found.free_files < _FEW_FILES:
        message = f"only {found.free_files} more files fit on the disk of {found.path}"
        findings.append(Diagnosis(name, FAILURE if not found.free_files else WARNING, message, "remove files there"))
    if what == "the secrets" and found.type in _MODELESS:
        message = f"{found.path} lies on {found.type}, which may not keep files private"
        findings.append(Diagnosis(name, WARNING, message, "use a local Linux or macOS file system"))
    if what == "the secrets" and found.type in _GONE_AT_REBOOT:
        message = f"{found.path} lies on {found.type} and is lost at a reboot"
        findings.append(Diagnosis(name, NOTE, message, "keep an export elsewhere"))
    return findings


def _room(found: Disk, name: str) -> Diagnosis:
    message = f"{_megabytes(found.free_bytes)} of {_megabytes(found.total_bytes)} are free at {found.path}"
    if found.free_bytes < _NO_DISK:
        return Diagnosis(name, FAILURE, f"only {message}", "make room: docker system df shows what the engine keeps")
    if found.free_bytes < _LITTLE_DISK:
        return Diagnosis(name, WARNING, f"only {message}", "make room: docker system df shows what the engine keeps")
    return Diagnosis(name, OK, message)


def memory(found: Memory) -> list[Diagnosis]:
    """Judge the memory of this machine."""
    message = f"{_megabytes(found.available_bytes)} of {_megabytes(found.total_bytes)} are available"
    level = OK
    if found.available_bytes < _LITTLE_MEMORY:
        level = FAILURE if found.available_bytes < _NO_MEMORY else WARNING
        message = f"only {message}; services may be killed, and a rotation starts new ones beside the old"
    findings = [Diagnosis("memory", level, message, "" if level == OK else "stop something, or add memory")]
    if found.swap_bytes:
        hint = "encrypt the swap, or turn it off (swapoff -a)"
        findings.append(Diagnosis("swap", NOTE, "values in memory may be written to the swap", hint))
    return findings


def clock(now: datetime, facts: EngineFacts | None) -> Diagnosis:
    """Judge this machine's clock, and that it agrees with the engine's."""
    hint = "synchronise both with NTP (timedatectl set-ntp true)"
    if now.year < _FIRST_RELEASE_YEAR:
        return Diagnosis(
            "clock", FAILURE, f"this machine's clock is at {now:%Y-%m-%d}: certificates will be refused", hint
        )
    if facts is None or facts.clock_ahead is None:
        return Diagnosis("clock", OK, f"it is {now:%Y-%m-%d %H:%M:%S} UTC")
    apart = abs(facts.clock_ahead)
    if apart < _CLOCK_WARNS:
        return Diagnosis("clock", OK, f"it is {now:%Y-%m-%d %H:%M:%S} UTC, for the engine too")
    direction = "ahead of" if facts.clock_ahead > timedelta() else "behind"
    message = f"the engine's clock is {apart.total_seconds():.0f} s {direction} this machine's"
    return Diagnosis("clock", FAILURE if apart > _CLOCK_FAILS else WARNING, message, hint)


def socket(found: Socket) -> Diagnosis:
    """Judge the engine's socket."""
    name = "engine socket"
    if not found.exists:
        return Diagnosis(name, FAILURE, f"there is no {found.path}", "start Docker, or set DOCKER_HOST")
    if not found.is_socket:
        return Diagnosis(name, FAILURE, f"{found.path} is not a socket", "remove it, and start Docker")
    if not found.can_use:
        hint = f"add yourself to the group {found.group} (this is equivalent to root access), or use a context over ssh"
        return Diagnosis(name, FAILURE, f"{found.path} exists, but you may not use it", hint)
    if found.mode & 0o002:
        message = f"every user of this machine may use {found.path}, which is equivalent to root access"
        return Diagnosis(name, FAILURE, message, f"chmod o-rw {quoted(str(found.path))}")
    return Diagnosis(name, OK, f"{found.path} is for its owner and the group {found.group}")


def connection(place: str) -> Diagnosis | None:
    """Judge how the engine is reached; nothing to say about a socket file or ssh."""
    if not place.startswith(("tcp://", "http://")):
        return None
    host = place.partition("://")[2]
    if host.startswith(("localhost", "127.", "[::1]")):
        message = f"{place} is open to every user of this machine"
        return Diagnosis("connection", WARNING, message, "use the socket file, or TLS")
    message = f"{place} without TLS: anyone who can reach it is root there, and values travel unencrypted"
    return Diagnosis("connection", FAILURE, message, "use ssh:// or TLS (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH)")


def daemon(found: Daemon | None) -> Diagnosis:
    """Judge the engine's process."""
    name = "engine process"
    if found is None:
        return Diagnosis(name, NOTE, "it cannot be checked from here")
    about = f"{found.name}, pid {found.pid}, up {_hours(found.up_seconds)}, {_megabytes(found.resident_bytes)}"
    if found.status in ("zombie", "stopped", "dead", "tracing-stop"):
        return Diagnosis(name, FAILURE, f"{about}, is {found.status}", "restart Docker")
    if found.open_files is not None and found.most_files and found.open_files > 0.8 * found.most_files:
        message = f"{about}, has {found.open_files} files open of at most {found.most_files}"
        return Diagnosis(name, WARNING, message, "raise LimitNOFILE of the Docker service, and restart it")
    return Diagnosis(name, OK, about)


def engine(facts: EngineFacts) -> list[Diagnosis]:
    """Judge the engine: its API, and what it does with users."""
    api = numbers(facts.api_version)
    message = f"{facts.version}, API {facts.api_version}, on {facts.operating_system}"
    if api < OLDEST_API:
        oldest = ".".join(map(str, OLDEST_API))
        found = [Diagnosis("engine", FAILURE, f"{message}: older than API {oldest}", "upgrade to 20.10 or later")]
    else:
        found = [Diagnosis("engine", OK, message)]
    if facts.is_rootless or facts.maps_users:
        how = "runs without root" if facts.is_rootless else "maps users"
        message = f"the engine {how}: root in a container is another user here"
        hint = "under Compose give the files to that user, or use Swarm secrets"
        found.append(Diagnosis("engine users", NOTE, message, hint))
    return found


def swarm(facts: EngineFacts) -> list[Diagnosis]:
    """Judge the Swarm: whether its commands work here, and how far it is from losing its quorum."""
    lacking = "create-swarm, rotate and prune will not work here"
    if facts.swarm_state == "inactive":
        hint = "fine with Compose alone; docker swarm init makes a Swarm"
        return [Diagnosis("swarm", NOTE, f"this engine is not in a Swarm: {lacking}", hint)]
    if facts.swarm_state == "locked":
        return [Diagnosis("swarm", FAILURE, f"the Swarm is locked: {lacking}", "docker swarm unlock")]
    if facts.swarm_state != "active":
        message = f"the Swarm is {facts.swarm_state}: {facts.swarm_error or lacking}"
        return [Diagnosis("swarm", FAILURE, message, "docker info shows more; the managers must be reachable")]
    if not facts.is_manager:
        hint = "set DOCKER_HOST to a manager: docker node ls lists them there"
        return [Diagnosis("swarm", FAILURE, f"this node is a worker: {lacking}", hint)]
    if facts.trouble:
        hint = "bring managers back, or as a last resort docker swarm init --force-new-cluster"
        return [Diagnosis("swarm", FAILURE, f"the Swarm does not answer: {facts.trouble}", hint)]
    findings = [quorum([node for node in facts.nodes if node.is_manager])]
    if not facts.is_active:
        message = "this manager takes no tasks: export --from-swarm will not work here"
        findings.append(Diagnosis("swarm", NOTE, message, "docker node update --availability active NODE"))
    down = [node.name for node in facts.nodes if not node.is_manager and not node.is_reachable]
    if down:
        message = f"down: {_some(down)}; an update that has to reach them waits for them"
        findings.append(Diagnosis("swarm nodes", WARNING, message, "docker node rm those that will not come back"))
    versions = sorted({node.engine_version for node in facts.nodes}, key=numbers)
    if len(versions) > 1:
        message = f"the nodes run different engines: {', '.join(versions)}"
        findings.append(Diagnosis("swarm nodes", NOTE, message, "upgrade the older ones"))
    if facts.lost_readers:
        message = f"an interrupted export left {_some(facts.lost_readers)}, unless one is running now"
        findings.append(
            Diagnosis(
                "helper tasks", WARNING, message, f"docker service rm {' '.join(map(quoted, facts.lost_readers))}"
            )
        )
    return [*findings, *rotations(facts.rotating)]


def rotations(stacks: Iterable[str]) -> Iterator[Diagnosis]:
    """Yield what waits in *stacks* for its end; an empty name is that of the keys of no stack."""
    for stack in stacks:
        of_stack = f" --stack {quoted(stack)}" if stack else ""
        where = f"the stack {stack}" if stack else "the keys of no stack"
        message = f"a rotation in {where} is unfinished, unless one is running now"
        yield Diagnosis("rotation", WARNING, message, f"manage-secrets rotate --resume{of_stack}")


def quorum(managers: list[Node]) -> Diagnosis:
    """Judge how many more managers may fail."""
    reachable = sum(node.is_reachable for node in managers)
    needed = len(managers) // 2 + 1
    about = f"{reachable} of {len(managers)} managers are reachable, {needed} are needed"
    gone = [node.name for node in managers if not node.is_reachable]
    if reachable < needed:
        return Diagnosis("swarm quorum", FAILURE, f"{about}: nothing can be changed", f"bring back {_some(gone)}")
    if gone:
        message = f"{about}; unreachable: {_some(gone)}"
        return Diagnosis(
            "swarm quorum", WARNING, message, "bring it back, or demote and remove it before another fails"
        )
    if len(managers) == 1:
        hint = "keep an export; three managers survive the loss of one"
        return Diagnosis(
            "swarm quorum", NOTE, "there is only one manager: if it is lost, so are the Swarm and its secrets", hint
        )
    if len(managers) % 2 == 0:
        message = f"{about}: an even number tolerates no more failures than one manager fewer"
        return Diagnosis("swarm quorum", WARNING, message, "add or demote one manager")
    return Diagnosis("swarm quorum", OK, about)


def programs(docker: str | None, compose: str | None, gpg: str | None) -> list[Diagnosis]:
    """Judge the programs that commands start; each is the version it printed, or None."""
    if docker is None:
        hint = "install docker-cli and docker-compose (Debian), or Docker's own packages"
        first = [Diagnosis("docker client", WARNING, "docker is not installed: neither compose nor stack works", hint)]
    else:
        first = [Diagnosis("docker client", OK, docker), _compose(compose)]
    if gpg is None:
        message = "gpg is not installed: export and import work with age only"
        remedy = "apt-get install gnupg (Alpine: apk add gnupg, macOS: brew install gnupg)"
        return [*first, Diagnosis("gpg", NOTE, message, remedy)]
    return [*first, Diagnosis("gpg", OK, gpg)]


def _compose(version: str | None) -> Diagnosis:
    name = "compose plugin"
    if version is None:
        hint = "install docker-compose-plugin (Docker's packages) or docker-compose (Debian 13)"
        return Diagnosis(name, WARNING, "`docker compose` does not work: no stack can be started or checked", hint)
    if numbers(version) < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        message = f"{version} is older than {oldest}, the first release that reads .env by the same rules"
        return Diagnosis(name, WARNING, message, "upgrade the plugin")
    return Diagnosis(name, OK, version)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of *version*: (2, 26, 1) for `v2.26.1-4`."""
    found: list[int] = []
    for part in version.lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return tuple(found)


def is_healthy(findings: Iterable[Diagnosis]) -> bool:
    """Return whether nothing is to be fixed."""
    return not any(finding.level in (WARNING, FAILURE) for finding in findings)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def _megabytes(count: int) -> str:
    return f"{count / 1000 / MEGABYTE:.1f} GB" if count >= 1000 * MEGABYTE else f"{count // MEGABYTE} MB"


def _hours(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
