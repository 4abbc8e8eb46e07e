"""What nobody asked for stops no start, a key arrives once, and a path stays a path."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.links import real
from shim.pointed import base_of
from shim.strays import near, nearest
from tests.support.forms import End, Shim

Canary = Callable[[], str]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def variables(end: End) -> dict[str, str]:
    assert end.code == 0, end
    return dict(line.split("=", 1) for line in end.stdout.splitlines() if "=" in line)


# --- a file that nobody asked for -------------------------------------------------------------------------------------


def with_nul(path: Path) -> None:
    path.write_bytes(b"\xfe\xed\0\0binary")


def too_long_for_a_variable(path: Path) -> None:
    path.write_text("a" * 378_000)


def too_large_for_a_secret(path: Path) -> None:
    path.write_text("a" * 1_200_000)


def closed(path: Path) -> None:
    path.write_text("v")
    path.chmod(0)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def link_out(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def empty_folder(path: Path) -> None:
    path.mkdir()


KINDS = (
    with_nul,
    too_long_for_a_variable,
    too_large_for_a_secret,
    closed,
    fifo,
    device,
    link_out,
    link_to_itself,
    link_to_nothing,
    empty_folder,
)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_file_that_nobody_asked_for_never_stops_a_start(
    frozen: Shim, canary: Canary, make: Callable[[Path], None], as_root: None
) -> None:
    """It is left alone with one warning; asked for, it is refused."""
    value = canary()
    (frozen.root / "db_password").write_text(value)
    make(frozen.root / "other")

    end = frozen("sh", "-c", 'test "$DB_PASSWORD" = "$1" && test -z "${OTHER+set}"', "sh", value, before=NOBODY)
    assert end.code == 0, end
    assert end.stderr.count("warning:") == 1
    assert "OTHER" in end.stderr
    assert "left alone" in end.stderr
    assert frozen("check", before=NOBODY).code == 0
    assert frozen("exec", "--", "true", before=NOBODY) == (0, "", "")
    for asking in ({"SHIM_REQUIRE": "OTHER"}, {"OTHER_FILE": str(frozen.root / "other"), "SHIM_FILE_KEY": "OTHER"}):
        assert frozen("true", env=asking, before=NOBODY).code in (100, 111)


def test_all_files_together_are_too_large_for_one_command(frozen: Shim) -> None:
    """The largest that nobody asked for are left alone."""
    for number in range(20):
        (frozen.root / f"large{number}").write_text("a" * 120_000)
    (frozen.root / "asked").write_text("b" * 121_000)

    end = frozen("--require", "ASKED", "--", "sh", "-c", "echo ${#ASKED} ${#SMALL}", small="c")

    assert (end.code, end.stdout) == (0, "121000 1\n"), end.errors
    assert "exceed the kernel's limit for one command" in end.stderr


def test_many_files_that_nobody_asked_for(frozen: Shim) -> None:
    """The first ten are named, and the others counted, whatever else is warned of; explain lists them all."""
    for number in range(100, 140):
        (frozen.root / f"nul{number}").write_bytes(b"\0")
    for number in range(30):
        (frozen.root / f"large{number}").write_text("a" * 120_000)

    end = frozen("--secrets-dir", str(frozen.root), "--secrets-dir", "nowhere", "--", "true")
    assert (end.code, end.stderr.count("warning: ")) == (0, 12)
    assert end.stderr.count("and it is left alone\n") == 10
    left = len(frozen("explain", env={"SHIM_SECRETS_DIR": str(frozen.root)}).stdout.split("left alone:")) - 1
    assert f"warning: {left - 10} more files that nothing asks for are left alone\n" in end.stderr


@pytest.mark.usefixtures("as_root")
def test_a_root_that_cannot_be_listed(frozen: Shim, tmp_path: Path) -> None:
    """It counts only where something that is asked for stays missing; what has a name can be read all the same."""
    frozen.root.chmod(0o711)
    (frozen.root / "db-password").write_text("v")
    pointer = {"DB_PASSWORD_FILE": str(frozen.root / "db-password")}
    shown = ("sh", "-c", "echo $DB_PASSWORD")

    assert frozen(*shown, env=pointer, before=NOBODY).stdout == "v\n"
    assert frozen("--require", "DB_PASSWORD", *shown, before=NOBODY).stdout == "v\n"
    end = frozen("true", before=NOBODY)
    assert (end.code, " cannot be listed" in end.stderr) == (0, True)
    assert "only files that are named are read from it" in end.stderr
    (tmp_path / "s").write_text("OPTIONAL=\n")
    assert frozen("--schema", str(tmp_path / "s"), "true", before=NOBODY).code == 0
    end = frozen("--require", "MISSING,DB_PASSWORD", "true", before=NOBODY)
    assert (end.code, len(end.errors)) == (111, 2)


@pytest.mark.usefixtures("as_root")
def test_a_closed_local_folder_never_counts(frozen: Shim) -> None:
    (frozen.folder / "secrets").mkdir(0o700)

    env = {"SHIM_SECRETS_DIR": "", "A": "v"}
    assert frozen("--require", "A", "true", env=env, before=NOBODY) == (0, "", "")
    end = frozen("--require", "A,B", "true", env=env, before=NOBODY)
    assert (end.code, [text.split()[0] for text in end.errors]) == (100, ["B"])


def test_a_folder_where_the_environment_has_the_value(frozen: Shim) -> None:
    """The engine made it for a file that is missing, or a volume is mounted there; asked for alone, it is refused."""
    (frozen.root / "redis").mkdir()
    (frozen.folder / "s").write_text("REDIS=\n")

    end = frozen("--schema", "s", "--", "sh", "-c", "echo $REDIS", env={"REDIS": "redis://x"})
    assert end.stdout == "redis://x\n"
    assert "is a directory, not a file; the environment's value is taken" in end.stderr
    assert frozen("--schema", "s", "--", "true").code == 100


def test_a_link_to_the_null_device_is_an_empty_file(frozen: Shim) -> None:
    """Wherever the root is: whoever gives an optional secret no value does it so."""
    (frozen.root / "db").symlink_to("/dev/null")
    (frozen.root / "other").symlink_to("/dev/zero")

    assert frozen.child("--require", "DB", "--only", "DB", env={"DB": "given"}).env["DB"] == "given"
    assert frozen("--require", "OTHER", "--", "true", env={"OTHER": "given"}).code == 100


# --- a key arrives once -----------------------------------------------------------------------------------------------


def test_a_file_arrives_under_the_name_that_its_variable_spells(frozen: Shim) -> None:
    """`CF_Token_FILE` names the root's own cf_token: one variable, unless something asks for the other, too."""
    frozen.child(cf_token="v")
    pointer = {"CF_Token_FILE": str(frozen.root / "cf_token")}

    assert frozen.child(env=pointer).env == {"PATH": "/usr/bin:/bin", "CF_Token": "v"}
    both = {"PATH": "/usr/bin:/bin", "CF_Token": "v", "CF_TOKEN": "v"}
    assert frozen.child("--require", "CF_TOKEN", env=pointer).env == both
    assert frozen.child(env={**pointer, "CF_TOKEN_FILE": pointer["CF_Token_FILE"]}).env == both


@pytest.mark.parametrize("variable", ["DB_FILE", "DB__FILE", "FILE__DB"])
def test_a_pointer_that_clear_env_takes_away_holds_no_value_back(frozen: Shim, variable: str) -> None:
    """The service would get neither; one that is listed stays, and the value does not come beside it."""
    env = {variable: "/elsewhere"}

    assert frozen.child("--clear-env", env=env, db="v").env == {"PATH": "/usr/bin:/bin", "DB": "v"}
    end = frozen("--clear-env", "--only", f"DB,{variable}", "--", "env", env=env)
    assert (end.code, end.stdout) == (0, f"PATH=/usr/bin:/bin\n{variable}=/elsewhere\n")


@pytest.mark.parametrize("variable", ["DB_FILE", "DB__FILE", "FILE__DB"])
def test_an_empty_pointer_goes_where_its_key_arrives(frozen: Shim, variable: str) -> None:
    """An image that stops where the variable is there at all would stop; where no value comes, it stays as it was."""
    kept = {variable: "", "SSL_CERT_FILE": ""}

    assert frozen.child(env={variable: "", "SSL_CERT_FILE": ""}).env == {"PATH": "/usr/bin:/bin", **kept}
    child = frozen.child(env={variable: "", "SSL_CERT_FILE": ""}, db="v", ssl_cert="pem")
    assert child.env == {"PATH": "/usr/bin:/bin", "DB": "v", "SSL_CERT_FILE": ""}
    assert frozen.child("--keep-file-vars", env={variable: ""}, db="v").env[variable] == ""


def test_a_root_gives_no_variable_that_names_a_file(frozen: Shim) -> None:
    """Of a file that is called postgres_password_file, an image would read the value as a path."""
    (frozen.root / "postgres_password_file").write_text("v")
    (frozen.root / "file__token").write_text("v")

    assert frozen.child().environ == [b"PATH=/usr/bin:/bin"]
    pointer = {"POSTGRES_PASSWORD_FILE": str(frozen.root / "postgres_password_file")}
    assert frozen.child(env=pointer).environ == [b"PATH=/usr/bin:/bin", b"POSTGRES_PASSWORD=v"]
    both = {"POSTGRES_PASSWORD_FILE_FILE": pointer["POSTGRES_PASSWORD_FILE"]}
    assert frozen.child(env=both).env == {"PATH": "/usr/bin:/bin", **both}
    assert frozen.child("--require", "POSTGRES_PASSWORD_FILE", env=both).env["POSTGRES_PASSWORD_FILE"] == "v"


@pytest.mark.parametrize("way", ["{link}/pw", "{link}/../link/./pw", "{file}"])
def test_a_pointer_leads_below_a_root_by_another_name(frozen: Shim, way: str) -> None:
    """`/var/run` is `/run`."""
    (frozen.folder / "link").symlink_to("root")
    (frozen.folder / "file").symlink_to(frozen.root / "pw")
    path = way.format(link=frozen.folder / "link", file=frozen.folder / "file")

    child = frozen.child(env={"DB_PASSWORD_FILE": path}, pw="v")

    assert (child.env["DB_PASSWORD"], "DB_PASSWORD_FILE" in child.env) == ("v", False)


@pytest.mark.parametrize("variable", ["KEY_FILE", "KEY__FILE", "FILE__KEY"])
def test_a_service_gets_the_value_or_the_path(frozen: Shim, tmp_path: Path, variable: str) -> None:
    """Whatever an image spells, and whether the two lead to one file or not."""
    (tmp_path / "other").write_text("other")
    (frozen.root / "key").write_text("root")

    for path in (str(frozen.root / "key"), str(tmp_path / "other")):
        for more in ((), ("--require", "KEY"), ("--clear-env",)):
            given = variables(frozen(*more, "--", "env", env={variable: path}))
            assert len({"KEY", "KEY_FILE", "KEY__FILE", "FILE__KEY"} & given.keys()) <= 1, (path, more)
    asked = variables(frozen("--require", "KEY", "--", "env", env={variable: str(tmp_path / "other")}))
    assert asked["KEY"] == "other", "who sets a variable to a path means that"
    (frozen.root / "key").unlink()
    (frozen.root / "pw").write_text("pointed")
    both = {"KEY_FILE": str(frozen.root / "pw"), variable: str(frozen.root / "pw")}
    given = variables(frozen("env", env=both))
    assert {name for name in given if "KEY" in name} == {"KEY"}


def test_two_spellings_of_one_pointer(frozen: Shim) -> None:
    env = {"KEY__FILE": str(frozen.root / "a"), "KEY_FILE": str(frozen.root / "b"), "FILE__KEY": str(frozen.root / "c")}

    given = variables(frozen("--require", "KEY", "--", "env", env=env, a="1", b="2", c="3"))

    assert {name: value for name, value in given.items() if "KEY" in name} == {"KEY": "2"}


def test_the_file_of_a_path_is_no_value_beside_it(frozen: Shim) -> None:
    """etcd reads ETCD_CERT_FILE; a variable ETCD_CERT would mean nothing to it, or something else."""
    (frozen.root / "etcd_cert").write_text("v")

    child = frozen.child(env={"ETCD_CERT_FILE": str(frozen.root / "etcd_cert")})

    assert child.env == {"PATH": "/usr/bin:/bin", "ETCD_CERT_FILE": str(frozen.root / "etcd_cert")}


def test_an_equal_variable_with_its_line_end(frozen: Shim) -> None:
    """Podman (type=env) and Kubernetes (secretKeyRef) hand over the secret with the line end of its file."""
    env = {"A": "v\n", "A_FILE": str(frozen.root / "a")}

    assert frozen.child(env=env, a="v\n").env["A"] == "v"
    assert frozen("true", env={**env, "A": "v "}, a="v\n").code == 100


# --- a path stays a path ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "content", "reason"),
    [
        ("ETCD_CERT_FILE", "v", "programs read it as a path"),
        ("TUNNEL_CRED_FILE", "v", "programs read it as a path"),
        ("APP_CA_BUNDLE_FILE", "v", "programs read it as a path"),
        ("ANSIBLE_VAULT_PASSWORD_FILE", "v", "programs read it as a path"),
        ("ETCD_KEY_FILE", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "its file is PEM"),
        ("GCP_FILE", '{"type": "service_account"}\n', "its file is JSON"),
        ("USERS_FILE", "a:1\nb:2\n", "its file has many lines"),
        ("STORE_FILE", "\xfe\xed\0\0", "its file is binary"),
        ("PASSPHRASE_FILE", "a" * 378_000, "its file is too large"),
    ],
)
def test_a_file_that_is_no_value_stays_a_path(frozen: Shim, variable: str, content: str, reason: str) -> None:
    """Unless something asks for the value; `explain` and -v say so, and how to take it."""
    path = str(frozen.root / "some.file")
    key = variable[:-5]

    child = frozen.child("--only", key, env={variable: path}, secrets={"some.file": content})
    assert child.env == {"PATH": "/usr/bin:/bin", variable: path}
    for told in (frozen("explain", env={variable: path}).stdout, frozen("-v", "true", env={variable: path}).stderr):
        assert f"{variable}" in told
        assert reason in told
        assert f"--file-key {key}" in told
    if len(content) < 1000 and "\0" not in content:
        assert variable not in variables(frozen("--file-key", key, "--", "env", env={variable: path}))


@pytest.mark.parametrize("content", ["{not json", "[", "a\n\n", "-----", '"quoted"'])
def test_one_line_is_a_value(frozen: Shim, content: str) -> None:
    given = frozen("sh", "-c", 'printf %s "$A"', env={"A_FILE": str(frozen.root / "some")}, some=content)

    assert given.stdout == content.rstrip("\n")


def test_a_pointer_in_quotes(frozen: Shim) -> None:
    """`- KEY_FILE="/run/secrets/x"` in a YAML list keeps them, and so does docker's --env-file."""
    for around in ('"{}"', "'{}'", " {}", "{}\r"):
        pointer = {"A_FILE": around.format(frozen.root / "pw")}
        end = frozen("sh", "-c", "echo $A${A_FILE+set}", env=pointer, pw="v")
        assert end.stdout == "v\n"
        assert "A_FILE has quotes or white space around its path" in end.stderr
        assert frozen("--require", "A", "true", env=pointer).code == 0
    assert frozen("true", env={"B_FILE": '"/elsewhere"'}) == (0, "", "")


# --- what is not where it was looked for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ("{root}z", "there is no folder {root}z"),
        ('"{root}"', "quotes"),
        ("{root},/run/secrets", "separated by ':'"),
        ("{root}/a", "the secrets root {root}/a is a file, not a folder"),
    ],
)
def test_a_named_root_that_is_not_there(frozen: Shim, folders: str, said: str) -> None:
    (frozen.root / "a").write_text("v")

    end = frozen("true", env={"SHIM_SECRETS_DIR": folders.format(root=frozen.root)})

    assert end.code == 0
    assert said.format(root=frozen.root) in end.stderr


@pytest.mark.parametrize(
    "name",
    ["db_password.txt", "DB-PASSWORD_FILE", "db_pasword", "db_password.secret", "db_password_v2", "shop_db_password"],
)
def test_a_file_that_was_probably_meant(frozen: Shim, name: str) -> None:
    """The hint of what is missing names it; where it may be missing, a warning does."""
    (frozen.root / name).write_text("v")
    (frozen.folder / "s").write_text("DB_PASSWORD=\n")

    end = frozen("--require", "DB_PASSWORD", "true")
    assert f"{frozen.root}/{name} is there" in end.stderr
    if name.endswith(("txt", "secret", "v2")):
        end = frozen("--schema", "s", "true")
        assert (end.code, "nothing provides DB_PASSWORD" in end.stderr) == (0, True)
        assert frozen("--schema", "s", "true", env={"DB_PASSWORD": "v"}) == (0, "", "")


@pytest.mark.parametrize(
    ("pointer", "name", "said"),
    [
        ("/run/secret/token", "api_token", "{root}/api_token is there: remove API_TOKEN_FILE, or let it name"),
        ("token_v3", "token_v3", "{root} has a file of that name: API_TOKEN_FILE takes the whole path"),
        ("{root}/token", "api_token.txt", "{root}/api_token.txt is there: let API_TOKEN_FILE name that file"),
        ("{root}/token", "other", "check the path, and that the container gets it"),
    ],
)
def test_a_pointer_to_nothing_says_what_was_probably_meant(frozen: Shim, pointer: str, name: str, said: str) -> None:
    (frozen.root / name).write_text("v")

    end = frozen("--require", "API_TOKEN", "true", env={"API_TOKEN_FILE": pointer.format(root=frozen.root)})

    assert (end.code, len(end.errors)) == (100, 1)
    assert said.format(root=frozen.root) in end.stderr


def test_a_file_in_a_folder_of_a_root(frozen: Shim) -> None:
    """Kubernetes' items and a mount below the root make such; nothing there is read, but the hint names it."""
    for path in ("db/password", "app/api_key"):
        (frozen.root / path).parent.mkdir()
        (frozen.root / path).write_text("v")

    assert frozen.child().env == {"PATH": "/usr/bin:/bin"}
    end = frozen("--require", "DB_PASSWORD,API_KEY,OTHER", "true")
    assert len(end.errors) == 3
    assert [f"{frozen.root}/{path} is there, " in end.stderr for path in ("db/password", "app/api_key")] == [True, True]


def test_a_variable_of_almost_the_right_name(frozen: Shim) -> None:
    """Podman's `--secret db_password,type=env` keeps the secret's own name."""
    end = frozen("--require", "DB_PASSWORD", "true", env={"db_password": "v", "DB_PASSWORD2": "w"})

    assert "the environment has db_password, which is another name; looked at DB_PASSWORD, " in end.stderr


def test_a_protected_name_that_an_option_asks_for(frozen: Shim) -> None:
    """What is missed says why; what only --only names is a warning."""
    (frozen.root / "ld_preload").write_text("v")

    end = frozen("--require", "LD_PRELOAD", "true")
    assert (end.code, end.stderr.count("warning")) == (100, 0)
    assert f"{frozen.root}/ld_preload is left alone: LD_PRELOAD changes what programs load; only the" in end.stderr
    end = frozen("--only", "LD_PRELOAD", "--", "sh", "-c", 'test -z "${LD_PRELOAD+set}"')
    assert (end.code, end.stderr.count("warning")) == (0, 1)
    assert f"{frozen.root}/ld_preload is left alone: LD_PRELOAD changes what programs load\n" in end.stderr


@pytest.mark.usefixtures("as_root")
def test_a_secret_that_is_mounted_over_the_root(frozen: Shim) -> None:
    """`--volume ./db_password:/run/secrets` makes the root a file."""
    mount = 'mount -t tmpfs none /run && echo v >/run/secrets && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", mount, "sh")

    end = frozen("--require", "DB_PASSWORD", "true", env={"SHIM_SECRETS_DIR": ""}, before=before)

    assert "the secrets root /run/secrets is a file, not a folder" in end.stderr
    (frozen.folder / "secrets").write_text("the working directory's own")
    assert frozen("--require", "A", "true", env={"SHIM_SECRETS_DIR": "", "A": "v"}) == (0, "", "")


def test_only_what_is_near_is_near() -> None:
    from shim.resolution import Sources

    sources = Sources()
    sources.roots = {name: (b"/r/" + name.encode(), b"/r") for name in ("db_password_txt", "api", "tokem", "dbname")}

    assert near("DB_PASSWORD", sources) == [b"/r/db_password_txt"]
    assert near("DB", sources) == []
    assert nearest("TOKEN", sources) == [b"/r/tokem"]
    assert nearest("APJ", sources) == []
    assert nearest("NAME", sources) == [], "the end of a word is no key"
    assert [base_of(name) for name in ("A_FILE", "A__FILE", "FILE__A")] == ["A", "A", "A"]


def test_where_links_lead(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "loop").symlink_to("loop")
    here = os.fsencode(tmp_path.resolve())

    assert real(here + b"/b/../b/./x") == here + b"/a/x"
    assert real(here + b"/loop/x") == here + b"/loop/x"
    assert real(b"/../..") == b"/"
