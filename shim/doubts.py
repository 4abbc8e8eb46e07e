"""Values that are probably a mistake. Loaded when a value looks like one; no value, nor a part of one, is ever said.

A doubt is a warning: the value may be meant. Only a reference into a store that nobody has resolved is refused, where
the key is required or sensitive: a service that logs in with `op://vault/item` has no password. `@literal` ends all
doubts about a key.
"""

from shim.errors import Breach
from shim.resolution import ENVIRONMENT
from shim.secret import is_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.options import Options
    from shim.resolution import Resolution, Resolved

# Whose the references are that resolution.py lists, and what resolves them.
STORES = {
    b"op://": ("1Password", "op run -- or op inject"),
    b"vault:": ("Vault", "vault-env, or an agent"),
    b"se://": ("Docker's secrets engine", "an engine that knows it"),
    b"dso://": ("Docker Secrets Operator", "the operator's agent"),
    b"ref+": ("vals", "vals env, or helmfile"),
    b"ENC[": ("SOPS", "sops exec-env"),
    b"encrypted:": ("dotenvx", "dotenvx run"),
    b"$ANSIBLE_VAULT;": ("Ansible Vault", "ansible-vault decrypt"),
    b"age-encryption.org/": ("age", "age --decrypt"),
    b"-----BEGIN AGE ENCRYPTED FILE-----": ("age", "age --decrypt"),
    b"-----BEGIN PGP MESSAGE-----": ("GnuPG", "gpg --decrypt"),
    b"arn:aws:secretsmanager:": ("AWS Secrets Manager", "the task's secrets"),
    b"arn:aws:ssm:": ("AWS Systems Manager", "the task's secrets"),
    b"awssm://": ("AWS Secrets Manager", "what reads awssm://"),
    b"gcp-secret://": ("Google Secret Manager", "what reads gcp-secret://"),
    b"sm://": ("Google Secret Manager", "berglas exec"),
    b"berglas://": ("Google Secret Manager", "berglas exec"),
    b"@Microsoft.KeyVault(": ("Azure Key Vault", "the platform's own settings"),
    b"akv://": ("Azure Key Vault", "what reads akv://"),
    b"bws://": ("Bitwarden", "bws run"),
    b"keeper://": ("Keeper", "ksm exec"),
    b"infisical://": ("Infisical", "infisical run"),
    b"doppler://": ("Doppler", "doppler run"),
    b"akeyless:": ("Akeyless", "what reads akeyless:"),
    b"secretref:": ("Azure Container Apps", "the platform's own settings"),
}
_BLANKS = b" \t\r\n"
_AROUND = b"\"'" + _BLANKS
_QUOTES = (b'"', b"'")
# A key that ends so may well hold a path.
_OF_PATHS = ("PATH", "FILE", "DIR", "DIRECTORY", "FOLDER", "HOME", "ROOT", "SOCKET", "CERT", "CA", "CONFIG", "KEYTAB")
_LONGEST_PATH = 4096


def about(resolved: "Resolved", resolution: "Resolution", options: "Options") -> Breach | None:
    """Warn of what the value of *resolved* is likely to be instead of a value; return a breach where it is refused."""
    key = resolved.key
    spec = resolution.schema.keys.get(key) if resolution.schema is not None else None
    if spec is not None and spec.literal:
        return None
    value = resolved.secret.reveal()
    reference = _reference(value)
    if reference:
        message = f"{key}{_from(resolved)} holds {reference[0]}, which has not been resolved"
        hint = f"{reference[1]}; if this is the value itself, write @literal above {key}= in the schema"
        if key in options.require or (spec is not None and (spec.is_required or spec.is_sensitive)):
            return Breach(key, message, hint)
        resolution.sources.warnings.append((message, hint))
        return None
    is_structured = spec is not None and spec.type is not None and spec.type.name in ("json", "pem", "jwt")
    doubts = () if is_structured else _doubts(key, value, resolved, spec is not None and spec.resolves)
    for message, hint in doubts:
        resolution.sources.warnings.append((message, hint))
        break
    return None


def _reference(value: bytes) -> tuple[str, str] | None:
    """Return what *value* refers to, and who resolves that; quotes and white space around it change nothing."""
    value = value.strip(_AROUND)
    if value.startswith(b"ref+") and b"://" not in value:
        return None
    for start, (store, resolver) in STORES.items():
        if value.startswith(start):
            words = f"a reference into {store}, or something that it encrypted"
            return words, f"{resolver} resolves it, before the service starts"
    if value.startswith(b"${") and value.endswith(b"}") and _is_variable(value[2:-1]):
        return "a reference to a variable (${…})", "what should have put the variable's value there has not run"
    if value.startswith(b"$(") and value.endswith(b")") and is_key(value[2:-1].decode("ascii", "replace")):
        how = "Kubernetes replaces a variable that it lists before this one, and leaves any other as it is written"
        return "a reference to a variable ($(…))", how
    if value.startswith(b"{{") and value.endswith(b"}}"):
        return "a template's expression ({{ … }})", "what should have filled the template has not run"
    return None


def _is_variable(text: bytes) -> bool:
    """Return whether *text* is what is between the braces of a reference: a name, and perhaps `:-default`."""
    end = 0
    while end < len(text) and (text[end : end + 1].isalnum() or text[end : end + 1] in b"_"):
        end += 1
    return is_key(text[:end].decode("ascii", "replace")) and (end == len(text) or text[end : end + 1] in b":-+?=")


def _doubts(key: str, value: bytes, resolved: "Resolved", resolves: bool) -> "Iterator[tuple[str, str]]":
    """Yield what is likely to surprise about *value*, each with what to do; the first is enough."""
    where = _from(resolved)
    literal = f"if it is meant, write @literal above {key}= in the schema"
    lines = [line for line in value.split(b"\n") if line.strip()]
    if len(lines) > 1:
        if all(_is_assignment(line) for line in lines):
            yield (
                f"{key}{where} holds lines of KEY=value, and is passed on as one value",
                f"make it one file per key, or take one of them (@from in the schema); {literal}",
            )
        return
    for sign in ("=", ": "):
        name, found, _ = value.partition(sign.encode())
        if not found or name.removeprefix(b"export ").strip().upper() != key.upper().encode("utf-8", "surrogateescape"):
            continue
        yield (
            f"{key}{where} begins with {key}{sign.strip()}, and that is part of the value",
            f"write the value alone into the file; {literal}",
        )
    if value[:1] in _QUOTES and len(value) > 1 and value[:1] == value[-1:]:
        yield (
            f"{key}{where} is in quotes, and they are part of the value",
            f"write it without them: neither the shim nor docker's --env-file removes quotes; {literal}",
        )
    if value[:1] in (b"/", b".") and not key.upper().endswith(_OF_PATHS) and _is_file(value):
        yield (
            f"{key}{where} holds the path of an existing file, not its content",
            f"set {key}_FILE to that path instead; {literal}",
        )
    if value.startswith(b"file:/"):
        how = f"write @resolve above {key}= in the schema, or set {key}_FILE to the path"
        if resolves:
            how = "@resolve follows one in the environment alone: put the value itself into the file"
        yield f"{key}{where} holds a file: URL, not what is in the file", f"{how}; {literal}"
    if value != value.strip(_BLANKS):
        yield (
            f"{key}{where} begins or ends with white space, which is part of the value",
            f"a variable is taken as it is, and from a file only the line breaks at its end are dropped; {literal}",
        )
    if b"${" in value or b"{{" in value:
        yield (
            f"{key}{where} holds a reference (${{…}} or {{{{ … }}}}) that has not been resolved",
            f"the program that should replace it has not run; {literal}",
        )


def _is_assignment(line: bytes) -> bool:
    line = line.strip()
    if line[:1] == b"#":
        return True
    name, equals, _ = line.removeprefix(b"export ").partition(b"=")
    return bool(equals) and is_key(name.strip().decode("ascii", "replace"))


def _is_file(path: bytes) -> bool:
    from posix import stat

    if len(path) > _LONGEST_PATH or b"\0" in path:
        return False
    try:
        return stat(path).st_mode & 0o170000 == 0o100000
    except OSError:
        return False


def _from(resolved: "Resolved") -> str:
    if resolved.path:
        from shim.shown import shown_path

        return f" (from {shown_path(resolved.path)})"
    return " (from the environment)" if resolved.origin == ENVIRONMENT else f" ({resolved.origin})"
