"""Where a value could come from: nothing is decided, and every name that is left alone has a reason."""

import os
import resource
from pathlib import Path

import pytest

from shim import protected
from shim.options import Options
from shim.protected import is_path_variable
from shim.resolution import Sources
from shim.resolve import resolve
from shim.schema import parse
from shim.secret import is_protected
from shim.sources import gather
from tests.support.forms import Shim


def gathered(root: Path, *entries: str, schema: str = "", **options: list[str]) -> Sources:
    asked = Options()
    for name, value in {"secrets_dir": [str(root)], **options}.items():
        setattr(asked, name, value)
    environ = [os.fsencode(entry.replace("ROOT", str(root))) for entry in entries]
    return gather(environ, asked, parse(schema.encode()) if schema else None)


def test_the_first_of_duplicates_counts(tmp_path: Path) -> None:
    """As getenv(3) takes it; entries without a name or without "=" are not variables."""
    assert gathered(tmp_path, "A=1", "A=2", "B", "=C", "").env == {"A": b"1"}


def test_pointers_and_files_of_the_roots(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("v")
    (tmp_path / "c.example").write_text("v")

    sources = gathered(tmp_path, "A_FILE=ROOT/a", "X_FILE=/elsewhere")

    root = os.fsencode(tmp_path)
    assert sources.pointers == {"A": (root + b"/a", root)}
    assert sources.roots == {"B": (root + b"/b", root)}
    assert sources.examples == {"C": (root + b"/c.example", root)}
    assert sources.looked_at == [root]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("SSL_CERT_FILE=/etc/x", "below no secrets root"),
        ("SSL_CERT_FILE=ROOT/x", "programs read it as a path"),
        ("KC_DB_FILE=ROOT/x", "programs read it as a path"),
        ("LD_PRELOAD_FILE=ROOT/x", "changes what programs load"),
        ("GF_SECURITY__FILE=ROOT/x", "read it themselves"),
        ("OTHER_FILE=ROOT/x", "not in --only"),
        ("TOKEN_FILE=ROOT/kubernetes.io/serviceaccount/token", "the cluster renews that token"),
    ],
)
def test_a_variable_is_left_alone_for_a_reason(tmp_path: Path, entry: str, reason: str) -> None:
    only = ["A"] if entry.startswith("OTHER") else []

    sources = gathered(tmp_path, entry, only=only)

    ((name, words),) = sources.left_alone
    assert (name, sources.pointers) == (entry.partition("=")[0], {})
    assert reason in words


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1st", "cannot be a variable's"),
        ("other", "nothing asks for OTHER"),
        ("ld_preload", "changes what programs load"),
    ],
)
def test_a_file_is_left_alone_for_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_text("v")

    sources = gathered(tmp_path, only=["A"] if name == "other" else [])

    ((path, words),) = sources.left_alone
    assert (path, sources.roots) == (str(tmp_path / name), {})
    assert reason in words


def test_what_is_asked_for_stands_in_order(tmp_path: Path) -> None:
    assert list(gathered(tmp_path, schema="B=\nA=\n", require=["C", "A"]).asked) == ["B", "A", "C"]


def test_a_root_that_is_not_there_or_no_folder_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("v")

    for root in (tmp_path / "missing", tmp_path / "file"):
        sources = gathered(root)
        assert (sources.roots, sources.breaches) == ({}, [])


@pytest.mark.parametrize(
    "names",
    [
        "PATH HOME IFS ENV BASH_ENV LD_PRELOAD LD_X PYTHONPATH GCONV_PATH SHIM_X TMP TMPDIR",
        "GIT_SSH_COMMAND GIT_CONFIG_KEY_0x GIT_ASKPASS GIT_EXEC_PATH LESSOPEN LESS PAGER EDITOR SSH_ASKPASS RSYNC_RSH",
        "NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NPM_CONFIG_X YARN_RC_FILENAME",
        "DOTNET_STARTUP_HOOKS CORECLR_PROFILER_PATH COR_PROFILER COMPlus_X MONO_PATH",
        "JAVA_OPTS JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS ES_JAVA_OPTS JAVA_HOME MAVEN_ARGS GRADLE_USER_HOME",
        "ERL_FLAGS ELIXIR_ERL_OPTIONS LUA_INIT_5_4 LUA_CPATH_5_4 R_PROFILE_USER R_LIBS PERL5LIB RUBYOPT BUNDLE_GEMFILE",
        "HTTPS_PROXY https_proxy no_proxy ALL_PROXY REQUESTS_CA_BUNDLE AWS_CA_BUNDLE SSL_CERT_FILE SSL_X SSLKEYLOGFILE",
        "PS1 PSModulePath PYTEST_PLUGINS PYENV_ROOT PHPRC PHP_INI_DIR SCRAPY_SETTINGS_MODULE UWSGI_INI",
        "DOCKER_CONTEXT DOCKER_TLS_VERIFY BUILDX_CONFIG HELM_PLUGINS VAULT_SKIP_VERIFY AWS_ENDPOINT_URL WGETRC",
        "RELEASE_VM_ARGS BOOT_JVM_OPTIONS SERVER_JVMFLAGS GUILE_LOAD_PATH OCAMLPATH GHC_PACKAGE_PATH JEMALLOC_CONF",
        "NOTIFY_SOCKET CREDENTIALS_DIRECTORY LISTEN_FDS SOFTHSM2_CONF PKCS11_MODULE_PATH OPENSSL_CONF OPENSC_CONF",
        "APP_SERVICES_CACHE BOOTSNAP_CACHE_DIR NUMBA_CACHE_DIR TRITON_CACHE_DIR WERKZEUG_DEBUG_PIN FLASK_DEBUG",
        "PSQL_WATCH_PAGER SYSTEMD_EDITOR FZF_DEFAULT_COMMAND VIM VIMRUNTIME NVIM_APPNAME GVIMINIT SSH_ASKPASS_REQUIRE",
        "SDL_DYNAMIC_API NVTX_INJECTION64_PATH NCCL_NET_PLUGIN HSA_TOOLS_LIB LTDL_LIBRARY_PATH ALSA_PLUGIN_DIR NGINX",
        "KUBERNETES_SERVICE_HOST AWS_ENDPOINT_URL_S3 GCE_METADATA_HOST AZURE_AUTHORITY_HOST IDENTITY_ENDPOINT",
        "GOCOVERDIR GOTRACEBACK GCOV_PREFIX GMON_OUT_PREFIX CPUPROFILE JMX_PORT LS_JAVA_HOME PYSPARK_PYTHON EMU BINDIR",
        "TS_NODE_COMPILER WP_CLI_CONFIG_PATH PRISMA_MIGRATION_ENGINE_BINARY MARIADB_TLS_DISABLE_PEER_VERIFICATION",
        "LDAPTLS_KEY LESSKEY LESSKEY_CONTENT PYTHON_KEYRING_BACKEND BASH_ENV PERLIO RUBYSHELL PGSSLKEY PGSSLPASSWORD",
        "KRB5_CONFIG KRB5CCNAME PGSYSCONFDIR PGSERVICEFILE PGSSLROOTCERT QT_PLUGIN_PATH GTK_MODULES KUBECONFIG",
    ],
)
def test_names_that_change_what_programs_load(names: str) -> None:
    assert [name for name in names.split() if not is_protected(name)] == []


def test_the_short_cut_past_most_names_leaves_none_out() -> None:
    words = [word for row in protected._PROTECTED for word in row.split()]
    names = [f"{word}X" if word.endswith("_") else word for word in words] + [*protected._PROTECTED_STARTS]

    assert [name for name in names if not is_protected(name)] == []


def test_names_that_only_look_like_it() -> None:
    names = (
        "DB_PATH PATHS OLD_PATH HOMEPAGE API_KEY DB_PASSWORD GIT_TOKEN GITHUB_TOKEN SSL_PRIVATE_KEY NODE_AUTH_TOKEN "
        "NODE_ENV JAVA_KEYSTORE_PASSWORD NPM_TOKEN TF_VAR_DB_PASSWORD RAILS_MASTER_KEY SPRING_DATASOURCE_PASSWORD R "
        "DJANGO_SETTINGS_MODULE DOCKER_AUTH_CONFIG VAULT_ADDR VAULT_TOKEN PKCS11_PIN SSL_PIN REDISCLI_AUTH "
        "LD_SUPERUSER_PASSWORD LD_API_KEY RUBYGEMS_API_KEY PYTHONANYWHERE_API_TOKEN LESSON_DB_PASSWORD GIT_PAT NPM_PAT "
        "TS_AUTHKEY RELEASE_COOKIE APP_KEY APP_SECRET HF_TOKEN KUBERNETES_TOKEN DB_ENDPOINT"
    )

    assert [name for name in names.split() if is_protected(name)] == []


def test_variables_that_are_paths() -> None:
    assert is_path_variable("SSL_CERT_FILE")
    assert is_path_variable("KC_ANYTHING_FILE")
    assert is_path_variable("ETCD_TRUSTED_CA_FILE")
    assert is_path_variable("CONFIG_FILE")
    assert is_path_variable("MINIO_CONFIG_ENV_FILE")
    assert is_path_variable("TUNNEL_CRED_FILE")
    assert is_path_variable("KRB5_CLIENT_KEYTAB_FILE")
    assert is_path_variable("GITSYNC_SSH_KNOWN_HOSTS_FILE")
    assert not is_path_variable("DB_PASSWORD_FILE")
    assert not is_path_variable("MONICA_FILE")


def test_a_root_that_cannot_be_listed_for_another_reason_than_rights(tmp_path: Path) -> None:
    """Too few descriptors (as too little memory) do not depend on the user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        sources = gathered(tmp_path, require=["A"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    options = Options()
    options.require = ["A"]
    breach = resolve(sources, options, None).breaches[0]

    assert "cannot be listed: Too many open files" in breach.message
    assert "--user" not in breach.hint
    assert "a retry may help" in breach.hint


def test_a_schema_that_cannot_be_read_for_another_reason_than_rights(frozen: Shim) -> None:
    end = frozen("true", before=("prlimit", "--nofile=3"))

    assert (end.code, len(end.errors)) == (111, 1)
    assert "cannot be read: Too many open files" in end.errors[0]
    assert "world-readable" not in end.stderr
    assert "a retry may help" in end.stderr
