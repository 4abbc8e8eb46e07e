"""The program `age`, where there is no wheel of pyrage (Alpine, some processors); values go through pipes only."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from shim.secret import Secret
from shim_host.errors import Refused


def seal(plain: bytes, recipients: Sequence[str], passphrase: Secret | None, *, armor: bool) -> bytes:
    """Return *plain* encrypted to *recipients*.

    Raises:
        Refused: with a passphrase, which the program takes from a terminal alone; it does not know a recipient; or it
            is not there either.
    """
    if passphrase is not None:
        raise _no_passphrase()
    named = [part for recipient in recipients for part in ("--recipient", recipient.strip())]
    done = _run(["--encrypt", *(["--armor"] if armor else []), *named], plain)
    if done.returncode:
        hint = "a recipient is age1… (age-keygen -y shows it), or the line of an SSH public key (ed25519 or RSA)"
        raise Refused("age does not know a recipient", hint, *_said(done))
    return done.stdout


def unseal(sealed: bytes, passphrase: Secret | None, identities: Sequence[Path]) -> bytes:
    """Return what *sealed* holds.

    Raises:
        Refused: a passphrase is asked for, the keys do not open it, it is damaged, or the program is not there either.
    """
    if passphrase is not None:
        raise _no_passphrase()
    done = _run(["--decrypt", *(part for path in identities for part in ("--identity", str(path)))], sealed)
    if done.returncode:
        raise Refused("age does not open it", "name the file of the right secret key: --identity FILE", *_said(done))
    return done.stdout


def _run(arguments: list[str], data: bytes) -> "subprocess.CompletedProcess[bytes]":
    program = shutil.which("age")
    if program is None:
        hint = "install the program age, or `pip install pyrage` if there is a wheel for this platform"
        raise Refused("neither the library pyrage nor the program age is here", hint)
    return subprocess.run([program, *arguments], input=data, capture_output=True, check=False)


def _said(done: "subprocess.CompletedProcess[bytes]") -> list[str]:
    """Return the first line of what it said: it names keys and files, never what is encrypted."""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return [f"age reports: {lines[0].removeprefix('age: error: ')}"] if lines else []


def _no_passphrase() -> Refused:
    hint = (
        "use --recipient age1… and --identity FILE, or GPG; `pip install pyrage` if there is a wheel for this platform"
    )
    return Refused("the program age reads a passphrase only from a terminal, and the library pyrage is not here", hint)
