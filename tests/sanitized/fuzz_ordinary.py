"""Compare what the start code takes of pointers, names and files with what Python does; run by test_frozen_build.py."""

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[2])
sys.path.insert(0, sys.argv[1])
import _kernel

from shim import files, files_unfrozen
from shim.environment import child_environment
from shim.options import Options
from shim.resolve import resolve
from shim.schema import parse
from shim.sources import gather

ROUNDS = int(sys.argv[3])
PLACE = Path(sys.argv[1]) / "ordinary"
random.seed(1)

# Ordinary, protected (by their words, families, starts and ends), documents, and what cannot be a key.
KEYS = [
    *("DB_PASSWORD", "API_KEY", "DB_USER", "A", "AB", "ABC", "TOKEN_2", "SERVICE_URL", "MYSQL_PASSWORD", "MYSQL_HOME"),
    *("PATH", "LD_PRELOAD", "GIT_TOKEN", "GIT_SSH", "NODE_OPTIONS", "NODE_ENV", "PYTHONPATH", "PGPASSWORD", "PGSSLKEY"),
    *(
        "HTTP_PROXY",
        "APP_OPTS",
        "JAVA_HOME",
        "SSL_CERT",
        "TLS_CERT",
        "APP_CONFIG",
        "CERT",
        "X_PEM",
        "KC_DB",
        "CC",
        "C_X",
    ),
    *(
        "VAULT_TOKEN",
        "PID",
        "ENV",
        "HOME",
        "SHELL",
        "R_HOME",
        "TF_CLI_ARGS",
        "SHIM_X",
        "SPRING_CONFIG_X",
        "ZED",
        "_RJEM",
    ),
    *(
        "X_FILE",
        "FILE__X",
        "X_",
        "_X",
        "db_password",
        "Db_Password",
        "9A",
        "A-B",
        "GRÖSSE",
        "COMPLUS_X",
        "DOTNET_X",
        "A__B",
    ),
]
NAMES = ["{}", "{}", "{}", "{}_FILE", "FILE__{}", "{}.env", ".{}", "{}.example", "README{}", "{}-x"]
CONTENTS = [
    *(
        b"word",
        b"word\n",
        b"two words\n",
        b"",
        b"\n",
        b" x",
        b"x ",
        b"x\t\n",
        b"x\r\n",
        b"x\n\n",
        b"a\nb\n",
        b'"quoted"',
    ),
    *(
        b"/a/path",
        b"./x",
        b"http://x:1/\n",
        b"vault:secret/x",
        b"op://a/b",
        b"ENC[x]",
        b"$(x)",
        b"@Microsoft.KeyVault(x)",
    ),
    *(
        b"A=1",
        b"AB=1",
        b"API_KEY=1",
        b"AB: 1",
        b"API_KEY: 1",
        b"a: b: c",
        b"export x",
        b"a=b=c",
        b"${X}",
        b"{{ x }}",
        b'{"a": 1}',
        b"[1]",
        b"x{y}",
        b"\0",
        b"x\0y",
    ),
    *(
        b"\xef\xbb\xbfx",
        b"\xff\xfex\0",
        b"\xe9",
        b"-----BEGIN X-----\nx\n",
        b"x" * 4094,
        b"x" * 4095,
        b"x" * 4096,
        b"x" * 5000,
    ),
]
TAILS = ["", "", "", "", "", " ", "/", '"', "/../x", "\r", "x"]
SCHEMAS = ["", "", "", "DB_PASSWORD=\n# @type=bytes(5)\nAPI_KEY=\n", "# @only\n# ---\nPATH=\nAB=\n", "ZED=default\n"]


def laid_out() -> list[bytes]:
    """Make two roots; return an environment that points into them."""
    shutil.rmtree(PLACE, ignore_errors=True)
    environ = []
    for root in ("one", "two"):
        (PLACE / root).mkdir(parents=True)
        for _ in range(random.choice([0, 1, 3, 8])):
            key, name = random.choice(KEYS), random.choice(NAMES)
            name = name.format(random.choice([key, key.lower(), key.lower().replace("_", "-")]))
            path = PLACE / root / name
            match random.randrange(20):
                case _ if os.path.lexists(path):
                    pass
                case 0:
                    path.mkdir()
                case 1:
                    path.symlink_to(random.choice(["../two/x", "/dev/null", "nowhere", "word"]))
                case _:
                    path.write_bytes(random.choice(CONTENTS))
            if random.random() < 0.6:
                variable = random.choice(["{}_FILE", "{}_FILE", "{}_FILE", "{}__FILE", "FILE__{}"]).format(key)
                environ.append(f"{variable}={path}{random.choice(TAILS)}".encode())
            if random.random() < 0.1:
                environ.append(f"{key}=".encode() + random.choice([b"given", b"", b"word"]))
    environ += random.sample(environ, len(environ) // 4)  # the first of duplicates counts
    random.shuffle(environ)
    return environ


def outcome(environ: list[bytes], options: Options, schema: str) -> Any:
    known = parse(schema.encode()) if schema else None
    sources = gather(environ, options, known)
    resolution = resolve(sources, options, known)
    sources.close()
    return (
        [
            (key, found.secret.reveal(), found.secret.reveal_file(), found.origin, found.path, found.deliver)
            for key, found in resolution.secrets.items()
        ],
        [(breach.key, breach.message, breach.hint) for breach in resolution.breaches],
        *(list(sources.pointers.items()), list(sources.roots.items()), sources.left_alone, sources.warnings),
        *(sources.shadowed, sources.cased, sources.untaken, resolution.empty),
        child_environment(environ, resolution, options),
    )


QUICK = ("assignments", "environ_without", "ordinary_names", "ordinary_pointers", "read_ordinary", "variables")
taken = 0
for _ in range(ROUNDS):
    environ = laid_out()
    options = Options()
    options.secrets_dir = [f"{PLACE}/{name}" for name in random.choice([["one"], ["one", "two"], ["one", "one"]])]
    options.file_key = random.choice([[], [], ["PATH"]])
    options.only = random.choice([[], [], [], ["DB_PASSWORD", "AB"]])
    options.prefer = random.choice(["", "", "env", "file"])
    schema = random.choice(SCHEMAS)
    both = []
    for source in (_kernel, files_unfrozen):
        for name in QUICK:
            setattr(files, name, getattr(source, name))
        both.append(outcome(environ, options, schema))
    for quick, slow in zip(*both, strict=True):
        assert quick == slow, (environ, options.__dict__, schema, quick, slow)
    taken += len(both[0][0])
os.write(1, f"went through, {taken} values\n".encode())
