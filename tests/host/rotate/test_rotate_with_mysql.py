"""`@rotate-with=mariadb(…)` in front of a real MySQL: `MYSQL_IMAGE=mysql:9`, or any image that holds mysqld and mysql.

Debian 12 has no MySQL that CI could make an image of.
"""

import os

import pytest

from tests.support.engine import Engine, Start
from tests.support.forms import Custody
from tests.support.host import Canary
from tests.support.rotation_inside import NAME, change

IMAGE = os.environ.get("MYSQL_IMAGE", "")
__test__ = bool(IMAGE)
pytestmark = pytest.mark.engine

SERVER = """\
mkdir -p /data /run/mysqld
set -- --user=root --datadir=/data --secure-file-priv= --socket=/run/mysqld/mysqld.sock
set -- "$@" --general-log=1 --general-log-file=/data/general.log --log-bin=/data/changes --mysqlx=off
mysqld "$@" --initialize-insecure && exec mysqld "$@"
"""
MAKE = "CREATE USER 'odd\"ro''le'@'%' IDENTIFIED BY 'x'; ALTER USER root@localhost IDENTIFIED BY "


def test_mysql_gets_the_new_password_and_keeps_it_out_of_its_logs(
    engine: Engine, start: Start, service: str, canary: Canary, custody: Custody
) -> None:
    options = ("--label", f"com.docker.compose.service={service}", "--entrypoint", "sh", "--network", "none")
    container = start(IMAGE, "-c", SERVER, options=options)
    client = ("exec", "--interactive", container, "mysql", "--user=root", "--socket=/run/mysqld/mysqld.sock")
    wait = "until mysql -u root -e 'SELECT 1'; do kill -0 1 || exit; done"
    engine.docker("exec", container, "timeout", "120", "sh", "-c", wait)
    root_password, old, new = canary(), canary() + "é ' \\ $ ", canary() + '" \\n'
    engine.docker(*client, input=f"{MAKE}'{root_password}';")
    text = f"mariadb(user={NAME}, service={service}, adminKey=MYSQL_ROOT_PASSWORD)"
    root = {"MYSQL_ROOT_PASSWORD": root_password}

    def opens(password: str) -> bool:
        # The password goes in on stdin, as the client's configuration.
        quoted = password.replace("\\", "\\\\").replace('"', '\\"')
        command = ("mysql", "--defaults-extra-file=/dev/stdin", "--default-character-set=utf8mb4", f"--user={NAME}")
        script = ("sh", "-c", 'exec "$@" --execute "SELECT 1" </dev/stdin', "sh", *command)
        configuration = f'[client]\npassword="{quoted}"\nsocket=/run/mysqld/mysqld.sock\n'
        return (
            engine.docker("exec", "--interactive", container, *script, input=configuration, check=False).returncode == 0
        )

    inside = change(engine, text, old, new, root)
    assert inside.check() == []
    assert inside.keeps_both
    inside.take_back()
    inside.begin()
    inside.begin()  # by a run that goes on
    assert opens(new)
    assert opens(old)
    change(engine, text, old, new, root).take_back()
    assert opens(old)
    assert not opens(new)
    inside.begin()
    inside.finish()
    inside.finish()
    assert opens(new)
    assert not opens(old)
    back = change(engine, text, new, old, root)  # a rollback
    back.begin()
    assert opens(new)
    assert opens(old)
    back.finish()
    assert not opens(new)
    assert "its admin is not let in" in change(engine, text, old, new, {"MYSQL_ROOT_PASSWORD": "not it"}).check()[0]
    nobody = change(engine, text.replace(NAME, "nobody"), old, new, root)
    assert nobody.check() == [f"PASSWORD: mariadb in {service} refuses: it has no such user"]
    custody.said.append(
        engine.docker("exec", container, "sh", "-c", "cat /data/*.log /data/changes.0* | tr -cd '[:print:]'").stdout
    )
