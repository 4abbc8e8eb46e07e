"""Values that live inside a system, changed there: real servers, ugly passwords, and no password in any log."""

import io
import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from pathlib import Path
from queue import SimpleQueue

import psycopg
import pytest
from shim_host.errors import Refused
from shim_host.rotate import decorator
from shim_host.rotate.inside import How, Values
from shim_host.rotate.systems.mariadb import MariaDB
from shim_host.rotate.systems.postgres import Postgres, _prepared
from shim_host.rotate.systems.redis import Redis
from shim_host.rotate.systems.system import System

from shim.secret import Secret
from tests.support.engine import UGLY, Engine, SecretsFolder, Start
from tests.support.forms import Custody
from tests.support.host import Canary, Manage
from tests.support.rotation_inside import NAME, change, spec


@pytest.fixture
def postgres(engine: Engine, start: Start, secrets_folder: SecretsFolder, service: str) -> str:
    """Return a PostgreSQL that logs every statement."""
    secrets_folder.add("postgres_password", UGLY)
    options = ("--publish", "127.0.0.1::5432", "--label", f"com.docker.compose.service={service}")
    container = start(engine.image("postgres"), "postgres", "-c", "log_statement=all", options=options)
    engine.wait_until_healthy(container)
    return container


def connects(engine: Engine, container: str, user: str, password: str) -> bool:
    return lets_in(engine.published(container, 5432), user, password)


def lets_in(address: tuple[str, int], user: str, password: str) -> bool:
    host, port = address
    try:
        psycopg.connect(host=host, port=port, user=user, dbname="app", password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def role(engine: Engine, container: str, name: str, password: str) -> None:
    host, port = engine.published(container, 5432)
    with psycopg.connect(host=host, port=port, user="app", dbname="app", password=UGLY) as connection:
        names = psycopg.sql.Identifier(name), psycopg.sql.Literal(password)
        connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(*names))


@pytest.mark.engine
def test_a_role_of_postgres_gets_its_new_password_and_back(
    engine: Engine, postgres: str, service: str, canary: Canary
) -> None:
    old, new = canary() + "é ' \\ $ ", canary() + "\u00a0ﬁ\" ' \\"
    role(engine, postgres, NAME, old)
    text = f"postgres(user={NAME}, service={service}, admin=app, database=app)"
    inside = change(engine, text, old, new)

    assert inside.check() == []
    inside.begin()
    inside.begin()
    assert connects(engine, postgres, NAME, new)
    assert not connects(engine, postgres, NAME, old)
    inside.finish()
    inside.take_back()
    assert connects(engine, postgres, NAME, old)
    assert not connects(engine, postgres, NAME, new)
    log = engine.docker("logs", postgres).stdout + engine.docker("logs", postgres).stderr
    assert "SCRAM-SHA-256$4096:" in log
    assert new[:20] not in log

    missing = change(engine, f"postgres(user=nobody, service={service}, admin=app)", old, new)
    assert missing.check() == ["PASSWORD: psql in " + service + " refuses: it has no such role"]
    assert "could not be taken back" in change(engine, text, None, new).check()[0]
    elsewhere = change(engine, f"postgres(user={NAME}, service=nowhere)", old, new)
    assert "no container of the service nowhere runs on this node" in elsewhere.check()[0]


@pytest.mark.engine
def test_two_roles_in_turn_fail_no_statement(
    engine: Engine, postgres: str, service: str, canary: Canary, record_property: Callable[[str, object], None]
) -> None:
    """Workers reconnect for each statement while the password changes; each takes what its service has by then."""
    passwords = {"app_a": canary(), "app_b": canary()}
    for name, password in passwords.items():
        role(engine, postgres, name, password)
    held = ["app_a", passwords["app_a"]]
    address = engine.published(postgres, 5432)
    done, failed, stop = [0] * 4, [0] * 4, threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            user, password = held
            if lets_in(address, user, password):
                done[number] += 1
            else:
                failed[number] += 1

    def all_connect(times: int) -> None:
        """Wait until each worker has connected as often; the first may have begun before, with what was held then."""
        before = list(done)
        while any(now < then + times for now, then in zip(done, before, strict=True)) and not any(failed):
            assert all(worker.is_alive() for worker in workers), "a worker has ended, and would never connect"
            stop.wait(0.01)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    text = f"postgres(users=app_a|app_b, userKey=DB_USER, service={service}, admin=app)"
    try:
        for _ in range(4):
            names = decorator.companions(spec(text), lambda _key: Secret(held[0].encode()))
            user, new = names["DB_USER"].reveal().decode(), canary()
            inside = change(engine, text, held[1], new, {"DB_USER": user})
            assert inside.check() == []
            inside.begin()
            all_connect(2)  # the old login goes on working before a service moves
            held[:] = [user, new]
            inside.finish()
            all_connect(2)  # and nobody has it any more when it changes
    finally:
        stop.set()
        for worker in workers:
            worker.join()

    assert not any(failed)
    record_property("statements", sum(done))


@pytest.mark.engine
def test_redis_holds_both_passwords_for_as_long_as_it_takes(
    engine: Engine, start: Start, secrets_folder: SecretsFolder, service: str, canary: Canary
) -> None:
    secrets_folder.add("redis_password", UGLY)
    container = start(engine.image("redis"), options=("--label", f"com.docker.compose.service={service}"))
    engine.wait_until_healthy(container)
    old, new = canary() + " \"'\\", canary() + "é\n\\x"

    def answers(password: str) -> bool:
        quoted = "".join(f"\\x{byte:02x}" for byte in password.encode())
        lines = f'AUTH app "{quoted}"\nPING\nQUIT\n'
        done = engine.docker("exec", "--interactive", container, "redis-cli", input=lines)
        return "PONG" in done.stdout

    text = f"redis(user=app, service={service}, adminKey=REDIS_PASSWORD)"
    first = change(engine, text, None, old, {"REDIS_PASSWORD": UGLY})
    quoted = "".join(f"\\x{byte:02x}" for byte in UGLY.encode())
    on = f'AUTH "{quoted}"\nACL SETUSER app on ~* +@all\nQUIT\n'
    engine.docker("exec", "--interactive", container, "redis-cli", input=on)
    first.begin()
    assert answers(old)
    inside = change(engine, text, old, new, {"REDIS_PASSWORD": UGLY})

    assert inside.check() == []
    inside.begin()
    assert answers(old)
    assert answers(new)
    inside.take_back()
    inside.take_back()
    assert answers(old)
    assert not answers(new)
    inside.begin()
    inside.finish()
    assert answers(new)
    assert not answers(old)
    change(engine, text, new, new, {"REDIS_PASSWORD": UGLY}).finish()  # a value is never dropped for itself
    assert answers(new)
    wrong = change(engine, text, old, new, {"REDIS_PASSWORD": "not it"}).check()
    assert "adminKey" in wrong[0]


@pytest.mark.engine
def test_mariadb_gets_the_hash_of_the_new_password(
    engine: Engine, start: Start, secrets_folder: SecretsFolder, service: str, canary: Canary, custody: Custody
) -> None:
    """Also one that calls itself MySQL, which would get the password: its log keeps each statement as it is."""
    secrets_folder.add("mariadb_root_password", UGLY)
    options = ("--label", f"com.docker.compose.service={service}")
    container = start(engine.image("mariadb"), "mariadbd", "--version=8.0.33", options=options)
    engine.wait_until_healthy(container)
    text = f"mariadb(user={NAME}, service={service}, adminKey=MARIADB_ROOT_PASSWORD)"
    old, new = canary() + "é ' \\ $ ", canary() + '" \\n'
    root = {"MARIADB_ROOT_PASSWORD": UGLY}
    create = (
        "CREATE USER 'odd\"ro''le'@'%' IDENTIFIED BY 'x'; "
        "SET GLOBAL general_log_file = 'said.log', GLOBAL general_log = 1;"
    )
    client = ("mariadb", "-u", "root", f"-p{UGLY}")
    engine.docker("exec", "--interactive", container, *client, input=create)

    def stored() -> str:
        query = "SELECT authentication_string FROM mysql.user WHERE user = 'odd\"ro''le'"
        return engine.docker("exec", container, *client, "-N", "-e", query).stdout.strip()

    inside = change(engine, text, old, new, root)
    assert inside.check() == []
    inside.begin()
    first = stored()
    assert len(first) == 41
    inside.take_back()
    assert stored() != first
    assert "its admin is not let in" in change(engine, text, old, new, {"MARIADB_ROOT_PASSWORD": "not it"}).check()[0]
    nobody = change(engine, text.replace(NAME, "nobody"), old, new, root)
    assert nobody.check() == [f"PASSWORD: mariadb in {service} refuses: it has no such user"]
    with pytest.raises(Refused, match="it has no such user"):
        nobody.begin()
    # An admin who may change passwords, and may not look at who is there.
    grant = f"CREATE USER clerk@localhost IDENTIFIED BY '{new[:4]}'; GRANT CREATE USER ON *.* TO clerk@localhost;"
    engine.docker("exec", "--interactive", container, *client, input=grant)
    clerk = change(
        engine, text.replace(", admin", ", admin=clerk, admin"), old, new, {"MARIADB_ROOT_PASSWORD": new[:4]}
    )
    assert clerk.check() == []
    clerk.begin()
    assert stored() == first
    revoke = "REVOKE CREATE USER ON *.* FROM clerk@localhost;"
    engine.docker("exec", "--interactive", container, *client, input=revoke)
    with pytest.raises(Refused, match="its admin may not do that"):
        clerk.begin()
    log = engine.docker("exec", container, "cat", "/var/lib/mysql/said.log").stdout
    assert "IDENTIFIED VIA mysql_native_password USING" in log
    custody.said.append(log)


# Reads a user and a password per line; each makes a connection and a row, and says what came of it.
WORKER = """\
while read -r user password; do
  export MYSQL_PWD="$password"
  mariadb -h 127.0.0.1 -u "$user" app -e 'INSERT INTO written VALUES (1)' >&2 && echo done || echo failed
done"""


@pytest.mark.engine
def test_two_users_of_mariadb_in_turn_fail_no_statement(
    engine: Engine, start: Start, secrets_folder: SecretsFolder, service: str, canary: Canary
) -> None:
    """Workers reconnect for each statement, through TCP, while both passwords change twice."""
    secrets_folder.add("mariadb_root_password", UGLY)
    container = start(engine.image("mariadb"), options=("--label", f"com.docker.compose.service={service}"))
    engine.wait_until_healthy(container)
    root = {"MARIADB_ROOT_PASSWORD": UGLY}
    passwords = {"app_a": canary(), "app_b": canary()}
    made = "CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.written (number INT);"
    for name, password in passwords.items():
        made += f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'; GRANT INSERT ON app.* TO {name}@'%';"
    client = ("mariadb", "-u", "root", f"-p{UGLY}")
    engine.docker("exec", "--interactive", container, *client, input=made)
    held = ["app_a", passwords["app_a"]]
    answers: list[list[str]] = [[], []]
    stop = threading.Event()

    def work(number: int) -> None:
        command = ("docker", "exec", "--interactive", container, "sh", "-c", WORKER)
        with subprocess.Popen(
            command, env=engine.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            while not stop.is_set():
                worker.stdin.write(" ".join(held) + "\n")
                worker.stdin.flush()
                answers[number].append(worker.stdout.readline().strip())
            worker.stdin.close()

    def each_writes(times: int) -> None:
        """Wait until each worker has written as often; the first may have begun before, with what was held then."""
        until = [len(said) + times for said in answers]
        while any(len(said) < least for said, least in zip(answers, until, strict=True)):
            assert all(worker.is_alive() for worker in workers)
            stop.wait(0.01)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    options = f"users=app_a|app_b, userKey=DB_USER, service={service}, adminKey=MARIADB_ROOT_PASSWORD"
    text = f"mariadb({options})"
    try:
        each_writes(2)
        for _ in range(4):
            names = decorator.companions(spec(text), lambda _key: Secret(held[0].encode()))
            user, new = names["DB_USER"].reveal().decode(), canary()
            inside = change(engine, text, None, new, {"DB_USER": user, **root})
            assert inside.check() == []
            inside.begin()
            each_writes(3)  # the old login goes on working before a service moves
            held[:] = [user, new]
            inside.finish()
            each_writes(3)
    finally:
        stop.set()
        for worker in workers:
            worker.join()

    said = [answer for of_worker in answers for answer in of_worker]
    assert set(said) == {"done"}
    query = "SELECT COUNT(*) FROM app.written"
    assert int(engine.docker("exec", container, *client, "-N", "-e", query).stdout) == len(said) > 50
    lost = change(engine, text.replace("app_b", "app_c"), None, canary(), {"DB_USER": "app_a", **root})
    assert "it has no such user" in lost.check()[0]


@pytest.mark.engine
def test_redis_saves_its_users_where_it_can_and_it_is_said_where_not(
    engine: Engine, start: Start, service: str, canary: Canary, custody: Custody, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "touch u.acl && exec redis-server $ACLFILE"
    for aclfile in ("--aclfile u.acl", ""):
        name = f"{service}-{len(aclfile)}"
        options = ("--label", f"com.docker.compose.service={name}", "--env", f"ACLFILE={aclfile}")
        container = start(engine.base("redis"), "sh", "-c", script, options=options)
        engine.wait_for_log(container, "Ready to accept connections")
        engine.docker("exec", "--interactive", container, "redis-cli", input="ACL SETUSER app on ~* +@all\nQUIT\n")
        new = canary()

        change(engine, f"redis(user=app, service={name})", canary(), new).begin()

        said = capsys.readouterr().err
        custody.said.append(said)
        assert ("forgets the new password when it restarts" in said) is (not aclfile)
        engine.docker("restart", "--time", "5", container)
        engine.wait_for_log(container, "DB loaded from disk")  # which the first start had nothing to do with
        done = engine.docker("exec", "--interactive", container, "redis-cli", input=f"AUTH app {new}\nPING\nQUIT\n")
        assert ("PONG" in done.stdout and "WRONGPASS" not in done.stdout) is bool(aclfile)


@pytest.mark.engine
def test_redis_that_takes_its_password_from_the_secret_itself(
    engine: Engine, start: Start, service: str, canary: Canary, custody: Custody, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the server has moved it knows the new password alone, and its admin is let in with that."""
    old, new = canary(), canary()
    script = '[ -e /pw ] || printf %s "$FIRST" >/pw; exec redis-server --save "" --requirepass "$(cat /pw)"'
    options = ("--label", f"com.docker.compose.service={service}", "--env", f"FIRST={old}")
    container = start(engine.base("redis"), "sh", "-c", script, options=options)
    engine.wait_for_log(container, "Ready to accept connections")
    text = f"redis(user=default, service={service}, adminKey=PASSWORD)"
    inside = change(engine, text, old, new, {"PASSWORD": old})

    def answers(password: str) -> bool:
        lines = f"AUTH {password}\nPING\nQUIT\n"
        return "PONG" in engine.docker("exec", "--interactive", container, "redis-cli", input=lines).stdout

    assert inside.check() == []
    inside.begin()
    assert answers(old)
    assert answers(new)
    engine.docker("exec", "--interactive", container, "sh", "-c", "cat >/pw", input=new)
    engine.docker("restart", "--time", "5", container)
    ready = "until redis-cli ping | grep -q NOAUTH; do kill -0 1 || exit; done"
    engine.docker("exec", container, "timeout", "60", "sh", "-c", ready)
    inside.finish()
    assert answers(new)
    assert not answers(old)
    inside.begin()  # as a run does that finishes what another began
    inside.finish()
    assert answers(new)
    said = capsys.readouterr().err
    custody.said.append(said)
    assert "forgets" not in said  # it has the new password from where it is started


def test_a_command_is_told_the_step_and_gets_the_values_on_stdin(
    tmp_path: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "change-it"
    program.write_text(f'#!/bin/sh\ncat >"{tmp_path}/$1"\necho loud; echo loud >&2\n[ ! -e "{tmp_path}/stop-$1" ]\n')
    program.chmod(0o755)
    old, new = canary(), canary()
    known = Values(Secret(old.encode()), Secret(new.encode()), lambda _key: None, lambda _key: None)
    inside = decorator.inside_change(spec(f"command({program})"), known, {})
    assert inside is not None

    assert inside.check() == []
    assert json.loads((tmp_path / "check").read_text()) == {"key": "PASSWORD", "old": old, "new": None}
    for name, step in (("begin", inside.begin), ("finish", inside.finish), ("undo", inside.take_back)):
        step()
        assert json.loads((tmp_path / name).read_text()) == {"key": "PASSWORD", "old": old, "new": new}
    (tmp_path / "stop-begin").touch()
    with pytest.raises(Refused, match="begin ended with 1"):
        inside.begin()
    program.write_text("#!/bin/sh\nkill -33 $$\n")
    with pytest.raises(Refused, match="undo ended with signal 33"):
        inside.take_back()


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", "plain"),
        ("ﬁ\u00a0x\u00ad", "fi x"),  # as SASLprep has it
        ("ﬁ\t", "ﬁ\t"),  # and where it says no, as it is
        ("ﬁ😀", "ﬁ😀"),
        ("אﬁ", "אﬁ"),
    ],
)
def test_a_password_is_prepared_as_libpq_does(password: str, prepared: str) -> None:
    assert _prepared(password.encode()) == prepared.encode()


@pytest.mark.engine
def test_two_services_of_one_name_are_not_mistaken(engine: Engine, start: Start, service: str) -> None:
    for project in ("one", "two"):
        named = {"project": project, "service": service}.items()
        labels = [word for name, value in named for word in ("--label", f"com.docker.compose.{name}={value}")]
        start(engine.base("busybox"), "sleep", "1000", options=tuple(labels))

    wrong = change(engine, f"postgres(user=a, service={service})", "a", "b").check()
    assert f"several services are called {service}: one_{service}, two_{service}" in wrong[0]
    one = change(engine, f"postgres(user=a, service=two_{service})", "a", "b").check()
    assert "there is no psql in its image" in one[0]


class Heard(io.StringIO):
    """A stderr whose parts can be awaited; what is said while pytest empties its own may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: SimpleQueue[str] = SimpleQueue()

    def write(self, text: str, /) -> int:
        self.parts.put(text)
        return len(text)


@pytest.mark.engine
def test_a_system_that_takes_no_connections_yet_is_waited_for(
    engine: Engine, start: Start, service: str, canary: Canary
) -> None:
    """Of two containers the newest is asked, as after a restart of the service; its server starts when it is let."""
    script = 'until [ -e "$GO" ]; do sleep 0.1; done; exec redis-server --save ""'
    label = ("--label", f"com.docker.compose.service={service}")
    text, waits = f"redis(user=default, service={service})", f"PASSWORD: waiting for {service}, up to "

    def started(go: str) -> str:
        # Three failures make it unhealthy, but for those of its start.
        health = ("--health-cmd", "redis-cli ping", "--health-interval", "200ms", "--health-start-period", "1m")
        return start(engine.base("redis"), "sh", "-c", script, options=(*label, *health, "--env", f"GO={go}"))

    def answered(why: str, let: Callable[[], object]) -> list[str]:
        """Return what is wrong with a system that is let go on once it is waited for."""
        said, heard = "", Heard()
        with redirect_stderr(heard), ThreadPoolExecutor(1) as pool:
            asking = pool.submit(change(engine, text, canary(), canary()).check)
            asking.add_done_callback(lambda _: heard.parts.put(""))
            while f"{why}\n" not in said and (part := heard.parts.get()):
                said += part
            assert waits in said, asking.result()
            let()
            return asking.result()

    started("/bin")
    newest = started("/go")
    late = change(engine, text, canary(), canary())
    assert isinstance(late, System)
    late.patience = 0
    assert late.check() == [
        f"PASSWORD: redis-cli in {service} refuses: the server takes no connections, or none for the moment"
    ]
    assert (
        answered("its health check has not succeeded yet", lambda: engine.docker("exec", newest, "touch", "/go")) == []
    )

    engine.docker("pause", newest)
    assert late.check() == [f"PASSWORD: the container of {service} is paused"]
    assert answered(f"the container of {service} is paused", lambda: engine.docker("unpause", newest)) == []

    once = (*label, "--label", "com.docker.compose.oneoff=True")
    start(engine.base("redis"), "sleep", "1d", options=once)
    assert late.check() == []


@pytest.mark.parametrize(
    ("kind", "out", "err"),
    [
        (Postgres, "", 'psql: error: connection to server on socket "/s" failed: No such file or directory'),
        (Postgres, "", "psql: error: connection to server failed: FATAL:  the database system is starting up"),
        (Postgres, "", "psql: error: connection to server failed: FATAL:  the database system is shutting down"),
        (Postgres, "", "psql: error: connection to server failed: FATAL:  sorry, too many clients already"),
        (MariaDB, "", "ERROR 2002 (HY000): Can't connect to local server through socket '/run/mysqld/mysqld.sock' (2)"),
        (MariaDB, "", "ERROR 1040 (HY000): Too many connections"),
        (Redis, "LOADING Redis is loading the dataset in memory\nOK\n", ""),
        (Redis, "", "Could not connect to Redis at 127.0.0.1:6379: Connection refused"),
        (Redis, "", "Error: Server closed the connection"),
    ],
)
def test_what_a_server_that_is_not_ready_answers_is_known(kind: type[System], out: str, err: str) -> None:
    system = kind("K", How("", {}), Values(None, None, lambda _: None, lambda _: None), {})

    assert system.is_busy(out.encode(), err.encode())
    assert not system.is_busy(b"OK\n", b"WARNING: a password on the command line")
    assert all(any(sign.words.encode() == words for sign in system.signs) for words in system.busy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("oracle(user=a)", "there is no @rotate-with=oracle"),
        ("postgres", "there is no @rotate-with=postgres"),
        ("postgres(user=a)", "does not name the service"),
        ("postgres(user=a, users=a|b, service=db)", "needs one of user=NAME and users=ONE|OTHER"),
        ("postgres(users=a|b, service=db)", "userKey=KEY"),
        ("postgres(user=a, service=db, color=red)", "has no option color"),
        ("postgres(users=a|, userKey=K, service=db)", "needs users=ONE|OTHER"),
        ("postgres(user=a, user=b, service=db)", "sets user twice"),
        ("postgres(user=, service=db)", "has no value after user="),
        ("redis(service=r)", "does not name the user"),
        ("redis(users=a|b, userKey=K, service=r)", "has no option users"),
        ("postgres(user=a, color=red)", "its options: user, users, userKey, service, admin, adminKey, database"),
        ("command()", "names no program"),
    ],
)
def test_what_the_schema_says_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        decorator.how(spec(text))
    assert words in " ".join([caught.value.message, *caught.value.hints])


def test_a_dry_run_starts_no_program_with_a_value(manage: Manage, canary: Canary) -> None:
    """What a schema names might be anybody's program: it is told nothing before the rotation is meant."""
    told = manage.folder / "told"
    program = manage.write("program", f'#!/bin/sh\ncat >>"{told}"\n')
    program.chmod(0o755)
    manage.write("secrets/a", canary()).chmod(0o600)
    manage.write(".env.schema", f"# @sensitive @rotate-with=command({program})\nA=\n")
    rotate = ("rotate", "A", "--generate", "--compose", "--how", "none")

    end = manage(*rotate, "--dry-run")

    assert end.code == 0, end.stderr
    assert "A: what @rotate-with names is not asked in a dry run" in end.stderr
    assert not told.exists()
    schema = manage.folder / ".env.schema"
    schema.chmod(0o666)
    end = manage(*rotate)
    assert (end.code, told.exists()) == (1, False)
    assert f"everyone can write to the file {schema.name}, which names programs to run" in end.stderr
    schema.chmod(0o644)
    assert manage(*rotate).code == 0
    assert '"key": "A"' in told.read_text()
    told.unlink()
