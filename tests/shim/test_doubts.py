"""Values that look like mistakes are reported, never repeated; a reference that nobody resolved is not a password."""

from collections.abc import Callable

import pytest

from shim.doubts import STORES
from shim.resolution import REFERENCES
from tests.support.forms import Shim

Canary = Callable[[], str]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("DB_PASSWORD={canary}", "begins with DB_PASSWORD="),
        ("export db_password={canary}", "begins with DB_PASSWORD="),
        ("db_password: {canary}", "begins with DB_PASSWORD:"),
        ("A={canary}\nexport B={canary}\n# a note\n", "lines of KEY=value"),
        ('"{canary}"', "in quotes"),
        ("'{canary}'", "in quotes"),
        (" {canary}", "white space"),
        ("{canary}\t", "white space"),
        ("{canary}\r", "white space"),
        ("{root}/db_password", "holds the path of an existing file"),
        ("postgresql://app:${{DB_PASSWORD}}@db/{canary}", "a reference"),
        ("{canary}{{{{ password }}}}", "a reference"),
        ("file:///run/secrets/{canary}", "a file: URL"),
        ("E{canary} ", "white space"),
        ("E{canary}${{X}}", "a reference"),
    ],
)
def test_a_likely_mistake_is_a_warning(frozen: Shim, canary: Canary, value: str, said: str) -> None:
    """The value arrives as it is; `@literal` says that it is meant; a health check says nothing."""
    text = value.format(canary=canary(), root=frozen.root)
    (frozen.folder / "literal").write_text("# @literal @required @sensitive\nDB_PASSWORD=\n")
    (frozen.folder / "sensitive").write_text("# @required @sensitive\nDB_PASSWORD=\n")

    for options in ((), ("--require", "DB_PASSWORD"), ("--schema", "sensitive")):
        end = frozen(*options, "--", "sh", "-c", 'test -n "$DB_PASSWORD"', db_password=text)
        assert end.code == 0, end
        assert end.stderr.count("warning:") == 1, end
        assert said in end.stderr
    assert frozen.child("--schema", "literal").env["DB_PASSWORD"] == text.rstrip("\n")
    assert frozen("exec", "--", "true") == (0, "", "")
    assert said in frozen("check").stderr


@pytest.mark.parametrize(
    "value",
    [
        "op://vault/item/{canary}",
        "vault:secret/data/db#{canary}",
        "se://{canary}",
        "dso://{canary}",
        "ref+awssecrets://{canary}",
        "ENC[AES256_GCM,data:{canary}]",
        "encrypted:{canary}",
        "${{DB_PASSWORD}}",
        "${{OTHER:-{canary}}}",
        "{{{{ .Data.{canary} }}}}",
        "$ANSIBLE_VAULT;1.1;AES256\n{canary}",
        "@Microsoft.KeyVault(SecretUri={canary})",
        "-----BEGIN PGP MESSAGE-----\n{canary}",
        "$(DB_PASSWORD)",
        '"op://vault/item/{canary}"',
        " vault:secret/data/db#{canary}",
        "'${{DB_PASSWORD}}'",
    ],
)
def test_a_reference_that_nobody_resolved(frozen: Shim, canary: Canary, value: str) -> None:
    """Refused for a key that is required or sensitive, from wherever it comes; a warning elsewhere."""
    text = value.format(canary=canary())
    (frozen.folder / "s").write_text("# @sensitive\nDB_PASSWORD=\n")
    (frozen.folder / "literal").write_text("# @required @literal\nDB_PASSWORD=\n")

    for ways in ({"env": {"DB_PASSWORD": text}}, {"db_password": text}):
        for options in (("--require", "DB_PASSWORD"), ("--schema", "s")):
            end = frozen(*options, "--", "true", **ways)
            assert end.code == 100
            assert "which has not been resolved" in end.errors[0]
            assert "@literal" in end.stderr
    end = frozen("sh", "-c", 'test -n "$DB_PASSWORD"')
    assert (end.code, end.stderr.count("which has not been resolved")) == (0, 1)
    assert frozen.child("--schema", "literal").env["DB_PASSWORD"] == text


@pytest.mark.parametrize(
    "value",
    [
        "$a`b`\\n\"q' &<>!#;|*~ %s $$",
        "postgresql://app:p%40ss@db:5432/app?sslmode=require",
        "YWJjZA==",
        "Encore1",
        "-----BEGIN X-----\nAA\n-----END X-----",
        "line\nline",
        "{}",
        "A=B",
        "opening://",
    ],
)
def test_a_value_that_only_looks_odd_is_none(frozen: Shim, value: str) -> None:
    assert frozen.child("--require", "A_B", a_b=value).env["A_B"] == value


def test_a_path_is_a_value_where_the_key_says_so(frozen: Shim) -> None:
    path = str(frozen.root / "cert")

    assert frozen.child("--require", "TLS_CERT", env={"TLS_CERT": path}, cert="v").env["TLS_CERT"] == path
    assert frozen.child(secrets={"socket": "/run/app.sock"}).env["SOCKET"] == "/run/app.sock"


def test_every_reference_has_a_store() -> None:
    assert tuple(STORES) == REFERENCES
