"""What is known about official images: how one is recognised, and what `--profile` changes in front of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.profiles import NAMES, PROFILES, Profile, recognise
from tests.support.forms import Shim

Canary = Callable[[], str]
BY_NAME = {profile.name: profile for profile in PROFILES}


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_name_is_taken_once() -> None:
    assert len(BY_NAME) == len(PROFILES)
    assert not {"auto", "none"} & set(BY_NAME)
    repositories = [repository for profile in PROFILES for repository in profile.repositories]
    assert len(repositories) == len(set(repositories))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_does_not_contradict_itself(profile: Profile) -> None:
    assert profile.markers or profile.servers, "nothing could recognise it"
    assert not profile.reads_files or (profile.keys and profile.servers and profile.initialises)
    assert {key for key, _ in profile.instead} <= set(profile.keys)
    for key in profile.keys:
        assert profile.key_of(f"{key}_FILE") == key
    for variable in profile.refused:
        assert profile.key_of(variable), "what is withheld must still reach the image as a value"
    for key in profile.keys:
        other = profile.other_name(key)
        assert not other or (other in profile.keys and profile.other_name(other) == key)


@pytest.mark.parametrize(
    ("argv", "variables", "name", "why"),
    [
        ("docker-entrypoint.sh postgres", "PG_MAJOR", "postgres", "postgres is started and PG_MAJOR is set"),
        ("/usr/local/bin/docker-entrypoint.sh mariadbd", "", "mariadb", "mariadbd is started"),
        ("docker-entrypoint.sh mysqld", "", "mysql", "mysqld is started"),
        ("docker-entrypoint.sh mysqld", "MARIADB_VERSION", "mariadb", "mysqld is started and MARIADB_VERSION is set"),
        ("docker-entrypoint.sh --max-connections=9", "MYSQL_MAJOR", "mysql", "MYSQL_MAJOR is set"),
        ("/opt/keycloak/bin/kc.sh start", "", "keycloak", "kc.sh is started"),
        ("/run.sh", "GF_PATHS_HOME", "grafana", "GF_PATHS_HOME is set"),
        ("/init", "LSIO_FIRST_PARTY", "linuxserver", "LSIO_FIRST_PARTY is set"),
        ("", "RABBITMQ_VERSION", "rabbitmq", "RABBITMQ_VERSION is set"),
        ("docker-entrypoint.sh redis-server", "PG_MAJOR", "redis", "redis-server is started"),
        (
            "docker-entrypoint.sh redis-server",
            "VALKEY_VERSION",
            "valkey",
            "redis-server is started and VALKEY_VERSION is set",
        ),
        ("docker-entrypoint.sh node current/index.js", "GHOST_VERSION", "ghost", "GHOST_VERSION is set"),
        ("docker-entrypoint.sh apache2-foreground", "WORDPRESS_DB_HOST", "wordpress", "WORDPRESS_DB_HOST is set"),
        ("docker-php-entrypoint apache2-foreground", "PHP_VERSION", None, None),
        ("/entrypoint.sh php-fpm", "NEXTCLOUD_VERSION", "nextcloud", "NEXTCLOUD_VERSION is set"),
        ("httpd-foreground", "", "httpd", "httpd-foreground is started"),
        ("docker-entrypoint.sh memcached -m 64", "", "memcached", "memcached is started"),
        ("python3 postgres", "", None, None),
        ("sh -c postgres", "", None, None),
        ("docker-entrypoint.sh", "", None, None),
        ("", "", None, None),
    ],
)
def test_an_image_is_recognised(argv: str, variables: str, name: str | None, why: str | None) -> None:
    """By what is started, and by what the image sets."""
    chosen = recognise([word.encode() for word in argv.split()], variables.split())

    assert (chosen and chosen.profile.name, chosen and chosen.why) == (name, why)


def test_a_profile_that_nobody_knows(shim: Shim) -> None:
    end = shim("--profile", "oracle", "true")

    assert end.code == 100
    assert end.errors == ["--profile (SHIM_PROFILE) names an unknown profile"]
    assert "oracle" not in end.stderr
    for name in NAMES:
        assert name in end.stderr


def test_nothing_is_loaded_unless_it_is_asked_for(tmp_path: Path) -> None:
    """The rooms of profiles are in `sys.modules` at the moment of execve only with --profile."""
    (tmp_path / "look.py").write_text(
        "import os, sys\nfrom shim import kernel\n"
        "def execve(*_):\n    os.write(1, ' '.join(sys.modules).encode())\n    os._exit(0)\n"
        "kernel.execve = execve\nkernel.argv[:] = [b'shim', *os.environb[b'WORDS'].split()]\n"
        "from shim import main\nmain.run()\n"
    )

    def loaded(words: str) -> set[str]:
        env = {"WORDS": words, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, tmp_path / "look.py"], env=env, cwd=tmp_path, capture_output=True, check=True, text=True
        )
        return {name for name in done.stdout.split() if name.startswith("shim.profile")}

    assert loaded("-- true") == set()
    assert loaded("--profile auto -- true") == {"shim.profiles"}
    assert loaded("--profile postgres -- true") == {"shim.profiles", "shim.profile_effects"}


# --- one value, and one variable, reach the image --------------------------------------------------------------------


@pytest.mark.parametrize("profile", [profile for profile in PROFILES if profile.keys], ids=lambda profile: profile.name)
def test_an_images_own_pointers_are_taken_wherever_they_lead(
    frozen: Shim, tmp_path: Path, canary: Canary, profile: Profile
) -> None:
    """Such an image refuses KEY beside KEY_FILE; the shim hands over KEY alone, whatever else there is."""
    value = canary()
    (tmp_path / "elsewhere").write_text(value + "\n")
    for key in profile.keys:
        (frozen.root / key.lower()).write_text("of the root\n")
    env = {f"{key}_FILE": str(tmp_path / "elsewhere") for key in profile.keys}

    child = frozen.child("--profile", profile.name, "--keep-file-vars", env=env)

    for key in profile.keys:
        assert child.env[key] == value
        assert f"{key}_FILE" not in child.env
    without = frozen("--profile", "none", "--", "env", env=env)
    for key in profile.keys:
        assert f"{key}=" not in without.stdout, "without a profile only a path below a root is taken"
        assert f"{key}_FILE={tmp_path}/elsewhere\n" in without.stdout
        assert f"{key}_FILE is set, and names another file" in without.stderr


def test_the_variable_says_auto(shim: Shim, tmp_path: Path) -> None:
    """SHIM_PROFILE=auto, as the recipes set it, and the variable that the image sets."""
    (tmp_path / "elsewhere").write_text("v")
    env = {"SHIM_PROFILE": "auto", "POSTGRES_PASSWORD_FILE": str(tmp_path / "elsewhere")}

    assert shim.child(env={**env, "PG_MAJOR": "15"}).env["POSTGRES_PASSWORD"] == "v"
    assert "POSTGRES_PASSWORD" not in shim.child(env=env).env
    assert "POSTGRES_PASSWORD" not in shim.child("--profile", "none", env={**env, "PG_MAJOR": "15"}).env


def test_both_set_and_different_is_refused_as_the_image_would(shim: Shim, tmp_path: Path, canary: Canary) -> None:
    (tmp_path / "elsewhere").write_text(canary())
    env = {"POSTGRES_PASSWORD_FILE": str(tmp_path / "elsewhere"), "POSTGRES_PASSWORD": canary()}

    end = shim("--profile", "postgres", "true", env=env)

    assert end.code == 100
    assert end.errors == [
        "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set, and their values differ; keep one"
    ]


def test_only_leaves_a_pointer_to_the_image(frozen: Shim, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("v")
    pointer = {"POSTGRES_USER_FILE": str(tmp_path / "elsewhere")}

    assert frozen.child("--profile", "postgres", "--only", "A", env=pointer).env["POSTGRES_USER_FILE"]


def test_rabbitmq_is_never_given_what_it_refuses(frozen: Shim, tmp_path: Path) -> None:
    """Since 3.9 it does not start with these set; the path of its configuration stays a path."""
    (tmp_path / "elsewhere").write_text("v\n")
    (frozen.root / "conf").write_text("not a secret")
    env = {
        "RABBITMQ_DEFAULT_PASS_FILE": str(tmp_path / "elsewhere"),
        "RABBITMQ_DEFAULT_USER_FILE": "",
        "RABBITMQ_TUNING_FILE": str(frozen.root / "conf"),
    }

    child = frozen.child("--profile", "rabbitmq", "--keep-file-vars", env=env)

    assert child.env["RABBITMQ_DEFAULT_PASS"] == "v"
    assert child.env["RABBITMQ_TUNING_FILE"] == str(frozen.root / "conf")
    assert not {"RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_DEFAULT_USER_FILE", "RABBITMQ_TUNING"} & set(child.env)
    (tmp_path / "s").write_text("# @deliver=file\nRABBITMQ_DEFAULT_PASS=\n")
    end = frozen("--profile", "rabbitmq", "--schema", "s", "true", env=env)
    assert end.code == 100
    assert "refuses to start with RABBITMQ_DEFAULT_PASS_FILE" in end.errors[0]


def test_rabbitmq_takes_ascii_alone(frozen: Shim, canary: Canary) -> None:
    end = frozen("--profile", "rabbitmq", "true", rabbitmq_default_pass="€" + canary())

    assert end.code == 0
    assert "RABBITMQ_DEFAULT_PASS contains non-ASCII characters" in end.stderr
    assert frozen("--profile", "rabbitmq", "true", rabbitmq_default_pass=canary()).stderr == ""


def test_keycloaks_paths_stay(frozen: Shim) -> None:
    (frozen.root / "crt").write_text("certificate")
    (frozen.root / "pw").write_text("v")
    env = {"KC_HTTPS_CERTIFICATE_FILE": str(frozen.root / "crt"), "KC_DB_PASSWORD_FILE": str(frozen.root / "pw")}

    child = frozen.child("--profile", "keycloak", env=env)

    assert child.env["KC_HTTPS_CERTIFICATE_FILE"] == str(frozen.root / "crt")
    assert (child.env["KC_DB_PASSWORD"], "KC_DB_PASSWORD_FILE" in child.env) == ("v", False)


def test_grafana_spells_it_with_two_lines(frozen: Shim, tmp_path: Path) -> None:
    """GF_…__FILE is the value's file; GF_…_FILE is a path, of a certificate say."""
    (frozen.root / "pw").write_text("v\n")
    env = {"GF_SECURITY_ADMIN_PASSWORD__FILE": str(frozen.root / "pw"), "GF_SERVER_CERT_FILE": str(frozen.root / "pw")}

    child = frozen.child("--profile", "grafana", env=env)

    assert child.env["GF_SECURITY_ADMIN_PASSWORD"] == "v"
    assert "GF_SECURITY_ADMIN_PASSWORD__FILE" not in child.env
    assert child.env["GF_SERVER_CERT_FILE"] == str(frozen.root / "pw")
    assert "GF_SERVER_CERT" not in child.env
    (tmp_path / "s").write_text("# @deliver=memfd\nGF_DATABASE_PASSWORD=\n")
    (frozen.root / "gf_database_password").write_text("w")
    delivered = frozen.child("--profile", "grafana", "--schema", "s")
    assert delivered.env["GF_DATABASE_PASSWORD__FILE"].startswith("/proc/self/fd/")
    assert "GF_DATABASE_PASSWORD_FILE" not in delivered.env


def test_linuxserver_puts_it_in_front(frozen: Shim) -> None:
    (frozen.root / "pw").write_text("v\n")
    env = {"FILE__PASSWORD": str(frozen.root / "pw"), "FILE__LD_PRELOAD": str(frozen.root / "pw")}

    child = frozen.child("--profile", "linuxserver", env=env)

    assert (child.env["PASSWORD"], "FILE__PASSWORD" in child.env) == ("v", False)
    assert ("LD_PRELOAD" in child.env, "FILE__LD_PRELOAD" in child.env) == (False, True)


# --- MariaDB's two names ---------------------------------------------------------------------------------------------


def test_two_names_for_one_thing_that_differ_are_refused(shim: Shim, canary: Canary) -> None:
    """MARIADB_PASSWORD beats MYSQL_PASSWORD in the image, so a secret could lose against a forgotten variable."""
    end = shim("--profile", "mariadb", "true", env={"MARIADB_PASSWORD": canary()}, mysql_password=canary())

    assert end.code == 100
    assert end.errors == ["MYSQL_PASSWORD and MARIADB_PASSWORD are both set, and their values differ; keep one"]
    assert "MariaDB would take MARIADB_PASSWORD" in end.stderr


def test_two_secrets_are_reported_once(frozen: Shim, canary: Canary) -> None:
    end = frozen("--profile", "mariadb", "true", mysql_password=canary(), mariadb_password=canary())

    assert (end.code, len(end.errors)) == (100, 1)


def test_what_is_no_secret_or_equal_is_left_to_the_image(frozen: Shim) -> None:
    both = {"MARIADB_USER": "a", "MYSQL_USER": "b"}

    child = frozen.child("--profile", "mariadb", env={**both, "MARIADB_PASSWORD": "v"}, secrets={"mysql_password": "v"})

    assert {**child.env, **both} == child.env
    assert child.env["MARIADB_PASSWORD"] == child.env["MYSQL_PASSWORD"] == "v"


def test_the_older_name_gives_what_is_asked_for_by_the_newer(shim: Shim, tmp_path: Path) -> None:
    asked = ("--profile", "mariadb", "--require", "MARIADB_ROOT_PASSWORD")
    (tmp_path / "elsewhere").write_text("pointed")

    child = shim.child(*asked, env={"MYSQL_ROOT_PASSWORD_FILE": str(tmp_path / "elsewhere")})
    assert child.env["MARIADB_ROOT_PASSWORD"] == "pointed"
    assert not {"MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE", "MARIADB_ROOT_PASSWORD_FILE"} & set(child.env)
    assert shim.child(*asked, env={"MYSQL_ROOT_PASSWORD": "given"}).env["MYSQL_ROOT_PASSWORD"] == "given"
    child = shim.child(*asked, secrets={"mysql_root_password": "v"})
    assert (child.env["MARIADB_ROOT_PASSWORD"], "MYSQL_ROOT_PASSWORD" in child.env) == ("v", False)


def test_ghosts_names_keep_their_case(frozen: Shim, tmp_path: Path) -> None:
    """Ghost looks for database__connection__password; a name that somebody asks for otherwise is theirs."""
    (frozen.root / "database__connection__password").write_text("v\n")
    (frozen.root / "mail-key").write_text("w\n")

    child = frozen.child("--profile", "ghost")

    assert child.env["database__connection__password"] == "v"
    assert "DATABASE__CONNECTION__PASSWORD" not in child.env
    assert child.env["MAIL_KEY"] == "w"
    assert frozen.child("--profile", "none").env["DATABASE__CONNECTION__PASSWORD"] == "v"
    asked = frozen.child("--profile", "ghost", "--require", "DATABASE__CONNECTION__PASSWORD")
    assert asked.env["DATABASE__CONNECTION__PASSWORD"] == "v"
    assert frozen.child("--profile", "ghost", "--require", "database__connection__password").env[
        "database__connection__password"
    ]


@pytest.mark.parametrize("name", ["wordpress", "nextcloud", "mongo"])
def test_what_an_image_reads_as_another_user_is_not_left_to_it(name: str) -> None:
    """A file that only root may read is closed to MongoDB's entrypoint, and to PHP."""
    assert not BY_NAME[name].reads_files


# --- commands --------------------------------------------------------------------------------------------------------


def entrypoint(folder: Path) -> dict[str, str]:
    """Return a PATH with the official entrypoint on it; it does what such a script does without a command."""
    (folder / "bin").mkdir()
    (folder / "bin" / "docker-entrypoint.sh").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "bin" / "docker-entrypoint.sh").chmod(0o755)
    for program in ("postgres", "redis-server", "psql", "mariadbd"):
        (folder / "bin" / program).symlink_to("/bin/true")
    return {"PATH": f"{folder}/bin:/usr/bin:/bin"}


def test_an_entrypoint_without_its_command_is_refused(shim: Shim, tmp_path: Path) -> None:
    """It would end with 0 at once, and without a word: a new ENTRYPOINT erased the image's CMD."""
    env = {**entrypoint(tmp_path), "PG_MAJOR": "15"}
    assert shim("docker-entrypoint.sh", env=env).code == 0

    end = shim("--profile", "auto", "--", "docker-entrypoint.sh", env=env)

    assert end.code == 100
    assert end.errors == ["PostgreSQL's docker-entrypoint.sh has no command to start"]
    assert 'write CMD ["postgres"] again' in end.stderr


def test_a_user_in_front_of_an_entrypoint_that_wants_root(shim: Shim, tmp_path: Path, as_root: None) -> None:
    env = {**entrypoint(tmp_path), "SHIM_PROFILE": "auto"}

    end = shim("--user", "65534:65534", "--", "docker-entrypoint.sh", "postgres", env=env)

    assert end.code == 0
    assert end.stderr.splitlines() == [
        "shim: warning: --user 65534:65534: PostgreSQL must start as root, and drops to its own user itself",
        "shim: hint: leave --user (SHIM_USER) out, unless all its folders belong to that user already",
    ]
    assert shim("exec", "--user", "65534:65534", "--", "postgres", env=env).stderr == ""


def test_a_server_without_the_entrypoint_that_reads_its_secrets(frozen: Shim, tmp_path: Path) -> None:
    end = frozen("--profile", "auto", "--", "postgres", env=entrypoint(tmp_path), postgres_password="v")

    assert end.code == 0
    assert "warning: postgres is started without docker-entrypoint.sh" in end.stderr
    assert "only that reads POSTGRES_PASSWORD" in end.stderr


def test_redis_reads_no_environment(frozen: Shim, tmp_path: Path, canary: Canary) -> None:
    env = entrypoint(tmp_path)
    start = ("--profile", "auto", "--", "docker-entrypoint.sh", "redis-server")

    end = frozen(*start, env=env, redis_password=canary())

    assert end.code == 0
    assert "warning: redis-server does not read the environment: REDIS_PASSWORD does not reach it" in end.stderr
    assert "--render" in end.stderr
    (tmp_path / "t").write_text("requirepass ${REDIS_PASSWORD|json}\n")
    rendered = ("--render", f"{tmp_path}/t:{tmp_path}/redis.conf", "--allow-disk")
    assert "does not read the environment" not in frozen(*rendered, *start, env=env).stderr


def test_a_rendered_file_is_for_the_user_that_the_server_becomes(frozen: Shim, tmp_path: Path) -> None:
    """Redis' entrypoint starts as root and hands over to `redis`, to whom a root's 0400 is closed."""
    (tmp_path / "t").write_text("requirepass ${REDIS_PASSWORD|json}\n")
    render = ("--profile", "auto", "--allow-disk", "--render", f"{tmp_path}/t:{tmp_path}/redis.conf")
    start = ("--", "docker-entrypoint.sh", "redis-server")

    end = frozen(*render, *start, env=entrypoint(tmp_path), redis_password="v")

    assert end.stderr.splitlines() == [
        "shim: warning: --render: redis-server drops to its own user, who cannot read the rendered file",
        "shim: hint: name its owner: --render TEMPLATE:DEST:redis",
    ]


@pytest.mark.parametrize(
    ("name", "argv", "expected"),
    [
        ("postgres", "docker-entrypoint.sh psql", True),
        ("postgres", "/usr/local/bin/docker-entrypoint.sh postgres -c a=b", False),
        ("postgres", "docker-entrypoint.sh -c a=b", False),
        ("postgres", "docker-entrypoint.sh -V", True),
        ("postgres", "python3 app.py", False),
        ("redis", "docker-entrypoint.sh redis-cli ping", True),
        ("redis", "docker-entrypoint.sh /dev/shm/redis.conf --port 7000", False),
        ("valkey", "docker-entrypoint.sh /dev/shm/valkey.conf", False),
        ("postgres", "docker-entrypoint.sh postgres --describe-config", True),
        ("mysql", "docker-entrypoint.sh mysqld --print-defaults", True),
        ("mongo", "docker-entrypoint.sh mongosh", True),
        ("nginx", "/docker-entrypoint.sh nginx-debug", False),
        ("keycloak", "/opt/keycloak/bin/kc.sh start --optimized", False),
        ("keycloak", "/opt/keycloak/bin/kc.sh show-config", True),
        ("grafana", "/run.sh --version", True),
        ("grafana", "/run.sh cfg:default.log.level=debug", False),
        ("gitea", "/usr/bin/entrypoint gitea admin user list", True),
        ("gitea", "/usr/bin/entrypoint /bin/s6-svscan /etc/s6", False),
        ("ghost", "docker-entrypoint.sh node current/index.js", False),
        ("wordpress", "docker-entrypoint.sh php-fpm", False),
        ("nextcloud", "/entrypoint.sh php occ status", True),
        ("httpd", "httpd-foreground", False),
    ],
)
def test_a_one_off_command_is_told_from_the_server(name: str, argv: str, expected: bool) -> None:
    assert BY_NAME[name].is_one_off([word.encode() for word in argv.split()]) is expected


@pytest.mark.parametrize("command", ["psql -U app", "sh -c true", "/usr/bin/env", "postgres --version", "--help"])
def test_a_one_off_command_needs_no_secret(frozen: Shim, tmp_path: Path, command: str) -> None:
    """`docker run IMAGE psql --version` works; a secret that is there arrives all the same."""
    env = {**entrypoint(tmp_path), "SHIM_PROFILE": "auto", "PG_MAJOR": "15", "SHIM_REQUIRE": "POSTGRES_PASSWORD"}
    (tmp_path / "t").write_text("${POSTGRES_PASSWORD}\n")
    env["SHIM_RENDER"] = f"{tmp_path}/t:{tmp_path}/rendered"

    end = frozen("--", "docker-entrypoint.sh", *command.split(), env=env)

    assert end.code != 100, end.stderr
    assert "POSTGRES_PASSWORD" not in end.stderr
    assert not (tmp_path / "rendered").exists()
    shown = frozen("--", "docker-entrypoint.sh", "sh", "-c", "echo $POSTGRES_PASSWORD", env=env, postgres_password="v")
    assert shown.stdout == "v\n"


@pytest.mark.parametrize("command", ["postgres", "postgres -c shared_buffers=1MB", "-c shared_buffers=1MB"])
def test_the_server_itself_needs_its_secret(frozen: Shim, tmp_path: Path, command: str) -> None:
    env = {**entrypoint(tmp_path), "SHIM_PROFILE": "auto", "PG_MAJOR": "15", "SHIM_REQUIRE": "POSTGRES_PASSWORD"}
    start = ("--", "docker-entrypoint.sh", *command.split())

    assert frozen(*start, env=env).code == 100
    assert frozen(*start, env={**env, "POSTGRES_HOST_AUTH_METHOD": "trust"}).code != 100
    assert frozen(*start, env={**env, "POSTGRES_HOST_AUTH_METHOD": "md5"}).code == 100
    # Whose image starts another program behind its own entrypoint has a service, not a one-off command.
    assert frozen("--", "sh", "-c", "true", env=env).code == 100


def test_mariadb_does_without_a_password_where_it_makes_one(frozen: Shim, tmp_path: Path) -> None:
    env = {**entrypoint(tmp_path), "SHIM_PROFILE": "mariadb", "SHIM_REQUIRE": "MARIADB_ROOT_PASSWORD"}
    start = ("--", "docker-entrypoint.sh", "mariadbd")

    assert frozen(*start, env=env).code == 100
    assert frozen(*start, env={**env, "MARIADB_RANDOM_ROOT_PASSWORD": "1"}).code == 0
    (frozen.root / "mariadb_root_password_hash").write_text("*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9")
    assert frozen(*start, env=env).code == 0


# --- saying so -------------------------------------------------------------------------------------------------------


def test_explain_says_which_profile_and_why(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("v")
    env = {"SHIM_PROFILE": "auto", "MARIADB_VERSION": "11", "MYSQL_USER_FILE": str(tmp_path / "elsewhere")}

    told = json.loads(shim("explain", "--json", env=env).stdout)
    assert (told["profile"]["name"], told["profile"]["why"]) == ("mariadb", "MARIADB_VERSION is set")
    assert any("MYSQL_USER_FILE" in words for words in told["profile"]["changes"])
    assert [row["key"] for row in told["keys"]] == ["MYSQL_USER"]
    text = shim("explain", env=env).stdout
    assert "profile mariadb  MariaDB: MARIADB_VERSION is set\n" in text
    assert "MYSQL_* and MARIADB_* are two names for one thing" in text
    assert json.loads(shim("explain", "--json").stdout)["profile"] is None
    assert "recognises no image" in shim("explain", "--profile", "auto").stdout


@pytest.mark.parametrize("name", BY_NAME)
def test_explain_has_words_for_every_profile(frozen: Shim, name: str) -> None:
    end = frozen("explain", "--profile", name)

    assert (end.code, end.stderr) == (0, "")
    assert len(end.stdout.splitlines()) > 1
    assert f"profile {name}  {BY_NAME[name].title}: --profile names it" in end.stdout


def test_help_names_every_profile(frozen: Shim) -> None:
    words = frozen("--help").stdout.replace(",", " ").split()

    assert set(BY_NAME) <= set(words)


def test_v_says_it_and_check_warns(frozen: Shim, tmp_path: Path) -> None:
    env = {**entrypoint(tmp_path), "SHIM_PROFILE": "auto", "PG_MAJOR": "15"}

    assert "shim: profile postgres: PG_MAJOR is set\n" in frozen("-v", "true", env=env).stderr
    end = frozen("check", "--user", str(os.getuid()), env=env)
    assert (end.code, "must start as root" in end.stderr) == (0, True)
