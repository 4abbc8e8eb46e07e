"""Which source wins for a key, what is refused, and what is left alone."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forms import REPOSITORY, Shim

Canary = Callable[[], str]


# --- the order -------------------------------------------------------------------------------------------------------


def test_the_first_source_wins(shim: Shim, tmp_path: Path) -> None:
    """KEY_FILE, then a file in a root, then the environment, then the schema's default."""
    (tmp_path / "pointed").write_text("pointed\n")
    (shim.root / "key").write_text("root\n")
    (tmp_path / "s").write_text("# @required\nKEY=default\nOTHER=other-default\nTHIRD=\nFOURTH=fourth-default\n")
    pointer = {"KEY_FILE": str(tmp_path / "pointed")}

    assert shim.child("--schema", "s", env=pointer).env["KEY"] == "pointed"
    assert shim.child("--schema", "s", env={"KEY": "environment"}).env["KEY"] == "root"
    (shim.root / "key").unlink()
    child = shim.child("--schema", "s", env={"KEY": "environment", "FOURTH": ""})
    assert child.env["KEY"] == "environment"
    assert child.env["OTHER"] == "other-default"
    assert child.env["FOURTH"] == "fourth-default"
    assert "THIRD" not in child.env
    assert shim.child("--schema", "s").env["KEY"] == "default"


def test_the_files_variable_is_removed(shim: Shim) -> None:
    """Official images refuse to start with both set."""
    (shim.root / "pw").write_text("v")
    env = {"DB_PASSWORD_FILE": str(shim.root / "pw")}

    child = shim.child(env=env)
    assert child.env["DB_PASSWORD"] == "v"
    assert "DB_PASSWORD_FILE" not in child.env
    assert shim.child("--keep-file-vars", env=env).env["DB_PASSWORD_FILE"] == str(shim.root / "pw")
    assert shim.child(env={**env, "SHIM_KEEP_FILE_VARS": "1"}).env["DB_PASSWORD_FILE"] == str(shim.root / "pw")


def test_both_set_and_different_is_refused(shim: Shim, canary: Canary) -> None:
    (shim.root / "pw").write_text(canary())

    end = shim("true", env={"DB_PASSWORD_FILE": str(shim.root / "pw"), "DB_PASSWORD": canary()})

    assert end.code == 100
    assert len(end.errors) == 1
    assert "DB_PASSWORD" in end.errors[0]
    assert "DB_PASSWORD_FILE" in end.errors[0]


def test_both_set_and_equal_is_fine(shim: Shim) -> None:
    (shim.root / "pw").write_text("equal\n")

    child = shim.child(env={"A_FILE": str(shim.root / "pw"), "A": "equal"})

    assert child.env["A"] == "equal"
    assert "A_FILE" not in child.env


def test_an_empty_variable_counts_as_unset(shim: Shim) -> None:
    (shim.root / "pw").write_text("v")

    assert shim.child(env={"A_FILE": str(shim.root / "pw"), "A": ""}).env["A"] == "v"
    assert shim.child(env={"A_FILE": "", "A": "x"}).env["A"] == "x"


@pytest.mark.parametrize(("choice", "value"), [("file", "from-file"), ("env", "from-env")])
def test_prefer_says_which_counts(shim: Shim, choice: str, value: str) -> None:
    (shim.root / "pw").write_text("from-file")
    env = {"A_FILE": str(shim.root / "pw"), "A": "from-env"}

    child = shim.child("--prefer", choice, env=env)
    assert child.env["A"] == value
    assert "A_FILE" not in child.env
    assert shim.child(env={**env, "SHIM_PREFER": choice}).env["A"] == value


def test_a_root_file_silently_wins_over_the_environment(shim: Shim) -> None:
    assert shim.child(env={"KEY": "environment"}, key="root").env["KEY"] == "root"
    assert "wins over the environment" in shim("explain", env={"KEY": "environment"}).stdout


def test_the_first_of_duplicates_counts_and_all_are_replaced(shim: Shim, launch: str, tmp_path: Path) -> None:
    (shim.root / "k").write_text("new")
    text = f"PATH=/bin\0K=1\0SHIM_SECRETS_DIR={shim.root}\0K=2\0L\0K\0SHIM_X=1\0SHIM_NOTHING\0"
    (tmp_path / "environment").write_text(text)

    child = shim.child(before=[launch, "-e", str(tmp_path / "environment")])

    assert child.environ == [b"PATH=/bin", b"L", b"K", b"K=new"]


def test_nothing_of_the_shims_own_reaches_the_child(shim: Shim) -> None:
    env = {"SHIM_LOG": "text", "SHIM_UNHEARD_OF": "1", "SHIMMER": "stays", "SHIM_PREFER": "file"}

    child = shim.child(env=env, k="v")

    assert sorted(child.environ) == [b"K=v", b"PATH=/usr/bin:/bin", b"SHIMMER=stays"]


# --- which variables that end in _FILE -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "SSL_CERT_FILE",
        "LOG_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "KC_HTTPS_CERTIFICATE_FILE",
        "RABBITMQ_CONFIG_FILE",
        "MY_OWN_FILE",
        "_FILE",
        "X_FILES",
        "FILE",
    ],
)
def test_a_file_variable_that_is_no_secret_stays(shim: Shim, name: str) -> None:
    (shim.folder / "file").write_text("content")

    assert shim.child(env={name: str(shim.folder / "file")}).env == {
        "PATH": "/usr/bin:/bin",
        name: str(shim.folder / "file"),
    }


def test_a_path_variable_stays_even_below_a_root(shim: Shim) -> None:
    """Programs read them as paths, whatever the path is."""
    for name in ("SSL_CERT_FILE", "KC_HTTPS_CERTIFICATE_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        env = shim.child(env={name: str(shim.root / "cert")}, cert="c").env
        assert env[name] == str(shim.root / "cert")


@pytest.mark.parametrize("asking", [["--require", "A"], ["--file-key", "A"], ["--schema", "asking"]])
def test_a_file_variable_that_is_asked_for_is_taken(shim: Shim, asking: list[str]) -> None:
    (shim.folder / "value").write_text("v\n")
    (shim.folder / "asking").write_text("A=\n")

    env = shim.child(*asking, env={"A_FILE": str(shim.folder / "value")}).env

    assert env["A"] == "v"
    assert "A_FILE" not in env


def test_a_relative_path_starts_at_the_working_folder(shim: Shim) -> None:
    (shim.root / "nested").mkdir()
    (shim.root / "nested" / "pw").write_text("v")
    here = {"SHIM_SECRETS_DIR": ".", "SHIM_ONLY": "A"}

    assert shim.child(env={"A_FILE": "root/nested/pw", "SHIM_SECRETS_DIR": "root"}).env["A"] == "v"
    assert shim.child(env={"A_FILE": "./root/./nested/../nested/pw"}).env["A"] == "v"
    assert shim.child(env={"A_FILE": "root/nested/pw", **here}).env["A"] == "v"


def test_a_path_that_climbs_out_of_the_root_is_not_below_it(shim: Shim) -> None:
    (shim.folder / "outside").write_text("v")

    for path in (f"{shim.root}/../outside", f"{shim.root}x/y", str(shim.root), f"{shim.root}/"):
        assert "A" not in shim.child(env={"A_FILE": path}).env


# --- which files in a root -------------------------------------------------------------------------------------------


def test_file_names_become_keys(shim: Shim) -> None:
    names = {"db_password": "DB_PASSWORD", "Api.Key-2": "API_KEY_2", "_x": "_X", "UPPER": "UPPER", "a": "A"}
    for name in names:
        (shim.root / name).write_text(name)

    env = shim.child().env

    assert {key: env[key] for key in names.values()} == {key: name for name, key in names.items()}


def test_a_name_belongs_to_the_schemas_key(shim: Shim) -> None:
    """Case and `.`, `-`, `_` do not count."""
    (shim.folder / "s").write_text("dbPassword=\nAPIKEY=\n")

    env = shim.child("--schema", "s", secrets={"DB-PASSWORD": "1", "api.key": "2", "other.key": "3"}).env

    assert (env["dbPassword"], env["APIKEY"], env["OTHER_KEY"]) == ("1", "2", "3")
    assert "DB_PASSWORD" not in env


def test_what_is_no_secret_is_skipped(shim: Shim) -> None:
    for name in (
        ".hidden",
        "a.example",
        "README",
        "README.txt",
        "notes.md",
        "1st",
        "with space",
        "ümlaut",
        "a=b",
        "a+b",
    ):
        (shim.root / name).write_text("v")
    (shim.root / os.fsdecode(b"\xff\xfe")).write_text("v")
    (shim.root / "new\nline").write_text("v")
    (shim.root / "folder" / "folder").mkdir(parents=True)
    (shim.root / "kubernetes.io").mkdir()
    for name in ("redhat.repo", "etc-pki-entitlement"):
        (shim.root / name).write_text("what Podman mounts on RHEL")

    assert shim.child().environ == [b"PATH=/usr/bin:/bin"]


def test_two_names_for_one_key_are_refused(shim: Shim, canary: Canary) -> None:
    end = shim("true", secrets={"db-password": canary(), "db_password": canary(), "DB_PASSWORD": canary()})

    assert end.code == 100
    assert "both map to DB_PASSWORD" in end.stderr


def test_a_pointer_decides_between_two_names(shim: Shim) -> None:
    """Whichever of them it names; when that one is empty, no other is guessed."""
    names = {"DB-PASSWORD": "1", "DB_PASSWORD": "2", "db_password": "3"}
    for name, value in names.items():
        pointer = {"DB_PASSWORD_FILE": str(shim.root / name)}
        assert shim.child(env=pointer, secrets=names).env["DB_PASSWORD"] == value

    assert "DB_PASSWORD" not in shim.child(env=pointer, db_password="").env


def test_a_folder_is_no_second_name(shim: Shim) -> None:
    """Folders are skipped, whichever name comes first."""
    (shim.root / "DB-PASSWORD").mkdir()
    (shim.root / "db.password").mkdir()

    assert shim.child(db_password="v", DB_PASSWORD_="w").env["DB_PASSWORD"] == "v"


def test_the_first_root_wins(shim: Shim, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "a").write_text("second")
    (second / "b").write_text("second")
    (second / "c").write_text("second")
    (shim.root / "c").mkdir()
    (shim.root / "a").write_text("second")

    env = shim.child(env={"SHIM_SECRETS_DIR": f"{shim.root}:{second}"}).env
    assert (env["A"], env["B"], env["C"]) == ("second", "second", "second")
    (shim.root / "a").write_text("first")
    end = shim("sh", "-c", "echo $A", env={"SHIM_SECRETS_DIR": f"{shim.root}:{second}"})
    assert end.stdout == "first\n"
    assert f"{shim.root}/a and {second}/a give A two values; the first is taken" in end.stderr
    end = shim("--secrets-dir", str(second), "--secrets-dir", str(shim.root), "--", "sh", "-c", "echo $A")
    assert (end.stdout, end.stderr.count("two values")) == ("second\n", 1)


PROTECTED = (
    "path home ifs bash_env ld_preload LD_LIBRARY_PATH pythonpath PYTHONSTARTUP node_options perl5lib rubyopt "
    "java_tool_options gconv_path ld_anything SHIM_USER ENV"
)


def test_a_file_never_sets_what_programs_load(shim: Shim) -> None:
    """Unless the schema lists it; --require is not enough."""
    for name in PROTECTED.split():
        (shim.root / name).write_text("/evil")

    assert shim.child().environ == [b"PATH=/usr/bin:/bin"]
    assert shim.child("--require", "PATH").environ == [b"PATH=/usr/bin:/bin"]


def test_the_schema_can_list_what_programs_load(shim: Shim) -> None:
    (shim.folder / "s").write_text("NODE_OPTIONS=\n")

    assert shim.child("--schema", "s", node_options="--trace-gc").env["NODE_OPTIONS"] == "--trace-gc"


def test_a_pointer_never_sets_what_programs_load(frozen: Shim) -> None:
    (frozen.root / "x").write_text("/evil.so")

    assert "LD_PRELOAD" not in frozen.child(env={"LD_PRELOAD_FILE": str(frozen.root / "x")}).env


# --- the default roots -----------------------------------------------------------------------------------------------


def run_secrets(folder: Path) -> list[str]:
    """Return a wrapper that lays *folder* over /run/secrets, for the wrapped command alone."""
    script = f'unset PWD; mount -t tmpfs none /run && cp -a "{folder}" /run/secrets && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", "--"]


@pytest.mark.usefixtures("as_root")
def test_the_default_roots(shim: Shim, tmp_path: Path) -> None:
    """/run/secrets is read as it is; of ./secrets only what is asked for, since an image's folder may hold anything."""
    engine, local = tmp_path / "engine", tmp_path / "secrets"
    for folder in (engine, local):
        folder.mkdir()
        (folder / "both").write_text(folder.name)
        (folder / f"only_{folder.name}").write_text("v")
    (local / "asked").write_text("v")
    (local / "pw").write_text("pointed")
    env = {"SHIM_SECRETS_DIR": "", "PW_FILE": "./secrets/pw"}

    child = shim.child("--require", "ASKED", env=env, before=run_secrets(engine))

    assert sorted(child.environ) == [
        b"ASKED=v",
        b"BOTH=engine",
        b"ONLY_ENGINE=v",
        b"PATH=/usr/bin:/bin",
        b"PW=pointed",
    ]


def test_the_local_folder_is_read_for_what_is_asked(shim: Shim) -> None:
    (shim.folder / "secrets").mkdir()
    (shim.folder / "secrets" / "asked").write_text("v")
    (shim.folder / "secrets" / "other").write_text("v")

    assert shim.child(env={"SHIM_SECRETS_DIR": ""}).environ == [b"PATH=/usr/bin:/bin"]
    assert shim.child("--require", "ASKED", env={"SHIM_SECRETS_DIR": ""}).environ == [
        b"PATH=/usr/bin:/bin",
        b"ASKED=v",
    ]


def test_another_root_replaces_both(shim: Shim) -> None:
    (shim.folder / "secrets").mkdir()
    (shim.folder / "secrets" / "asked").write_text("v")

    assert shim("--require", "ASKED", "true").code == 100


# --- links -----------------------------------------------------------------------------------------------------------


def kubernetes(root: Path, value: str, version: str = "..2026_11_22") -> None:
    (root / version).mkdir()
    (root / version / "db_password").write_text(value)
    (root / "..data.new").symlink_to(version)
    (root / "..data.new").rename(root / "..data")
    if not (root / "db_password").is_symlink():
        (root / "db_password").symlink_to("..data/db_password")


def test_the_links_of_kubernetes_work(shim: Shim) -> None:
    kubernetes(shim.root, "v1")
    assert shim.child().env["DB_PASSWORD"] == "v1"
    assert shim.child(env={"X_FILE": str(shim.root / "db_password")}).env["X"] == "v1"
    kubernetes(shim.root, "v2", "..2026_11_23")
    assert shim.child().env["DB_PASSWORD"] == "v2"


def test_links_within_the_root_work(shim: Shim) -> None:
    (shim.root / "real").write_text("v")
    (shim.root / "relative").symlink_to("real")
    (shim.root / "absolute").symlink_to(shim.root / "real")
    (shim.root / ".deep").mkdir()
    (shim.root / ".deep" / "up").symlink_to("../real")
    (shim.root / "twice").symlink_to(".deep/up")

    env = shim.child().env

    assert (env["RELATIVE"], env["ABSOLUTE"], env["TWICE"]) == ("v", "v", "v")


def test_a_root_that_is_a_link_itself_works(shim: Shim) -> None:
    (shim.folder / "link").symlink_to("root")
    kubernetes(shim.root, "v")

    assert shim.child(env={"SHIM_SECRETS_DIR": str(shim.folder / "link")}).env["DB_PASSWORD"] == "v"


@pytest.mark.parametrize(
    "target", ["../outside", "{folder}/outside", "../root/../outside", ".deep/out", "/etc/hostname"]
)
def test_a_link_that_leaves_its_root_is_refused(shim: Shim, canary: Canary, target: str) -> None:
    (shim.folder / "outside").write_text(canary())
    (shim.root / ".deep").mkdir()
    (shim.root / ".deep" / "out").symlink_to("../../outside")
    (shim.root / "link").symlink_to(target.format(folder=shim.folder))

    end = shim("--require", "LINK", "true")

    assert end.code == 100
    assert "leaves its secrets root" in end.stderr


def test_a_folder_on_the_way_may_not_leave_the_root(shim: Shim, canary: Canary) -> None:
    (shim.folder / "outside").mkdir()
    (shim.folder / "outside" / "pw").write_text(canary())
    (shim.root / "way").symlink_to("../outside")

    end = shim("true", env={"A_FILE": str(shim.root / "way" / "pw")})

    assert end.code == 100
    assert "leaves its secrets root" in end.stderr


def test_a_link_to_itself_ends(shim: Shim) -> None:
    (shim.root / "a").symlink_to("b")
    (shim.root / "b").symlink_to("a")

    end = shim("--require", "A", "true")

    assert end.code == 100
    assert "leads to itself" in end.stderr


def test_a_link_to_nothing_is_missing(shim: Shim) -> None:
    (shim.root / "a").symlink_to("gone")

    assert shim("true").code == 0
    end = shim("--require", "A", "true")
    assert end.code == 100
    assert "does not exist" in end.stderr


def test_outside_of_a_root_a_link_is_followed(shim: Shim) -> None:
    """--file-key names the path itself; whoever set it meant what it leads to."""
    (shim.folder / "real").write_text("v")
    (shim.folder / "link").symlink_to("real")

    assert shim.child("--file-key", "A", env={"A_FILE": str(shim.folder / "link")}).env["A"] == "v"


# --- what cannot be a value ------------------------------------------------------------------------------------------


def test_a_pointer_to_nothing(shim: Shim) -> None:
    end = shim("true", env={"A_FILE": str(shim.root / "gone")})

    assert end.code == 100
    assert "A: " in end.errors[0]
    assert "does not exist" in end.errors[0]
    assert shim("true", env={"A_FILE": str(shim.root / "gone" / "deeper")}).code == 100


def test_a_directory_where_a_file_belongs(shim: Shim) -> None:
    """Compose makes one for a missing bind mount."""
    (shim.root / "a").mkdir()

    for env in ({"A_FILE": str(shim.root / "a")}, {"SHIM_REQUIRE": "A"}):
        end = shim("true", env=env)
        assert end.code == 100
        assert "is a directory" in end.errors[0]
        assert "folder" in end.stderr


@pytest.mark.usefixtures("as_root")  # only root makes devices
@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_what_would_wait_for_ever_is_refused(shim: Shim, kind: str) -> None:
    path = shim.root / "a"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(shim.root)  # the path of a socket is short
            listener.bind("a")
            os.chdir(here)
    else:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))

    for end in (shim("--require", "A", "true"), shim("true", env={"A_FILE": str(path)})):
        assert end.code == 100
        assert kind in end.errors[0]
        assert "regular file" in end.stderr


@pytest.mark.usefixtures("as_root")
def test_unreadable_is_never_missing(shim: Shim, canary: Canary) -> None:
    """A retry may help: 111."""
    (shim.root / "a").write_text(canary())
    (shim.root / "a").chmod(0o000)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    end = shim("--require", "A", "true", before=nobody)
    assert end.code == 111
    assert "cannot be read: permission denied" in end.errors[0]
    assert "--user" in end.stderr
    shim.root.chmod(0o700)
    end = shim("--require", "A", "true", before=nobody)
    assert end.code == 111
    assert "cannot be listed" in end.errors[0]
    assert "A is required, and nothing provides it" in end.errors[1]
    end = shim(
        "true", before=nobody, env={"SHIM_SECRETS_DIR": "/nowhere", "SHIM_FILE_KEY": "A", "A_FILE": f"{shim.root}/a"}
    )
    assert end.code == 111
    assert "permission denied" in end.errors[0]


def test_a_nul_byte_is_refused(shim: Shim, canary: Canary) -> None:
    end = shim("--require", "A", "true", a=canary() + "\0")

    assert end.code == 100
    assert "A holds a NUL byte" in end.errors[0]
    assert "@deliver=file" in end.stderr


def test_the_longest_value_passes_and_one_byte_more_is_refused(shim: Shim) -> None:
    """131,071 bytes with key and `=`."""
    longest = "x" * (131_071 - len("KEY="))

    assert shim.child(key=longest).env["KEY"] == longest
    end = shim("--require", "KEY", "true", key=longest + "x")
    assert end.code == 100
    assert "131071 bytes" in end.errors[0]
    assert "@deliver=file" in end.stderr


def test_a_huge_file_is_not_read_into_memory(shim: Shim) -> None:
    with (shim.root / "key").open("wb") as file:
        file.truncate(1 << 40)

    end = shim("--require", "KEY", "true", before=["sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh"])

    assert end.code == 100
    assert "larger than" in end.errors[0]


def test_an_empty_file_is_not_set(shim: Shim) -> None:
    """The next source is asked: another file, the environment, the schema; none of them, and there is no variable."""
    pointer = {"KEY_FILE": str(shim.root / "other"), "SHIM_SCHEMA": ""}
    (shim.folder / "s").write_text("KEY=default\n")

    assert "KEY" not in shim.child(key="\n").env
    assert shim.child(env={"KEY": "environment"}).env["KEY"] == "environment"
    assert shim.child("--require", "KEY", env={"KEY": "environment"}).env["KEY"] == "environment"
    assert shim.child("--schema", "s").env["KEY"] == "default"
    assert shim.child(env={**pointer, "KEY": "environment"}, other="\r\n").env["KEY"] == "environment"
    (shim.root / "key").write_text("root\n")
    child = shim.child(env=pointer)
    assert (child.env["KEY"], "KEY_FILE" in child.env) == ("root", False)
    (shim.root / "key").write_text("")
    end = shim("--require", "KEY", "true", env=pointer)
    assert end.code == 100
    assert end.errors == [f"KEY is required, and is empty (from {shim.root}/key)"]


def test_a_null_device_is_an_empty_file(shim: Shim, as_root: None) -> None:
    """What Compose users name where an optional secret has no file."""
    os.mknod(shim.root / "smtp_password", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    assert shim.child(db_password="v").environ == [b"PATH=/usr/bin:/bin", b"DB_PASSWORD=v"]
    assert shim.child("--require", "A", env={"A_FILE": "/dev/null", "A": "v"}).env["A"] == "v"
    end = shim("--require", "A", "true", env={"A_FILE": "/dev/null"})
    assert end.errors == ["A is required, and is empty (from /dev/null)"]


# --- what is exported ------------------------------------------------------------------------------------------------


def test_only_lets_nothing_else_out(shim: Shim) -> None:
    env = {"C_FILE": str(shim.root / "c"), "STAYS": "1"}

    child = shim.child("--only", "A,B", env=env, a="1", b="2", c="3")

    assert sorted(child.environ) == sorted(
        [b"PATH=/usr/bin:/bin", b"STAYS=1", b"A=1", b"B=2", b"C_FILE=" + os.fsencode(shim.root / "c")]
    )
    assert shim.child(env={"SHIM_ONLY": "A"}).environ == [b"PATH=/usr/bin:/bin", b"A=1"]


def test_the_schemas_only_does_the_same(shim: Shim) -> None:
    (shim.folder / "s").write_text("# @only\n# ---\n\nA=\n")

    assert shim.child("--schema", "s", a="1", b="2").environ == [b"PATH=/usr/bin:/bin", b"A=1"]


def test_clear_env_starts_from_nothing(shim: Shim) -> None:
    basics = {"HOME": "/h", "TERM": "t", "LANG": "C", "TZ": "UTC", "HOSTNAME": "n"}
    (shim.folder / "s").write_text("LISTED=\n")
    env = {**basics, "LISTED": "1", "REQUIRED": "2", "OTHER": "3", "SSL_CERT_FILE": "/x", "K_FILE": f"{shim.root}/k"}

    child = shim.child("--clear-env", "--schema", "s", "--require", "REQUIRED", env=env, k="v")

    assert child.env == {"PATH": "/usr/bin:/bin", **basics, "LISTED": "1", "REQUIRED": "2", "K": "v"}
    assert shim.child("--clear-env", "--keep-file-vars", env={"K_FILE": f"{shim.root}/k"}).env == {
        "PATH": "/usr/bin:/bin",
        "K": "v",
        "K_FILE": f"{shim.root}/k",
    }


# --- all at once -----------------------------------------------------------------------------------------------------


def test_all_breaches_at_once_in_the_schemas_order(shim: Shim, canary: Canary) -> None:
    """One line each plus a hint; what nobody ordered comes last."""
    (shim.folder / "s").write_text(
        "# @required\nZ_MISSING=\n# @required @type=port\nA_PORT=\n# @sensitive\nM_PLACEHOLDER=\n"
        '# @required @composed="x${Z_MISSING}"\nC_COMPOSED=\n# @type=bytes(32, hex)\nB_KEY=\nD_FINE=\n'
    )
    (shim.root / "extra").write_bytes(canary().encode() + b"\0")

    end = shim(
        "--schema", "s", "--require", "E_REQUIRED,EXTRA", "--", "true",
        a_port=canary(), m_placeholder="changeme", b_key=canary(), d_fine="fine",
    )  # fmt: skip

    assert end.code == 100
    keys = ["Z_MISSING", "A_PORT", "M_PLACEHOLDER", "C_COMPOSED", "B_KEY", "E_REQUIRED", "EXTRA"]
    assert [line.split()[0] for line in end.errors] == keys
    assert end.stderr.count("shim: hint: ") == len(keys)


def test_two_names_stand_in_the_schemas_order(shim: Shim) -> None:
    (shim.folder / "s").write_text("# @required\nA=\n# @required\nB=\n# @required\nC=\n")

    end = shim("--schema", "s", "true", secrets={"b": "1", "B": "2"})

    assert [next(word for word in text.split() if word in "ABC") for text in end.errors] == ["A", "B", "C"]


def test_a_missing_key_names_every_place(shim: Shim) -> None:
    end = shim("--require", "DB_PASSWORD", "--", "true", env={"SHIM_SECRETS_DIR": ""})

    assert end.code == 100
    assert end.stderr == (
        "shim: error: DB_PASSWORD is required, and nothing provides it\n"
        "shim: hint: looked at DB_PASSWORD, DB_PASSWORD_FILE, /run/secrets/db_password, ./secrets/db_password\n"
    )


@pytest.mark.usefixtures("as_root")
def test_breaches_and_an_unreadable_file_together_say_change(shim: Shim) -> None:
    """111 only when a retry alone may help."""
    (shim.root / "a").write_text("v")
    (shim.root / "a").chmod(0)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    assert shim("--require", "MISSING", "true", before=nobody).code == 100


# --- the working directory ------------------------------------------------------------------------------------------


def test_a_working_directory_that_is_gone(shim: Shim) -> None:
    """Nothing lies below it; variables that hold absolute paths stay what they are."""
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    env = {"SHIM_SECRETS_DIR": "", "SSL_CERT_FILE": "/etc/ssl/cert.pem", "A_FILE": "elsewhere/a"}
    if shim.form == "module":
        env["PYTHONPATH"] = str(REPOSITORY)

    end = shim("--", "env", env=env, before=("sh", "-c", script, "sh"))

    assert (end.code, end.stderr) == (0, "")
    assert {"SSL_CERT_FILE=/etc/ssl/cert.pem", "A_FILE=elsewhere/a"} <= set(end.stdout.splitlines())


def test_a_working_directory_that_is_closed_to_the_user(frozen: Shim, as_root: None) -> None:
    """Engines enter it as root: `WORKDIR /root` with `USER app` starts without the shim, and with it."""
    closed = frozen.folder / "closed"
    closed.mkdir(0o700)
    (closed / ".env.schema").write_text("# @required\nNOT_OURS=\n")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    env = {"SHIM_SECRETS_DIR": "", "A": "v"}

    assert frozen("--require", "A", "true", env=env, before=nobody, cwd=closed) == (0, "", "")
    told = frozen("explain", "--require", "A", env=env, before=nobody, cwd=closed)
    assert "./secrets  left alone: the working directory is closed to us" in told.stdout
    (frozen.folder / "open").mkdir()
    (frozen.folder / "open" / ".env.schema").write_text("A=\n")
    (frozen.folder / "open" / ".env.schema").chmod(0o600)
    refused = frozen("true", env=env, before=nobody, cwd=frozen.folder / "open")
    assert (refused.code, "world-readable" in refused.stderr) == (111, True)
