"""A secret key of age or SSH, given where a public one or a file's name belongs: refused, and never repeated."""

import re
from collections.abc import Iterable
from pathlib import Path

from shim_host.errors import Refused

_SECRET_KEY = re.compile(r"AGE-SECRET-KEY-|-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE)


def refuse_as_recipient(texts: Iterable[str]) -> None:
    """See that none of *texts*, which say whom to encrypt to, is a secret key.

    Raises:
        Refused: one is.
    """
    if any(map(_SECRET_KEY.search, texts)):
        raise Refused(
            "a secret key was given as a recipient; it is not shown here",
            "name the public key: `age-keygen -y FILE` shows that of age, that of SSH is in the file ending in .pub",
        )


def refuse_as_file(paths: Iterable[Path]) -> None:
    """See that none of *paths*, the files of secret keys, is such a key itself.

    Raises:
        Refused: one is.
    """
    if any(_SECRET_KEY.search(str(path)) for path in paths):
        raise Refused(
            "--identity was given a secret key itself; it is not shown here",
            "write it to a file that only you can read (mode 0600), and name that file",
        )
