"""What runs beside a service resolves as its start did, with the options of PID 1's shim."""

import pytest

from tests.support.forms import Shim, cannot_run
from tests.support.provoked import provokes

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
# The environment of `docker exec` is the image's, without what PID 1 has resolved.
BESIDE = 'env -u API_KEY -u DB_PASSWORD "$@"'


@pytest.fixture(params=("module", "frozen"))
def shim(request: pytest.FixtureRequest, make_shim: object) -> Shim:
    """Return the shim in the two forms whose command lines differ."""
    return make_shim(request.param)  # type: ignore[operator,no-any-return]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "front",
    [
        [],
        ["docker-init", "--"],
        ["tini", "-s", "-e", "143", "--"],
        ["dumb-init", "--rewrite", "15:3", "--"],
    ],
    ids=["alone", "engine", "tini", "dumb-init"],
)
def test_exec_has_the_options_of_the_first_process(shim: Shim, front: list[str]) -> None:
    """Its own flags win; an init of the engine in front is seen through."""
    (shim.root / "api_key").write_text("key")
    (shim.folder / "other").mkdir()
    (shim.folder / "other" / "api_key").write_text("another")
    start = ["--init", "--secrets-dir", str(shim.root), "-v", "--", "sh", "-c", BESIDE, "sh", *shim.command, "exec"]
    named = {"SHIM_SECRETS_DIR": "/nonexistent"}
    before = [*NAMESPACE, *front]
    if front and not _is_there(front[0]):
        cannot_run(f"{front[0]} is not installed")

    same = shim(*start, "--", "sh", "-c", "echo $API_KEY", env=named, before=before)
    own = shim(*start, "--secrets-dir", "other", "--", "sh", "-c", "echo $API_KEY", env=named, before=before)

    assert (same.stdout, own.stdout) == ("key\n", "another\n"), same
    assert same.stderr.count("from") == 1


def _is_there(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None


@pytest.mark.usefixtures("as_root")
def test_check_and_explain_have_them_too(frozen: Shim) -> None:
    root = ["--secrets-dir", str(frozen.root)]
    start = ["--init", *root, "--require", "DB_PASSWORD", "--", "sh", "-c", BESIDE, "sh", *frozen.command]

    check = frozen(*start, "check", before=NAMESPACE, db_password="value")
    (frozen.root / "db_password").unlink()
    missing = frozen(*start, "check", before=NAMESPACE, env={"DB_PASSWORD": "value"})
    explain = frozen(*start, "explain", before=NAMESPACE, env={"DB_PASSWORD": "value"})

    assert (check.code, missing.code) == (0, 100)
    assert "DB_PASSWORD  absent" in explain.stdout


@pytest.mark.usefixtures("as_root")
def test_a_service_in_the_first_place_says_nothing(frozen: Shim) -> None:
    """What is not a shim has options of its own, whatever they are called."""
    script = 'exec -a shimmer sh -c \'"$@"; true\' sh "$@"'

    end = frozen("exec", "--", "echo", "ran", before=[*NAMESPACE, "bash", "-c", script, "--secrets-dir"])

    assert (end.code, end.stdout, end.stderr) == (0, "ran\n", "")


@pytest.mark.usefixtures("as_root")
@provokes("the options of PID 1's shim are left alone: it runs as user …, who could change them")
def test_root_follows_no_options_of_another_users_first_process(frozen: Shim) -> str:
    """A service in the first place may call itself a shim that asks for LD_PRELOAD, and wait for root to look."""
    script = """
        mkfifo go end && exec 3<>go 4<>end
        (read -r _ <&3; "$@" echo root; setpriv $WHO "$@" echo user; echo $? >&4) &
        API_KEY=key exec setpriv $WHO "$1" --init --require API_KEY -- sh -c 'echo >&3; read -r code <&4; exit $code'
    """
    who = {"WHO": "--reuid=12345 --regid=12345 --clear-groups"}

    end = frozen("exec", "--", before=[*NAMESPACE, "bash", "-c", script, "bash"], env=who)

    assert (end.code, end.stdout) == (100, "root\n"), end
    assert end.stderr.count("shim: warning: ") == 1
    return end.stderr
