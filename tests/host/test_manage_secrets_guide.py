"""The way of a person who has a `.env`: to files, to the Swarm; every service sees the same bytes at each stage.

Only what is empty is not set afterwards: an empty file has no value.
"""

import json
import os
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.host import Manage, PrivateSwarm

# What burnt people most, and what a shell, a terminal, YAML or a URL could trip over.
VALUES = r"""
PLAIN=c4n4ry
EMPTY=
EMPTY_QUOTED=""
SPACES='  both ends  '
HASH=pass#word
CUT=value # a comment
HASH_QUOTED='value # no comment'
DOLLAR_SINGLE='pa$$word$HOME${X}'
DOLLAR_DOUBLED=pa$$word
DOLLAR_ESCAPED="pa\$word"
DOLLAR_NUMBER=pa$1word
REFERENCE=${PLAIN}-and-more
REFERENCE_BRACE="x${PLAIN}y"
DEFAULTED=${NOT_THERE:-fallback}
ALTERNATIVE=${PLAIN:+alternative}
BACKSLASH=C:\path\new
BACKSLASH_DOUBLE="C:\\path"
NEWLINES="one\ntwo"
TABS="one\ttwo"
MULTILINE="one
two # no comment

four"
PEM='-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC+/=
-----END PRIVATE KEY-----'
QUOTE_INSIDE=it's "quoted"
QUOTE_ESCAPED="say \"hello\""
SINGLE_IN_DOUBLE="it's"
EQUALS=a=b==c
COLON: yaml style
URL=postgres://user:p%40ss@host:5432/db?x=1&y=2#frag
JSON='{"a": [1, 2, {"b": "c"}], "d": "e\n"}'
UNICODE=größe€😀
LATIN="naïve café"
PERCENT=100%
AMPERSAND=a&b;c|d
BACKTICK=`whoami`
PARENTHESES=$(whoami)
BRACES='{{.Env}}'
STAR=*
TILDE=~/x
BANG=a!b
AT=@at
EXCLAMATION='!reset'
YES=yes
NULL=null
NUMBER=007
FLOAT=1e10
export EXPORTED=exported
 INDENTED=indented
SPACED = spaced
TRAILING=trailing   
OCTAL="\0101"
ESCAPE="a\\nb"
LONG_A={long}
LAST_WINS=first
LAST_WINS=last
A_1=1
A_2=2
A_3=3
A_4=4
A_5=5
A_6=6
A_7=7
A_8=8
"""  # noqa: W291  (the blanks at a line's end are the case)


def test_the_shim_maps_every_name_back_through_the_schema(manage: Manage, shim: Shim) -> None:
    """Keys that differ only by case, or whose plain name the Swarm refuses, reach the service under their own names."""
    keys = ["DB_PASSWORD", "db_password", "_TOKEN", "CON", "apiKey", "TRAILING_", "X" * 70]
    manage.write(".env", "".join(f"{key}=value of {number}\n" for number, key in enumerate(keys)))
    schema = manage.write(".env.schema", "".join(f"# @sensitive\n{key}=\n\n" for key in keys))
    manage.json("create-from-env")

    child = shim.child(f"--secrets-dir={manage.folder / 'secrets'}", f"--schema={schema}")

    assert {key: child.env.get(key) for key in keys} == {key: f"value of {n}" for n, key in enumerate(keys)}


@pytest.mark.engine
@pytest.mark.frozen
def test_a_service_sees_the_same_bytes_before_and_after(swarm: PrivateSwarm, manage: Manage, shim_binary: Path) -> None:
    image = swarm.image_with_shim(shim_binary)
    manage.write(".env", VALUES.replace("{long}", "x" * 100_000))
    sleep = ["/busybox", "sleep", "1000"]
    before = {
        "image": image,
        "command": sleep,
        "network_mode": "none",
        "env_file": [".env"],
        "container_name": "before",
    }
    manage.write("compose.json", json.dumps({"name": "guide", "services": {"app": before}}))
    swarm.compose(manage.folder, "-f", "compose.json", "up", "--detach")
    before_all = swarm.environment("before")
    expected = {key: value for key, value in before_all.items() if value}
    assert before_all.keys() - expected.keys() == {"EMPTY", "EMPTY_QUOTED"}
    assert len(expected) >= 60

    document = manage.json("create-from-env", "--all")
    files = {item["key"]: Path(item["file"]).name for item in document["secrets"]}
    after = {
        "image": image,
        "entrypoint": ["/opt/shim/shim", "--"],
        "command": sleep,
        "network_mode": "none",
        "container_name": "after",
        "secrets": list(files.values()),
    }
    secrets = {name: {"file": f"./secrets/{name}"} for name in files.values()}
    manage.write("compose.json", json.dumps({"name": "guide", "services": {"app": after}, "secrets": secrets}))
    os.rename(manage.folder / ".env", manage.folder / "old.env")
    swarm.compose(manage.folder, "-f", "compose.json", "up", "--detach")
    assert same(swarm.environment("after"), expected)
    swarm.docker("rm", "--force", "before", "after")

    made = {item["key"]: item["name"] for item in manage.json("create-swarm")["secrets"]}
    stack = {
        "version": "3.8",
        "services": {
            "app": {
                "image": image,
                "entrypoint": ["/opt/shim/shim", "--"],
                "command": sleep,
                "secrets": list(files.values()),
                "stop_grace_period": "1s",
            }
        },
        "secrets": {files[key]: {"external": True, "name": name} for key, name in made.items()},
    }
    stack_file = manage.write("stack.json", json.dumps(stack))
    swarm.docker("stack", "deploy", "--detach=false", "--resolve-image=never", "--compose-file", stack_file, "guide")
    container = swarm.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=guide_app")
    assert same(swarm.environment(container), expected)
    # A task that ends holds its network for a moment more, and `stack rm` fails then.
    while "guide_default" in swarm.docker("network", "ls", "--format", "{{.Name}}").split():
        swarm.docker("stack", "rm", "guide", check=False)


def same(environment: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Compare what the file sets; HOSTNAME, PATH and HOME are the container's own."""
    own = {"HOSTNAME", "PATH", "HOME"}
    differing = {key for key in {*environment, *expected} - own if environment.get(key) != expected.get(key)}
    assert not differing, {key: (environment.get(key), expected.get(key)) for key in differing}
    return True
