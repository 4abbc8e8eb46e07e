"""`types`: what is generated passes the strict checks of its language, and gives a program what the schema promises."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from shim_host.apps.fields import camel, fields_of, snake

import shim
from shim.schema import parse
from tests.support.forms import REPOSITORY
from tests.support.host import Canary, Manage
from tests.support.node import PACKAGE, compiler_modules, npm
from tests.support.provoked import provokes

SCHEMA = r'''# The application's own login.
# It has """quotes""" and a \ backslash, and ends */ here.
# @required @sensitive
DB_PASSWORD=
# A name "quoted"
NAME_TEXT="a 'b' \"c\""
# @type=number(min=0)
RATIO=
# @type=port
PORT=8080
# @type=boolean @required
DEBUG=
# @type=boolean
TRACE=
# @type=enum(debug, "in fo")
LOG_LEVEL=debug
# @type=enum(a)
OTHER_LEVEL=
# @type=json
LIMITS=
# @type=bytes(3, hex) @generate
KEY_HEX=
# @type=bytes(3, base64) @required
KEY_B64=
# @type=bytes(32) @deliver=file(as=RAW_PATH) @required
KEY_RAW=
# @type=url
CLASS=
# @type=email
LOAD=
# @type=pem
STR=
# @type=jwt(signedBy=DB_PASSWORD)
FIELD=
db=
DB=
__proto__=
_1=
# @deliver=none
HIDDEN=
# @services=web
WEB_ONLY=
'''
GIVEN = {
    "DB_PASSWORD": "",  # a canary
    "RATIO": "0.5",
    "DEBUG": "Yes",
    "LIMITS": '{"a": [1]}',
    "KEY_HEX": "00ff10",
    "KEY_B64": "AP8Q",
    "RAW_PATH": "/dev/shm/raw",
    "STR": "",
}
EXPECTED = {
    "name_text": "a 'b' \"c\"",
    "ratio": 0.5,
    "port": 8080,
    "debug": True,
    "trace": None,
    "log_level": "debug",
    "other_level": None,
    "limits": {"a": [1]},
    "key_hex": b"\0\xff\x10",
    "key_b64": b"\0\xff\x10",
    "key_raw": Path("/dev/shm/raw"),
    "class_": None,
    "STR": None,
}
WRONG = {"PORT": "65536", "DEBUG": "perhaps", "LOG_LEVEL": "loud", "RATIO": "nan", "LIMITS": "{", "KEY_HEX": "zz"}
# What a strict reader would complain about, if a type were not what it should be.
USES = """
from secrets_of_app import Secrets
found = Secrets.load()
reveal_type(found.db_password)
reveal_type(found.ratio)
reveal_type(found.port)
reveal_type(found.trace)
reveal_type(found.log_level)
reveal_type(found.key_b64)
reveal_type(found.limits)
"""


def load(folder: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHIM_SECRETS_DIR", str(folder / "none"))
    spec = importlib.util.spec_from_file_location("secrets_of_app", folder / "secrets_of_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "secrets_of_app", module)
    spec.loader.exec_module(module)
    return module.Secrets.load()


def test_python(manage: Manage, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy --strict passes it, `load` gives values of these types, and repr() and errors show no value."""
    manage.write(".env.schema", SCHEMA)
    assert manage("types", "--python", "--output", "secrets_of_app.py").code == 0
    given = {**GIVEN, "DB_PASSWORD": canary()}

    found = load(manage.folder, given, monkeypatch)

    assert found.db_password == given["DB_PASSWORD"]
    assert {name: getattr(found, name) for name in EXPECTED} == EXPECTED
    manage.custody.said.append(repr(found))
    assert not hasattr(found, "hidden")
    for key, value in WRONG.items():
        with pytest.raises(ValueError, match=key) as caught:
            load(manage.folder, {**given, key: value}, monkeypatch)
        assert value not in str(caught.value)
        monkeypatch.setenv(key, given.get(key, ""))

    manage.write("uses.py", USES)
    (manage.folder / "docker_secrets_shim").symlink_to(REPOSITORY / "shim")
    options = [
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
        "--cache-dir",
        str(REPOSITORY / ".mypy_cache/types"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "uses.py", "secrets_of_app.py"],
        cwd=manage.folder,
        env={**os.environ, "MYPYPATH": f"{manage.folder}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    types = [line.split('"')[1] for line in done.stdout.splitlines() if "Revealed" in line]
    assert types == [
        *("str", "float | None", "int", "bool | None", "Literal['debug'] | Literal['in fo']", "bytes"),
        "object | None",
    ], done.stdout
    assert "Success" in done.stdout


def test_the_npm_package_and_typescript(manage: Manage, canary: Canary) -> None:
    """Built, packed, installed, imported both ways; and what `types` generates compiles against it, and runs."""
    for folder in ("npm", "images/backend-node/lib"):
        shutil.copytree(
            REPOSITORY / folder, manage.folder / folder, ignore=shutil.ignore_patterns("node_modules", "dist")
        )
    shutil.copy(REPOSITORY / "LICENSE", manage.folder)
    modules = compiler_modules()
    (manage.folder / "npm/node_modules").symlink_to(modules)
    packed = json.loads(npm("pack", "--json", cwd=manage.folder / "npm"))[0]
    assert {file["path"] for file in packed["files"]} == {
        *("LICENSE", "README.md", "package.json"),
        *("dist/secrets.js", "dist/secrets.d.ts"),
    }

    app = manage.folder / "app"
    app.mkdir()
    (app / "package.json").write_text('{"private": true}')
    npm("install", "--offline", "--no-save", manage.folder / "npm" / packed["filename"], cwd=app)
    (app / "node_modules/@types").symlink_to(modules / "@types")
    (app / "node_modules/undici-types").symlink_to(modules / "undici-types")
    (app / ".env.schema").write_text(SCHEMA)
    assert manage("types", "--typescript", "--schema", "app/.env.schema", "-o", "app/secrets.ts").code == 0
    (app / "uses.ts").write_text(
        'import { loadSecrets, type Secrets } from "./secrets";\n'
        "const found: Secrets = loadSecrets();\n"
        "const port: number = found.port;\n"
        "// @ts-expect-error  it can be undefined\n"
        "const ratio: number = found.ratio;\n"
        'const level: "debug" | "in fo" = found.logLevel;\n'
        "const password: string = found.dbPassword;\n"
        "console.log(JSON.stringify([port, ratio, level, password.length, found.debug, found.trace ?? null,\n"
        "  [...found.keyB64], found.limits, found.keyRaw, found._1 ?? null, found.DB ?? null]));\n"
    )
    flags = [
        "--strict",
        "--skipLibCheck",
        "--exactOptionalPropertyTypes",
        "--module",
        "commonjs",
        "--target",
        "es2022",
        "--types",
        "node",
    ]
    done = subprocess.run(
        ["node", modules / "typescript/bin/tsc", *flags, "uses.ts"],
        cwd=app,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

    def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        given = {**GIVEN, "DB_PASSWORD": canary(), **more}
        done = subprocess.run(
            ["node", *words],
            cwd=app,
            env={"PATH": os.environ["PATH"], "SHIM_SECRETS_DIR": "/none", **given},
            capture_output=True,
            text=True,
            check=False,
        )
        manage.custody.said += [done.stdout, done.stderr]
        return done

    done = run("uses.js")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        *(8080, 0.5, "debug", 26, True, None, [0, 255, 16], {"a": [1]}, "/dev/shm/raw", None, None),
    ]
    assert "TypeError: PORT is not a port" in run("uses.js", PORT="65536").stderr
    for kind, script in (
        ("module", "import{getSecret}from'docker-secrets-shim';console.log(getSecret('PORT'))"),
        ("commonjs", "console.log(require('docker-secrets-shim').getSecret('PORT'))"),
    ):
        assert run(f"--input-type={kind}", "-e", script, PORT="1").stdout == "1\n"


def test_the_package_has_the_version_of_the_project() -> None:
    for name in ("package.json", "package-lock.json"):
        assert json.loads((PACKAGE / name).read_text())["version"] == shim.__version__


def test_no_two_keys_get_one_name() -> None:
    schema = parse(b"A_B=\nA__B=\na_b=\nFIELD=\nCLASS=\n_1=\n")

    assert [field.name for field in fields_of(schema, snake, ("field",))] == [
        *("a_b", "a__b", "a_b_", "FIELD", "class_", "key_1"),
    ]
    assert [field.name for field in fields_of(schema, camel, ())] == ["aB", "A__B", "a_b", "field", "class", "_1"]


@provokes("… is binary, and the schema does not deliver it as a file")
def test_a_binary_value_that_no_file_is_made_of_is_named(manage: Manage) -> str:
    manage.write(".env.schema", "# @type=bytes(4)\nKEY_RAW=\n# @type=bytes(4) @deliver=memfd\nOTHER=\n")

    end = manage("types", "--python")

    assert end.code == 0
    assert "above KEY_RAW= in it; without the shim, set KEY_RAW_FILE" in end.stderr
    assert "OTHER" not in end.stderr
    return end.stderr


def test_the_keys_of_one_service(manage: Manage) -> None:
    manage.write(".env.schema", SCHEMA)

    assert "web_only" not in manage("types", "--python", "--service", "worker").stdout
    assert "web_only" in manage("types", "--python", "--service", "web").stdout
    assert "give --python or --typescript" in manage("types").stderr
    (manage.folder / ".env.schema").unlink()
    assert "there is no schema to generate types from" in manage("types", "--python").stderr
