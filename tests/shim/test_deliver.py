"""Values handed over as files: private copies on tmpfs, sealed memory files, rendered configuration."""

import os
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from shim.secret import clean
from tests.support.forms import Shim

SHOW = 'stat -c \'%a %u %g %F\' "$A_FILE" && stat -f -c %T "$A_FILE" && cat "$A_FILE"'
NOBODY = ["--user", "65534:65534"]


@pytest.fixture
def schema(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("# @deliver=file\nA=\n")
    (tmp_path / "memfd").write_text("# @deliver=memfd\nA=\n")
    (tmp_path / "none").write_text("# @deliver=none\nA=\n")


def private(*command: str) -> list[str]:
    """Return a wrapper with a /dev/shm, a /run and a /tmp of its own; *command* is run before."""
    script = "; ".join(["mount -t tmpfs none /dev/shm", "mount -t tmpfs none /run", *command, 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


# In front of a start: what is left on each tmpfs that it had for itself is listed behind its own output.
LISTED = private('"$@"', "code=$?", "find /dev/shm /run -mindepth 1", "exit $code")


@pytest.mark.usefixtures("schema", "as_root")
def test_a_private_copy_on_tmpfs(shim: Shim) -> None:
    """0400, on tmpfs, owned by the target user; the value is in no variable."""
    end = shim("--schema", "file", "--", "sh", "-c", SHOW + "; env", before=private(), a="value\n")

    assert end.code == 0
    assert end.stdout.startswith("400 0 0 regular file\ntmpfs\nvalue")
    assert "A_FILE=/dev/shm/shim-" in end.stdout
    assert "\nA=" not in end.stdout


@pytest.mark.usefixtures("schema", "as_root")
def test_the_copy_is_the_target_users(shim: Shim) -> None:
    (shim.root / "a").write_text("value")
    (shim.root / "a").chmod(0o400)

    end = shim("--schema", "file", *NOBODY, "--", "sh", "-c", SHOW, before=private())

    assert (end.code, end.stdout) == (0, "400 65534 65534 regular file\ntmpfs\nvalue"), end
    end = shim("--schema", "file", *NOBODY, "--", "sh", "-c", 'stat -c "%a %u" "${A_FILE%/*}"', before=private())
    assert end.stdout == "700 65534\n"


@pytest.mark.usefixtures("schema", "as_root")
def test_umask_does_not_change_it(shim: Shim) -> None:
    end = shim("--schema", "file", "--", "sh", "-c", SHOW, before=private("umask 777"), a="value")

    assert end.stdout.startswith("400 ")


@pytest.mark.usefixtures("schema", "as_root")
def test_what_an_environment_cannot_carry(shim: Shim) -> None:
    """A NUL byte, or more than 131,071 bytes, can be delivered as a file."""
    value = b"\0" + os.urandom(200_000) + b"x"
    (shim.root / "a").write_bytes(value)
    for kind in ("file", "memfd"):
        end = shim("--schema", kind, "--", "sh", "-c", 'cat "$A_FILE" >got', before=private())
        assert end.code == 0, end
        assert (shim.folder / "got").read_bytes() == value


@pytest.mark.usefixtures("schema", "as_root")
def test_the_first_tmpfs_that_can_be_written_is_taken(shim: Shim) -> None:
    before = private("mount -o remount,ro /dev/shm")

    end = shim("--schema", "file", "--", "sh", "-c", 'echo "$A_FILE"', before=before, a="v")

    assert end.stdout.startswith("/run/shim-")


@pytest.mark.usefixtures("schema", "as_root")
@pytest.mark.parametrize(("mode", "code", "said"), [("755", 0, ["/run", "1"]), ("700", 100, ["0"])])
def test_a_tmpfs_that_the_user_cannot_enter_is_none(shim: Shim, mode: str, code: int, said: list[str]) -> None:
    """Root could make a folder there, and the service would not reach it; none is left of those that were tried."""
    closed = (
        "mount -o remount,ro /dev/shm",
        f"chmod {mode} /run",
        "mount --bind /tmp /tmp",
        "mount -o remount,ro,bind /tmp",
    )
    after = ('"$@"', "code=$?", "find /run -name 'shim-*' | wc -l", "exit $code")
    show = ("sh", "-c", 'cat "$A_FILE" >/dev/null && echo "${A_FILE%/shim-*}"')

    end = shim("--schema", "file", *NOBODY, "--", *show, before=private(*closed, *after), a="v")

    assert (end.code, end.stdout.split()) == (code, said), end


@pytest.mark.usefixtures("schema", "as_root")
def test_without_a_tmpfs_it_is_refused(shim: Shim) -> None:
    script = "for d in /dev/shm /run; do mount -t tmpfs -o ro none $d; done; mount --bind /tmp /tmp; "
    before = ["unshare", "--mount", "sh", "-c", script + 'mount -o remount,ro,bind /tmp; exec "$@"', "sh"]

    end = shim("--schema", "file", "true", before=before, a="v")

    assert end.code == 100
    assert "needs a tmpfs" in end.errors[0]
    assert shim("--schema", "memfd", "true", before=before).code == 0


@pytest.mark.parametrize("size", ["nr_inodes=1", "size=4k"])
@pytest.mark.usefixtures("schema", "as_root")
def test_a_full_tmpfs_is_named(frozen: Shim, size: str) -> None:
    before = private(f"mount -t tmpfs -o {size} none /dev/shm", "head -c 4096 /dev/zero >/dev/shm/full || :")

    end = frozen("--schema", "file", "true", a="v", before=before)

    assert (end.code, len(end.errors)) == (111, 1)
    assert "cannot be written: No space left on device" in end.errors[0]
    assert "--shm-size" in end.stderr


@pytest.mark.usefixtures("schema", "as_root")
def test_nothing_is_left_when_the_service_does_not_start(shim: Shim) -> None:
    (shim.folder / "t").write_text("${A}")

    for program in ("no-such-program", "/tmp"):
        end = shim("--schema", "file", "--allow-disk", "--render", "t:conf", "--", program, before=LISTED, a="v")
        assert (end.code in (126, 127), end.stdout) == (True, ""), end
    end = shim("--schema", "file", "--require", "B", "true", before=LISTED)
    assert (end.code, end.stdout) == (100, ""), end
    assert not list(shim.folder.glob("conf*"))


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize("user", [[], NOBODY])
def test_a_memory_file(shim: Shim, user: list[str], as_root: None) -> None:
    """Sealed, on no disk, readable by the target user, and the only descriptor that is added."""
    script = (
        'ls -l /proc/self/fd | grep -c memfd:; cat "$A_FILE" "$A_FILE"; (echo x >"$A_FILE") 2>/dev/null || echo sealed'
    )

    end = shim("--schema", "memfd", *user, "--", "sh", "-c", script, a="value\n")

    assert end.stdout == "1\nvalue\nvalue\nsealed\n", end
    env = shim.child("--schema", "memfd", *user).env
    assert env["A_FILE"].startswith("/proc/self/fd/")
    assert int(env["A_FILE"].rpartition("/")[2]) > 2
    assert "A" not in env


@pytest.mark.usefixtures("schema")
def test_a_memory_file_is_never_a_standard_stream(shim: Shim, launch: str) -> None:
    (shim.root / "a").write_text("v")
    closed = [launch, "-c", "0"] + (["-c", "1", "-c", "2"] if shim.form == "frozen" else [])

    env = shim.child("--schema", "memfd", before=closed).env

    assert int(env["A_FILE"].rpartition("/")[2]) > 2


@pytest.mark.usefixtures("schema")
def test_nothing_is_delivered(shim: Shim) -> None:
    """For a value that another one is composed from."""
    (shim.folder / "none").write_text('# @deliver=none\nA=\n# @composed="<${A}>"\nB=\n')

    child = shim.child("--schema", "./none", env={"A": "old", "A_FILE": str(shim.root / "a")}, a="old")

    assert child.env == {"PATH": "/usr/bin:/bin", "B": "<old>"}


@pytest.mark.usefixtures("schema")
def test_a_variable_of_the_environment_is_delivered_as_a_file_too(shim: Shim) -> None:
    child = shim.child("--schema", "memfd", env={"A": "value"})

    assert "A" not in child.env
    assert "A_FILE" in child.env


@pytest.mark.usefixtures("schema", "as_root")
def test_exec_leaves_no_file(shim: Shim) -> None:
    """A health check every few seconds must not fill a tmpfs."""
    end = shim("exec", "--schema", "file", "--", "sh", "-c", 'cat "$A_FILE"', before=LISTED, a="value")

    assert (end.code, end.stdout) == (0, "value")


# --- rendered files --------------------------------------------------------------------------------------------------


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template"
    path.write_text('requirepass "${A}"\n# $$ is a dollar, $host is left\n${A|json} ${A|url} ${PATH}\n')
    return path


@pytest.mark.usefixtures("as_root")
def test_a_config_file_is_rendered(shim: Shim, template: Path) -> None:
    value = 'p"$\\ ü'
    show = "cat /run/redis.conf; stat -c '%a %u %g' /run/redis.conf"
    expected = (
        'requirepass "p"$\\ ü"\n# $ is a dollar, $host is left\n"p\\"$\\\\ ü" p%22%24%5C%20%C3%BC /usr/bin:/bin\n400 '
    )
    for user, owner in (([], "0 0"), (NOBODY, "65534 65534")):
        options = ["--render", "template:/run/redis.conf", *user]
        end = shim(*options, "--", "sh", "-c", show, before=private("umask 0"), a=value)
        assert (end.code, end.stdout) == (0, expected + owner + "\n"), end
    end = shim("sh", "-c", show, before=private(), env={"SHIM_RENDER": "template:/run/redis.conf"})
    assert end.stdout.startswith("requirepass")


@pytest.mark.usefixtures("template")
def test_on_a_disk_it_is_refused_without_allow_disk(shim: Shim) -> None:
    end = shim("--render", "template:/sys/conf", "true", a="v")
    assert end.code == 100
    assert "/sys/conf is not on tmpfs" in end.errors[0]
    assert shim("--allow-disk", "--render", "template:conf", "true").code == 0
    assert (shim.folder / "conf").stat().st_mode & 0o7777 == 0o400
    assert not list(shim.folder.glob("conf.*"))


@pytest.mark.usefixtures("template")
def test_an_older_file_and_a_link_are_replaced(shim: Shim) -> None:
    (shim.folder / "conf").write_text("old")
    (shim.folder / "elsewhere").write_text("untouched")
    (shim.folder / "link").symlink_to("elsewhere")

    end = shim("--allow-disk", "--render", "template:conf", "--render", "template:link", "true", a="v")

    assert end.code == 0
    assert "requirepass" in (shim.folder / "conf").read_text()
    assert (shim.folder / "elsewhere").read_text() == "untouched"


@pytest.mark.parametrize(
    ("render", "words"),
    [
        ("template", "takes TEMPLATE:DEST"),
        (":conf", "takes TEMPLATE:DEST"),
        ("template:", "takes TEMPLATE:DEST"),
        ("missing:conf", "cannot be read"),
        ("root:conf", "is not a file"),
        ("unknown:conf", "hint: provide NOT_THERE, or write $${NOT_THERE} for"),
        ("malformed:conf", "line 2"),
        ("binary:conf", "B is not UTF-8 text"),
        ("template:missing/conf", "the folder missing"),
        ("template:root", "is a directory"),
        ("template:null", "is a device"),
        ("template:stdout", "is a link into /proc"),
    ],
)
@pytest.mark.usefixtures("template")
def test_what_cannot_be_rendered(shim: Shim, render: str, words: str) -> None:
    (shim.folder / "unknown").write_text("${NOT_THERE} ${NOT_THERE}")
    (shim.folder / "malformed").write_text("\n${A|nope}")
    (shim.folder / "binary").write_text("${B|json}")
    if os.geteuid() == 0:
        os.mknod(shim.folder / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        (shim.folder / "stdout").symlink_to("/proc/self/fd/1")
    elif render.endswith(("null", "stdout")):
        pytest.skip("root alone makes devices")

    end = shim("--allow-disk", "--render", render, "--require", "OTHER", "true", a="v", b=b"\xff")

    assert end.code == 100
    assert len(end.errors) == 2, end.stderr
    assert words in end.stderr
    assert not (shim.folder / "conf").exists()


def test_a_template_may_be_large_and_binary(frozen: Shim) -> None:
    text = b"\xff\0\r\n" * 1000 + b"${A}"
    (frozen.folder / "t").write_bytes(text)

    assert frozen("--allow-disk", "--render", "t:conf", "true", a="v").code == 0
    assert (frozen.folder / "conf").read_bytes() == text.replace(b"${A}", b"v")


# --- who owns them --------------------------------------------------------------------------------------------------

HARDENED = ["setpriv", "--bounding-set=-all,+setuid,+setgid"]


@pytest.mark.usefixtures("schema", "as_root")
@pytest.mark.parametrize("options", [[], ["--init"]], ids=["exec", "init"])
def test_two_capabilities_suffice(frozen: Shim, template: Path, options: list[str]) -> None:
    """With SETUID and SETGID alone every file is made by the user who owns it, and --init removes it again."""
    render = ["--render", "template:/dev/shm/conf"]
    show = 'cat "$A_FILE"; for f in "$A_FILE" "${A_FILE%/*}" /dev/shm/conf; do stat -L -c "%a %u:%g" "$f"; done'
    look = "find /dev/shm /run ! -type d"

    start = [*options, "--schema", "file", *NOBODY, *render, "--", "sh", "-c", show]

    file = frozen(*start, before=[*private(), *HARDENED, "sh", "-c", f'"$@"; {look}', "sh"], a="value")
    memfd = frozen("--schema", "memfd", *NOBODY, "--", "sh", "-c", 'cat "$A_FILE"', before=HARDENED)

    assert file.stdout.startswith("value400 65534:65534\n700 65534:65534\n400 65534:65534\n"), file
    assert len(file.stdout.splitlines()) == (3 if options else 4)
    assert memfd.stdout == "value", memfd
    assert template.exists()


@pytest.mark.usefixtures("template", "as_root")
def test_the_missing_capability_is_named(frozen: Shim) -> None:
    """A folder that only root can write to wants CHOWN of whom renders for another user; nothing is left in it."""
    render = [*NOBODY, "--render", "template:/run/conf", "--", "sh", "-c", "cat /run/conf"]

    hard = frozen(*render, before=[*private("chmod 755 /run"), *HARDENED], a="value")
    soft = frozen(*render, before=private("chmod 755 /run"))

    assert hard.code == 100
    assert "/run/conf: user nobody cannot write to its folder" in hard.errors[0]
    assert "cap_add: [CHOWN]" in hard.stderr
    assert soft.stdout.startswith('requirepass "value"')


@pytest.mark.usefixtures("as_root")
def test_a_file_has_an_owner_a_mode_and_a_variable_of_its_own(frozen: Shim) -> None:
    """For a service that drops root by itself, or looks for the path under another name."""
    (frozen.folder / "schema").write_text(
        "# @deliver=file(owner=65534:65533, mode=0440, as=KUBECONFIG)\nA=\n"
        "# @deliver=file(as=OTHER)\nB=\n# @deliver=memfd(as='MEMORY')\nC=\n"
    )
    show = 'stat -L -c "%a %u:%g" "$KUBECONFIG" "${KUBECONFIG%/*}" "$OTHER" "${OTHER%/*}"; cat "$MEMORY"; env'

    options = ["--schema", "schema", "--", "sh", "-c", show]

    end = frozen(*options, before=private(), env={"KUBECONFIG": "/old"}, a="1", b="2", c="3")

    assert end.stdout.startswith("440 65534:65533\n750 65534:65533\n400 0:0\n700 0:0\n3"), end
    assert not any(name in end.stdout for name in ("A_FILE=", "B_FILE=", "C_FILE=", "\nA=", "/old"))


@pytest.mark.parametrize(
    ("decorator", "words"),
    [
        ("file(owner=nobody-here)", "A: @deliver=file(owner=nobody-here): there is no user 'nobody-here'"),
        ("file(owner=)", "owner must be a user"),
        ("file(mode=888)", "mode must be octal"),
        ("file(mode=0044)", "mode must be octal"),
        ("file(mode=10400)", "mode must be octal"),
        ("file(as=1X)", "as must be the name of a variable"),
        ("file(as=SHIM_USER)", "as must be the name of a variable"),
        ("file(group=x)", "@deliver=file does not take 'group'"),
        ("memfd(owner=nobody)", "@deliver=memfd does not take 'owner'"),
        ("env(as=X)", "@deliver=env takes nothing between parentheses"),
        ("files", "@deliver takes env, file, memfd or none"),
    ],
)
def test_how_a_file_cannot_be_delivered(frozen: Shim, decorator: str, words: str) -> None:
    (frozen.folder / "schema").write_text(f"# @deliver={decorator}\nA=\n")

    end = frozen("--schema", "schema", "--", "true", a="value")

    assert end.code == 100
    assert words in end.errors[0]


@pytest.mark.usefixtures("schema", "as_root")
def test_who_cannot_change_user_delivers_to_themselves(frozen: Shim) -> None:
    """An arbitrary uid that an engine chose: what the image says of owners is said to be impossible, and goes on."""
    (frozen.folder / "schema").write_text("# @deliver=file(owner=nobody)\nA=\n")
    somebody = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]

    end = frozen("--schema", "schema", "--", "sh", "-c", SHOW, before=[*private(), *somebody], env={"A": "value"})

    assert end.stdout == "400 12345 12345 regular file\ntmpfs\nvalue", end
    assert "A: @deliver=file(owner=nobody): started as uid 12345" in end.stderr


@pytest.mark.usefixtures("template", "as_root")
def test_a_rendered_file_has_an_owner_of_its_own(frozen: Shim) -> None:
    """For an entrypoint that becomes its own user, to whom root's file would be closed."""
    show = "stat -c '%a %u:%g' /dev/shm/conf"

    end = frozen("--render", "template:/dev/shm/conf:65534:65533", "--", "sh", "-c", show, before=private(), a="v")
    nobody = frozen("--render", "template:/dev/shm/conf:nobody-here", "--", "true", before=private())

    assert (end.code, end.stdout) == (0, "400 65534:65533\n"), end
    assert "--render: /dev/shm/conf for nobody-here: there is no user 'nobody-here'" in nobody.errors[0]
    assert frozen("--render", "template:/dev/shm/conf:", "--", "true").code == 100


@pytest.mark.usefixtures("schema", "as_root")
@pytest.mark.parametrize("user", [[], NOBODY], ids=["root", "nobody"])
def test_a_restart_leaves_one_folder(frozen: Shim, user: list[str]) -> None:
    """Where /dev/shm outlives the container, the lives before are recognised, and another service's are left alone."""
    thrice = 'for i in 1 2 3; do unshare --pid --fork --mount-proc "$@"; done; "$@" other; "$@"; find /dev/shm -type f'

    end = frozen("--schema", "file", *user, "--", "true", before=[*private(), "sh", "-c", thrice, "sh"], a="value")

    assert (end.code, len(end.stdout.splitlines())) == (0, 2), end


@pytest.mark.usefixtures("schema", "as_root")
def test_a_folder_in_use_is_left_alone(frozen: Shim) -> None:
    """Several of one command at a time, in one container, keep their own copies."""
    both = 'mkfifo f g; "$@" <f & exec 3>f; "$@" <g & exec 4>g; "$@"; echo >&3; echo >&4; wait'
    uses = 'cat "$A_FILE"; read -r x; cat "$A_FILE"'

    end = frozen("--schema", "file", "--", "sh", "-c", uses, before=[*private(), "sh", "-c", both, "sh"], a="value")

    assert end.stdout.count("value") == 6, end


@pytest.mark.parametrize("content", [b"key\n", b"key\r\n\r\n", b"\xef\xbb\xbfkey\n", b"\xff\xfek\0\n\0", b"\xed\r\n"])
@pytest.mark.parametrize("way", ["file", "memfd", "exec"])
def test_a_file_is_handed_over_byte_for_byte(frozen: Shim, way: str, content: bytes) -> None:
    """ssh refuses a key without its last line end, and binary key material may well end in one."""
    delivery = "memfd" if way == "memfd" else "file"
    (frozen.folder / "exact").write_text(f'# @deliver={delivery}\nA=\n# @composed="<${{A|base64}}>"\nB=\n')
    front = ["exec"] if way == "exec" else []
    script = 'cmp "$A_FILE" "$1" && echo same'

    for env in ({}, {"A_FILE": str(frozen.root / "a")}):
        end = frozen(
            *front, "--schema", "exact", "--", "sh", "-c", script, "sh", f"{frozen.root}/a", env=env, a=content
        )
        assert (end.code, end.stdout) == (0, "same\n"), end
    composed = frozen("--schema", "exact", "--", "sh", "-c", "echo $B").stdout
    assert composed == f"<{b64encode(clean(content)).decode()}>\n", "what becomes a variable loses its line ends"
