"""A value that does not print itself; how a file becomes one; how a file's name becomes a key.

Shared by the container and the host. Values leave custody by one door, `Secret.reveal()`: searching for that word
lists every place that could leak.
"""

from shim import files
from shim.errors import Breach

# One string of an environment, key and "=" included (MAX_ARG_STRLEN less its NUL, execve(2)).
MAX_ENV_BYTES = 131_071
# What is read of a file at most. Twice the Swarm's limit of 512,000 bytes leaves room for UTF-16.
MAX_SECRET_BYTES = 1_048_576

_NULL_DEVICE = 0x103  # makedev(1, 3)
_MOST_READS = 8  # of a file that changes while it is read

# What decides which code a program loads and runs, whom it trusts, and where it looks for its configuration: no file in
# a secrets root sets it unasked, no implicit KEY_FILE does, and no default of a schema. From the manuals of ld.so(8),
# bash(1), git(1), node(1), java(1), perlrun(1), R and so on; names in upper case.
_PROTECTED = (
    " ACLOCAL_PATH AIRFLOW_CONFIG ANDROID_HOME ANT_ARGS ANT_HOME APACHE_ARGUMENTS APACHE_CONFDIR "
    "APACHE_ENVVARS APT_CONFIG ASAN_OPTIONS ASAN_SYMBOLIZER_PATH ASPNETCORE_HOSTINGSTARTUPASSEMBLIES AWS_CONFIG_FILE "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_ENDPOINT_URL "
    "AWS_SHARED_CREDENTIALS_FILE AZURE_CONFIG_DIR AZURE_EXTENSION_DIR BAO_CACERT BAO_CAPATH BAO_SKIP_VERIFY "
    "BAT_PAGER BOOT_JVM_OPTIONS BOTO_CONFIG BROWSER BZR_PLUGIN_PATH CAMLRUNPARAM CAML_LD_LIBRARY_PATH "
    "CASSANDRA_INCLUDE CC CDPATH CELERY_CONFIG_MODULE CELERY_LOADER CFLAGS CHROME_PATH CHROMIUM_FLAGS CLASSPATH "
    "CLOUDSDK_CONFIG CLOUDSDK_PYTHON CLOUDSDK_PYTHON_ARGS COMPILER_PATH COMPOSER_HOME COMPOSER_VENDOR_DIR "
    "CONDARC CONSUL_CACERT CONSUL_CAPATH CONSUL_HTTP_SSL_VERIFY CONTAINERD_ADDRESS CONTAINERS_CONF "
    "CONTAINER_HOST CPATH CPLUS_INCLUDE_PATH CPPFLAGS CREDENTIALS_DIRECTORY CRYSTAL_LIBRARY_PATH CRYSTAL_PATH "
    "CVS_RSH CXX CXXFLAGS C_INCLUDE_PATH DELTA_PAGER DIRENV_BASH DIRENV_CONFIG "
    "DOCKER_API_VERSION DOCKER_CERT_PATH DOCKER_CONFIG DOCKER_CONTENT_TRUST DOCKER_CONTEXT DOCKER_HOST DOCKER_TLS "
    "DOCKER_TLS_VERIFY DPKG_ADMINDIR DPKG_ROOT EDITOR EGL_DRIVERS_PATH EMACSLOADPATH ENV ESBUILD_BINARY_PATH EXINIT "
    "FCEDIT FPATH FREETDSCONF FREI0R_PATH GBM_BACKENDS_PATH GHCRTS GHC_ENVIRONMENT "
    "GHC_PACKAGE_PATH GLOBIGNORE GNUMAKEFLAGS GNUPGHOME GOAUTH GOBIN GOCACHE GODEBUG GOENV GOEXPERIMENT GOFLAGS "
    "GOINSECURE GONOSUMDB GOPATH GOPRIVATE GOPROXY GOROOT GOSUMDB GOTOOLCHAIN GOVCS GREP_OPTIONS GS_LIB GS_OPTIONS "
    "GUNICORN_CMD_ARGS HADOOP_CONF_DIR HELM_PLUGINS HGRCPATH HISTFILE HOME HOSTALIASES HTTPLIB2_CA_CERTS ICU_DATA "
    "IFS INPUTRC INSTALL4J_JAVA_HOME IPYTHONDIR IRBRC JBOSS_HOME JEMALLOC_CONF KUBECONFIG KUBE_EDITOR LADSPA_PATH "
    "LDAPCONF LDAPRC LDFLAGS LIBMYSQL_PLUGINS LIBMYSQL_PLUGIN_DIR LIBPATH LIBRARY_PATH LISTEN_FDNAMES LISTEN_FDS "
    "LISTEN_PID LOADER_PATH LOCALDOMAIN LOCPATH LOGGING_CONFIG LOGNAME LSAN_OPTIONS LV2_PATH MAILCAPS MAILRC "
    "MAKEFILES MAKEFLAGS MANPAGER MANPATH MATLABPATH MESA_LOADER_DRIVER_OVERRIDE MFLAGS MIX_ARCHIVES MIX_BUILD_PATH "
    "MIX_DEPS_PATH MIX_EXS MIX_HOME MSAN_OPTIONS MUSL_LOCPATH MYPYPATH MYSQL_HOME NAPI_RS_NATIVE_LIBRARY_PATH NETRC "
    "NIS_PATH NLSPATH NOMAD_CACERT NOMAD_CAPATH NOMAD_SKIP_VERIFY NOTIFY_SOCKET NVM_DIR OCAMLLIB "
    "OCAMLPATH OCAMLRUNPARAM OCL_ICD_FILENAMES OCL_ICD_VENDORS OCTAVE_PATH OCTAVE_SITE_INITFILE ODBCINI ODBCINSTINI "
    "ODBCSYSINI OLDPWD OMP_TOOL_LIBRARIES OPAMROOT OPENSC_CONF ORACLE_HOME OTEL_DOTNET_AUTO_HOME "
    "OTEL_PYTHON_CONFIGURATOR PACKER_CONFIG PACKER_PLUGIN_PATH PAGER PATH PGHOSTADDR PGLOCALEDIR PGOPTIONS "
    "PGPASSFILE PGREQUIRESSL PGSERVICE PGSERVICEFILE PGSYSCONFDIR PHPRC PHP_INI_DIR PHP_INI_SCAN_DIR "
    "PKCS11_MODULE_PATH PKCS11_PROVIDER_MODULE PLAYWRIGHT_BROWSERS_PATH PLTADDONDIR PLTCOLLECTS "
    "PRISMA_QUERY_ENGINE_LIBRARY PRISMA_SCHEMA_ENGINE_BINARY PROJ_DATA PROJ_LIB PROMPT_COMMAND PS0 PS1 PS2 PS4 "
    "PSMODULEPATH PSQLRC PSQL_EDITOR PSQL_PAGER PULSE_CLIENTCONFIG PUPPETEER_EXECUTABLE_PATH PWD PYENV_ROOT "
    "PYENV_VERSION PYTEST_ADDOPTS PYTEST_PLUGINS QTWEBENGINEPROCESS_PATH QTWEBENGINE_CHROMIUM_FLAGS "
    "QUARKUS_CONFIG_LOCATIONS RABBITMQ_PLUGINS_DIR REBAR_CONFIG REDISCLI_RCFILE RELEASE_VM_ARGS "
    "RES_OPTIONS RETICULATE_PYTHON RPM_CONFIGDIR RUSTC SASS_BINARY_PATH SASS_PATH SBCL_HOME SCRAPY_SETTINGS_MODULE "
    "SCREENRC SDKROOT SELECTED_EDITOR SHELL SHELLOPTS SHLIB_PATH SOFTHSM2_CONF SOLR_JAVA_HOME SPARK_CONF_DIR "
    "SPRING_APPLICATION_JSON SPRING_CLOUD_BOOTSTRAP_LOCATION SPRING_MAIN_SOURCES SSH_ASKPASS SSH_AUTH_SOCK "
    "SSH_CONFIG SSH_SK_HELPER SSH_SK_PROVIDER SUDO_ASKPASS SUDO_EDITOR SVN_EDITOR SVN_SSH SWC_BINARY_PATH "
    "SYSTEMD_EDITOR SYSTEMD_PAGER SYSTEM_WGETRC TAR_OPTIONS TEMP TEMPDIR TERMCAP TERMINFO TERMINFO_DIRS TEXINPUTS "
    "TEXMFCNF TEXMFHOME TF_DATA_DIR TMP TMPDIR TMUX_TMPDIR TNS_ADMIN TORCH_EXTENSIONS_DIR TORCH_HOME TSAN_OPTIONS "
    "TZDIR UBSAN_OPTIONS UNZIP UNZIPOPT USER UVICORN_APP UWSGI_INI VAULT_CACERT VAULT_CAPATH VAULT_CONFIG_PATH "
    "VAULT_SKIP_VERIFY VAULT_TLS_SERVER_NAME VDPAU_DRIVER_PATH VIMINIT VIRTUAL_ENV VISUAL VMARGS_PATH WATCHDOG_USEC "
    "WGETRC WINEDLLOVERRIDES WINEDLLPATH WINEPREFIX XAUTHORITY XLA_FLAGS XML_CATALOG_FILES XZ_DEFAULTS XZ_OPT "
    "ZDOTDIR ZIG_LIB_DIR ZIPOPT ZOOCFGDIR _RJEM_MALLOC_CONF __EGL_VENDOR_LIBRARY_DIRS "
)
# The first word of a name, up to its first underscore.
_PROTECTED_FAMILIES = (
    " ANSIBLE BUILDKIT BUILDX BUN BUNDLE BUNDLER CARGO CATALINA CCACHE CGO CMAKE COMPLUS CONDA COR CORECLR COREPACK "
    "CUDA CURL DBUS DENO DOTNET ELECTRON ELIXIR ERL FONTCONFIG GCC GCONV GDAL GDK GEM GETCONF GI GIO GIT GLIBC "
    "GNUTLS GRADLE GROOVY GSETTINGS GSS GST GTK GTK2 GTK3 GUILE HDF5 HELM JAVA JDK JRE JRUBY JULIA JUPYTER JVM "
    "KOTLIN LIBGL LIBVA LLVM LOG4J LUA M2 MAGICK MALLOC MAVEN MONO NIX NODE NPM NUGET OMPI OPENSSL PIP PKG PMIX PNPM "
    "QML QML2 QT R RBENV RESOLV RSYNC RUSTC RUSTDOC RUSTUP SASL SBT SCALA SSL TCL TK UV VK XDEBUG XDG YARN "
)
_PROTECTED_STARTS = (
    "BASH", "DYLD_", "KRB5", "LDAPTLS", "LD_", "LESS", "MSBUILD", "NSS_WRAPPER_", "PERL", "PGSSL",
    "PYINSTALLER_", "PYTHON", "RUBY", "RUSTFLAGS", "SHIM_", "SPRING_CONFIG_", "SSLKEYLOGFILE", "TCLLIBPATH",
    "TF_CLI_", "TF_PLUGIN_", "TF_REATTACH_", "_PYI_",
)  # fmt: skip
# What the second letter of all of these can be, for each first one from "A" to "_": most names have others, and need no
# look at the rest. A tuple, because it is a constant: whatever is built is built at every start.
_PROTECTED_SECONDS = (
    "CINPSWZ", "AORUZ", "ACDEFGHLMOPRUVX_", "BEIJOPY", "DGLMNRSX", "CLOPR", "BCDEHILNORSTU", "ADEGIOT", "CFNPR",
    "ABDERUV", "ORU", "ADEILOSUV", "2AEFIOSUY", "AEILOPSUV", "CDLMPRT", "AEGHIKLMNRSUWY", "MTU", "ABEPSU_",
    "ABCDEHOPSUVWY", "ACEFKMNOSZ", "BNSVW", "ADIKM", "AGI", "ADLMZ", "A", "DIO", "", "", "", "", "PR_",
)  # fmt: skip
_PROTECTED_ENDS = (
    *(
        "_CA_BUNDLE",
        "_CLASSPATH",
        "_ERL_ARGS",
        "_JAVA_OPTIONS",
        "_JVM_OPTIONS",
        "_OPTS",
        "_PROXY",
        "_VM_ARGS",
        "JVMFLAGS",
    ),
)
# What only looks like one of a family: a credential (GIT_TOKEN, SSL_PRIVATE_KEY), or a choice without a path in it.
_CREDENTIAL_ENDS = ("_KEY", "_PASS", "_PASSPHRASE", "_PASSWD", "_PASSWORD", "_PIN", "_SECRET", "_TOKEN", "_USERNAME")
_HARMLESS = " DOTNET_ENVIRONMENT NODE_ENV "

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shim.fingerprint import fingerprint as fingerprint
    from shim.fingerprint import keyed as keyed

    Reader = Callable[[bytes, int, bool], tuple[int, int, bytes]]


class Secret:
    """A value in custody: it can be compared and measured, but neither printed nor formatted nor pickled."""

    __slots__ = ("_file", "_value")

    def __init__(self, value: bytes, file: bytes | None = None) -> None:
        self._value = value
        self._file = file

    def reveal(self) -> bytes:
        """Return the value itself."""
        return self._value

    def reveal_file(self) -> bytes:
        """Return the file that it came in, byte for byte: a key without its last line end is none for ssh."""
        return self._value if self._file is None else self._file

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret does not travel in a pickle; reveal it where it is used")


def is_key(text: str) -> bool:
    """Return whether *text* can name an environment variable: `[A-Za-z_][A-Za-z0-9_]*`."""
    return text.isascii() and text.isidentifier()


def folded(name: str) -> str:
    """Return the form in which a file's name and a schema's key are compared: case and `.`, `-`, `_` do not count."""
    return name.lower().replace(".", "").replace("-", "").replace("_", "")


def fold_keys(keys: "Iterable[str]") -> dict[str, str]:
    """Return the folded form of each of *keys* with its key; the first of two that fold alike keeps its place."""
    known: dict[str, str] = {}
    for key in keys:
        known.setdefault(folded(key), key)
    return known


def env_key(file_name: str, keys: "Iterable[str]" = (), folded_keys: dict[str, str] | None = None) -> str:
    """Return the key that the secret file *file_name* gives; an empty string when its name cannot be a key.

    Args:
        file_name: without its folder.
        keys: the keys that the schema (or `--require`) asks for; one that equals the name, or its upper-cased form,
            wins, then one that equals it when case, `.`, `-` and `_` are ignored.
        folded_keys: `fold_keys(keys)`, for a caller with many names.
    """
    if not file_name.isascii():
        return ""  # "ß" has the upper case "SS"
    upper = file_name.upper().replace(".", "_").replace("-", "_")
    if keys:
        if file_name in keys:
            return file_name
        if upper in keys:
            return upper
        known = (fold_keys(keys) if folded_keys is None else folded_keys).get(folded(file_name))
        if known is not None:
            return known
    return upper if is_key(upper) else ""


def plain_keys(file_names: list[str]) -> list[str] | None:
    """Return `env_key` of each of *file_names* at once, where no keys are known; None when one is out of the ordinary.

    Most folders hold nothing but letters, digits, `-` and `_`: none of it is skipped, and all of it is a key.
    """
    text = "\n".join(file_names)
    upper = text.upper().replace("-", "_")
    bare = upper.replace("_", "").replace("\n", "")
    if not (text.isascii() and bare.isalnum()) or "README" in text or "RHSM" in upper or "ENTITLEMENT" in upper:
        return None
    keys = upper.split("\n")
    return keys if len(keys) == len(file_names) and all(map(str.isidentifier, keys)) else None


def is_skipped(file_name: str) -> bool:
    """Return whether a file of this name in a secrets root is no secret: hidden, an example, documentation, another's.

    Podman mounts RHEL's subscription there, Kubernetes and EKS their service accounts.
    """
    return (
        file_name.startswith((".", "README"))
        or file_name.endswith((".example", ".md"))
        or file_name in {"redhat.repo", "rhsm", "etc-pki-entitlement", "kubernetes.io", "eks.amazonaws.com"}
    )


def is_protected(key: str) -> bool:
    """Return whether *key* decides what programs load, run and trust: only who asks for it by name may set it.

    The container refuses such a name from a file that nobody asked for, and from a schema's default; so the host hands
    none over in a way that would be refused.
    """
    name = key.upper()  # curl reads https_proxy
    if name.endswith(_PROTECTED_ENDS):
        return True
    first = ord(name[0]) - 65 if name else -1
    if not 0 <= first <= 30 or name[1:2] not in _PROTECTED_SECONDS[first]:
        return False
    if f" {name} " in _PROTECTED or name.startswith(_PROTECTED_STARTS):
        return True
    family, underscore, _ = name.partition("_")
    return bool(
        underscore
        and f" {family} " in _PROTECTED_FAMILIES
        and not name.endswith(_CREDENTIAL_ENDS)
        and f" {name} " not in _HARMLESS
    )


def clean(data: bytes) -> bytes:
    """Return the value that a file's bytes stand for.

    Line ends at the end are dropped, `\\n` and `\\r\\n` (as `$(< file)` does, and for Windows editors); a UTF-8 byte
    order mark is dropped; UTF-16 with a byte order mark, as Windows PowerShell 5 writes it, becomes UTF-8. Nothing
    else is touched.
    """
    if data[:1] >= b"\xef":
        data = _without_byte_order_mark(data)
    if data[-1:] != b"\n":
        return data
    end = len(data) - 1
    if data[end - 1 : end] not in (b"\r", b"\n"):
        return data[:end]
    end += 1
    while end and data[end - 1] == 10:  # one look a line, however many there are
        end -= 2 if end > 1 and data[end - 2] == 13 else 1
    return data[:end]


def _without_byte_order_mark(data: bytes) -> bytes:
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and _is_utf16(data):
        return data.decode("utf-16").encode("utf-8")
    return data


# A codec that meets an error looks for its handler, and the handlers come with the half of the interpreter that the
# frozen shim leaves out. So bytes are looked at before they are decoded.


def _is_utf16(data: bytes) -> bool:
    """Return whether *data* is text, or only begins with two bytes that look like a byte order mark."""
    wants_second = False  # of a surrogate pair; the upper byte of each unit tells
    for upper in data[3::2] if data[:1] == b"\xff" else data[2::2]:
        if (upper & 0xFC == 0xDC) is not wants_second:
            return False
        wants_second = upper & 0xFC == 0xD8
    return not wants_second and len(data) % 2 == 0


def utf8_text(data: bytes) -> str | None:
    """Return the text that *data* is in UTF-8; None when it is none."""
    text = data.decode("utf-8", "ignore")
    return text if text.encode("utf-8") == data else None


def read_file(path: bytes, limit: int, follow: bool) -> tuple[int, int, bytes]:
    """Return mode, size in bytes, and at most `limit + 1` bytes of the file at *path*; no bytes of what is not a file.

    Neither a FIFO nor a device can make it wait. The frozen shim has the same in its start code.
    """
    import os

    # O_BINARY and the absent flags: the host side runs on Windows too.
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY") + (() if follow else ("O_NOFOLLOW",)):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        data = b""
        if status.st_mode & 0o170000 == 0o100000:
            while len(data) <= limit:
                block = os.read(descriptor, limit + 1 - len(data))
                if not block:
                    break
                data += block
        return status.st_mode, status.st_size, data
    finally:
        os.close(descriptor)


def read_secret(
    path: bytes,
    key: str,
    root: bytes = b"",
    max_bytes: int = MAX_SECRET_BYTES,
    raw_bytes: int = 0,
    reader: "Reader" = read_file,
    folder: int = -1,
    follow: bool = True,
    is_guarded: bool = False,
) -> Secret:
    """Return the `Secret` kept in the file at *path*.

    Args:
        path: the file; a symlink is followed, as Swarm and Kubernetes use them.
        key: the key that messages name.
        root: the secrets root that a symlink must not leave; empty when there is none.
        max_bytes: refuse a larger file.
        raw_bytes: the length of a binary value; a file of exactly that size is taken as it is.
        reader: what reads the bytes of a file below no root.
        folder: the root's descriptor, if it is open; else it is opened for this one file.
        follow: the root itself may be a link.
        is_guarded: take it only when nobody else could have written it.

    Raises:
        Missing, Directory, Unreadable, Unusable: each names the path and what to do.
        NotOurs: it is guarded, and another's.
    """
    if folder >= 0 and not is_guarded:
        plain = files.read_plain(folder, path[len(root) + 1 :], max_bytes)
        if plain is not None:
            return Secret(plain if raw_bytes and len(plain) == raw_bytes else clean(plain), plain)
    if root:
        mode, size, data = _below(path, key, root, max_bytes, folder, follow, is_guarded)
    else:
        try:
            mode, size, data = reader(path, max_bytes, True)
        except OSError as error:
            raise _no_value(path, key, error) from None
    kind = mode & 0o170000
    if kind == 0o100000 and not is_guarded and len(data) != size and len(data) <= max_bytes:
        mode, size, data = _settled(path, key, root, max_bytes, reader, folder, follow)
        kind = mode & 0o170000
    if kind != 0o100000:
        if kind == 0o020000 and _is_null_device(path):
            return Secret(b"")
        from shim.unreadable import not_a_file

        raise not_a_file(path, key, kind)
    if len(data) > max_bytes:
        from shim.unreadable import too_large

        raise too_large(path, key, max_bytes)
    if raw_bytes and len(data) == raw_bytes:
        return Secret(data)
    return Secret(clean(data), data)


def _below(
    path: bytes, key: str, root: bytes, max_bytes: int, folder: int, follow: bool, is_guarded: bool
) -> tuple[int, int, bytes]:
    """Return mode, size and bytes of a file below *root*, wherever the links below it lead."""
    from shim.folder import Folder

    held = Folder(root, follow, folder)
    try:
        return held.read(path[len(root) + 1 :], max_bytes, is_guarded)
    except OSError as error:
        raise _no_value(path, key, error, root) from None
    finally:
        if folder < 0:
            held.close()


def _settled(
    path: bytes, key: str, root: bytes, max_bytes: int, reader: "Reader", folder: int, follow: bool
) -> tuple[int, int, bytes]:
    """Return the same of a file that changed while it was read, once it is as long as it says, or never is."""
    for _ in range(_MOST_READS):
        if root:
            mode, size, data = _below(path, key, root, max_bytes, folder, follow, False)
        else:
            try:
                mode, size, data = reader(path, max_bytes, True)
            except OSError as error:
                raise _no_value(path, key, error) from None
        if len(data) == size or len(data) > max_bytes:
            break
    return mode, size, data


def _no_value(path: bytes, key: str, error: OSError, root: bytes = b"") -> Breach:
    from shim.unreadable import unreadable

    return unreadable(path, key, error, root)


def _is_null_device(path: bytes) -> bool:
    """Return whether *path* is /dev/null, which people mount where an optional secret has no file."""
    from os import stat

    return stat(path).st_rdev == _NULL_DEVICE


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Give the host what no start needs: its one door to this side is this module."""
        if name not in ("fingerprint", "keyed"):
            raise AttributeError(f"module 'shim.secret' has no attribute {name!r}")
        from shim import fingerprint

        return getattr(fingerprint, name)
