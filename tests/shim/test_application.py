"""`get_secret`: the same order and the same trimming as at the start of a container, by one table of cases.

The table, cases/secrets.json, is a list of: `name`; `key`, what is asked for; `environ`; what lies in the secrets root,
as text (`root`) or hexadecimal (`hex`); `files` and `folders` and `links` beside it, by their path; and what comes out:
`value` (null when there is none), or `refused`; the shim may have `warned`. `{root}` and `{folder}` mean the paths of
this run.
"""

import hmac
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import shim
from shim import get_secret, read_secret_or_env
from shim.application import SecretNotFound
from shim.fingerprint import _pbkdf2_block, fingerprint, keyed
from tests.support.application import CASES, Case, laid_out
from tests.support.forms import Shim


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_an_application_gets(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SHIM_", case["key"]))]:
        monkeypatch.delenv(name)
    for name, value in laid_out(case, tmp_path).items():
        monkeypatch.setenv(name, value)
    if case.get("refused"):
        with pytest.raises(SecretNotFound, match=case["key"]):
            get_secret(case["key"], required=case.get("required", False))
    else:
        assert get_secret(case["key"], required=case.get("required", False)) == case["value"]


# Where nothing of POSIX is: as on Windows, and on macOS, where nothing of Linux is used either.
ELSEWHERE = """
import json, os, sys
for name in ("posix", "fcntl", "grp", "pwd", "resource", "termios", "_posixsubprocess", "_kernel"):
    sys.modules[name] = None
for name in [n for n in dir(os) if n.startswith("O_") and n not in ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_CREAT")]:
    delattr(os, name)
for name in ("geteuid", "getuid", "getgroups", "fork"):
    delattr(os, name)
sys.platform = "win32"
from shim import get_secret
from shim.application import SecretNotFound
given = dict(os.environ)
out = []
for key, required, environ, folder in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update({**given, **environ})
    os.chdir(folder)
    try:
        out.append([get_secret(key, required=required)])
    except SecretNotFound as error:
        out.append(str(error))
print(json.dumps(out))
"""


def test_an_application_gets_the_same_where_there_is_no_linux(tmp_path: Path) -> None:
    """All cases in one interpreter that has no module of POSIX; ./secrets is a root there, too."""
    asked: list[tuple[str, bool, dict[str, str], str]] = []
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        asked.append((case["key"], case.get("required", False), laid_out(case, folder), str(folder)))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "local_key").write_text("local\n")
    asked.append(("LOCAL_KEY", True, {"SHIM_SECRETS_DIR": ""}, str(tmp_path)))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(asked),
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    *answers, local = json.loads(done.stdout)
    assert local == ["local"]
    for case, answer in zip(CASES, answers, strict=True):
        expected = case["key"] in answer if case.get("refused") else answer == [case["value"]]
        assert expected, f"{case['name']}: {answer}"


def test_a_type_checker_knows_what_comes_back(tmp_path: Path) -> None:
    """Required, or with a default, it is a str; nothing is Any."""
    (tmp_path / "app.py").write_text(
        "from shim import SecretNotFound, get_secert, get_secret\n"
        "reveal_type(get_secret('A', required=True))\n"
        "reveal_type(get_secret('A', True))\n"
        "reveal_type(get_secret('A', default='d'))\n"
        "reveal_type(get_secret('A'))\n"
        "try:\n    pass\nexcept SecretNotFound as missing:\n    reveal_type(missing)\n"
    )
    package = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache", "app.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert re.findall(r'is "(.+)"', done.stdout) == [
        "str",
        "str",
        "str",
        "str | None",
        "shim.application.SecretNotFound",
    ]
    assert 'no attribute "get_secert"' in done.stdout
    assert shim.SecretNotFound is SecretNotFound
    assert (package / "shim/py.typed").exists()


def test_settings_of_pydantic_come_from_files(tmp_path: Path) -> None:
    """Prefix, alias, JSON and the environment behind it are pydantic's own; a file that cannot be used is an error."""
    pytest.importorskip("pydantic_settings")
    for name, text in {"app_db_password": "value\n", "app_ports": "[1, 2]", "other_name": "aliased"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "settings.py").write_text(
        "from pydantic import Field, SecretStr\n"
        "from pydantic_settings import BaseSettings, SettingsConfigDict\n"
        "from shim.settings import SecretsSource\n"
        "class Settings(BaseSettings):\n"
        "    model_config = SettingsConfigDict(env_prefix='app_')\n"
        "    db_password: SecretStr\n"
        "    ports: list[int] = []\n"
        "    alias: str = Field(validation_alias='OTHER_NAME')\n"
        "    variable: str = ''\n"
        "    neither: str = 'default'\n"
        "    @classmethod\n"
        "    def settings_customise_sources(cls, settings_cls, init_settings, env_settings, **others):\n"
        "        return init_settings, SecretsSource(settings_cls), env_settings\n"
        "found = Settings()\n"
        "print(found.db_password.get_secret_value(), found.ports, found.alias, found.variable, found.neither)\n"
    )
    environ = {"PYTHONPATH": str(Path(__file__).parents[2]), "SHIM_SECRETS_DIR": str(tmp_path), "APP_VARIABLE": "set"}

    def run(**more: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, str(tmp_path / "settings.py")]
        return subprocess.run(argv, env={**environ, **more}, capture_output=True, text=True, check=False)

    assert run().stdout == "value [1, 2] aliased set default\n"
    assert "SettingsError" in run(APP_DB_PASSWORD_FILE=str(tmp_path / "gone")).stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_a_service_gets(case: Case, frozen: Shim) -> None:
    """At the start, a key that is asked for but need not be there is one of the schema's."""
    required = "# @required\n" if case.get("required") else ""
    (frozen.folder / "s").write_text(f"{required}# @literal\n{case['key']}=\n")  # white space is meant
    env = laid_out(case, frozen.folder)
    if case.get("refused"):
        assert frozen("--schema", "s", "true", env=env).code == 100
    elif case.get("warned"):
        end = frozen("--schema", "s", "--", "printenv", case["key"], env=env)
        assert (end.code, end.stdout, end.stderr.count("warning: ")) == (0, f"{case['value']}\n", 1)
    else:
        assert frozen.child("--schema", "s", env=env).env.get(case["key"]) == case["value"]


def test_the_names_are_those_of_the_package() -> None:
    """`from shim import get_secret`, and importing shim alone loads nothing slow."""
    script = (
        "import sys; before = set(sys.modules); import shim; print(sorted(set(sys.modules) - before));"
        "from shim import get_secret, read_secret_or_env; print(shim.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("['shim']")


def test_an_application_keeps_its_signals() -> None:
    """Importing any room of the package, or asking for a value, changes neither mask nor dispositions."""
    script = (
        "import signal\n"
        "def state(): return (signal.pthread_sigmask(signal.SIG_BLOCK, ()), *map(signal.getsignal, range(1, 32)))\n"
        "before = state()\n"
        "from shim import get_secret, main, resolve, user, application\n"
        "get_secret('NOT_THERE')\n"
        "raise SystemExit(state() != before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_default_is_for_what_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHIM_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("NOT_THERE", raising=False)
    monkeypatch.setenv("EMPTY", "")

    assert get_secret("NOT_THERE") is None
    assert get_secret("NOT_THERE", default="d") == "d"
    assert get_secret("NOT_THERE", required=True, default="d") == "d"
    assert read_secret_or_env("NOT_THERE") == ""
    assert read_secret_or_env("NOT_THERE", "d") == "d"
    assert read_secret_or_env("EMPTY", "d") == "d"
    assert get_secret("EMPTY", default="d") == "d"
    (tmp_path / "blank").touch()
    assert get_secret("BLANK") is None
    with pytest.raises(SecretNotFound, match="is empty"):
        get_secret("BLANK", required=True)


def test_bytes_that_are_no_text_come_as_surrogates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHIM_SECRETS_DIR", str(tmp_path))
    (tmp_path / "key").write_bytes(b"\xff\x80a")

    assert os.fsencode(get_secret("KEY") or "") == b"\xff\x80a"


def test_what_is_wrong_names_no_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: Callable[[], str]
) -> None:
    monkeypatch.setenv("SHIM_SECRETS_DIR", str(tmp_path))
    value = canary()
    monkeypatch.setenv("KEY_FILE", value)

    with pytest.raises(SecretNotFound) as caught:
        get_secret("KEY")

    assert value not in str(caught.value)
    assert isinstance(caught.value, KeyError)


def test_a_start_took_what_only_root_may_read(as_root: None, tmp_path: Path, children: Path, frozen: Shim) -> None:
    """The shim read the file as root and became another user: the application takes the value that it was handed."""
    (frozen.root / "key").write_text("value")
    (frozen.root / "key").chmod(0o400)
    script = "from shim import get_secret; import sys; sys.exit(get_secret('KEY', True) != 'value')"
    command = [sys.executable, "-c", script]
    package = Path(__file__).parents[2]
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command],
        env={"SHIM_SECRETS_DIR": str(frozen.root), "KEY": "value", "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_fingerprints_are_salted_and_the_same_everywhere() -> None:
    assert fingerprint(b"value", "KEY", b"salt") == fingerprint(b"value", "KEY", b"salt")
    different = {
        fingerprint(b"value", "KEY"),
        fingerprint(b"value", "KEY", b"salt"),
        fingerprint(b"value", "OTHER"),
        fingerprint(b"Value", "KEY"),
    }
    assert len(different) == 4


def test_a_fingerprint_under_a_key_is_an_hmac_that_only_the_key_makes() -> None:
    for key in (bytes(32), b"k" * 32, b"k" * 100):
        text = hmac.digest(key, b"docker-secrets-shim\0PIN\x004711", "sha256")[:6].hex()
        assert keyed(b"4711", "PIN", key) == f"{text[:4]}-{text[4:8]}-{text[8:]}"
    assert len({keyed(value, key, bytes(32)) for value in (b"4711", b"4712") for key in ("PIN", "PAN")}) == 4


def test_an_interpreter_without_openssl_makes_the_same_fingerprint() -> None:
    for value in (b"", b"value", b"x" * 65):
        whole = b"docker-secrets-shim\0KEY\0salt"
        text = _pbkdf2_block(value, whole)[:6].hex()
        assert fingerprint(value, "KEY", b"salt") == f"{text[:4]}-{text[4:8]}-{text[8:]}"
