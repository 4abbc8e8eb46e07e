"""`python -m tests.corpus.generated FOLDER FIRST LAST`: write made-up Compose projects to FOLDER, one per seed.

Each is a tree of data first, and gets its form by chance: in blocks, in braces, as JSON, with anchors and merges, with
keys marked by `?`, in several documents and files, with other line ends. `python -m tests.corpus FOLDER` judges them;
Compose is the judge of what is a project, so that some of them count for nothing.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

KEYS = (
    "DB_PASSWORD",
    "API_TOKEN",
    "apiKey",
    "POSTGRES_PASSWORD",
    "JWT_SECRET",
    "my.secret",
    "REDIS_PASSWORD",
    "DATABASE_URL",
    "LEVEL",
    "NAME",
    "PORT",
    "DB_USER",
)
VALUES = ("q%d-zt w", "k%dQ$x", "v%d#h", "r%d'u", "x%d: y", "m%d\\n", "%d00", "0o%d7", "yes%d", "t%d=u=", " s%d ")
RAW = (
    "${%s}",
    "$%s",
    "${%s:-d-%s}",
    "${NOPE-${%s:-x}}",
    "${NOPE:-${ALSO_NOPE:-${%s}}}",
    "${%s:+set}",
    "${%s:?needed}",
    "pre-${%s}-post",
    "a$$b-%s",
    "plain w %s",
    "u: ${%s} # h",
    "postgres://u:${%s}@db/n?x=1&y=2",
    "",
    "'q%s'",
    'a"%s"b',
    "two\nlines %s",
    "!x%s",
    "*y%s",
    "- z%s",
    "2024-01-01",
    "0123",
    "1e3",
    "on",
    "~",
)
IMAGES = ("postgres:16", "mysql:8", "redis:7", "mariadb:11", "app", "reg.example/app:1", "wordpress", "nginx:1-alpine")
FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")


class Tagged(NamedTuple):
    """A node with a tag: `!reset`, `!override`."""

    tag: str
    node: Any


class Anchored(NamedTuple):
    """A node that has a name."""

    name: str
    node: Any


class Alias(NamedTuple):
    """Another place of a node that has a name."""

    name: str


class Merge(NamedTuple):
    """A `<<` of named mappings, before what a mapping has itself."""

    names: Sequence[str]
    own: dict[str, Any]


class Writer:
    """Writes data as YAML, each decision by chance."""

    def __init__(self, chance: Random, *, is_plain: bool = False) -> None:
        self.chance = chance
        self.is_plain = is_plain
        self.comments = 0
        self.tab = "\t" if chance.random() < 0.1 else " "

    def often(self, share: float) -> bool:
        return not self.is_plain and self.chance.random() < share

    def comment(self) -> str:
        if not self.often(0.15):
            return ""
        self.comments += 1
        return f"{self.tab}# c{self.comments}."

    def block(self, node: Any, indent: int) -> Iterator[str]:
        """Yield the lines of a collection."""
        left = " " * indent
        if isinstance(node, Merge):
            names = [f"*{name}" for name in node.names]
            merge = f"{left}<<: {names[0] if len(names) == 1 else '[' + ', '.join(names) + ']'}{self.comment()}"
            own = list(self.block(node.own, indent)) if node.own else []
            yield from [merge, *own] if self.chance.random() < 0.8 else [*own, merge]
            return
        step = self.chance.choice((2, 2, 2, 4, 3))
        for entry in node.items() if isinstance(node, dict) else node:
            if self.often(0.05):
                yield from self.chance.choice(([""], [left + (self.comment().lstrip() or "# -")], ["# out"]))
            key, value = entry if isinstance(node, dict) else (None, entry)
            if key is None:
                yield from self.entry(left + "-", value, indent, step, in_list=True)
            elif self.often(0.04):
                yield f"{left}? {self.key(key)}{self.comment()}"
                yield from self.entry(left + ":", value, indent, step, in_list=True)
            elif self.often(0.02):
                yield f"{left}? |-"
                yield f"{left}  {key}"
                yield from self.entry(left + ":", value, indent, step, in_list=True)
            else:
                gap = " " if self.often(0.03) else ""
                yield from self.entry(f"{left}{self.key(key)}{gap}:", value, indent, step)

    def entry(self, front: str, value: Any, indent: int, step: int, *, in_list: bool = False) -> Iterator[str]:
        """Yield the lines of one entry, which begin with *front*."""
        if isinstance(value, Anchored):
            front, value = f"{front} &{value.name}", value.node
        elif isinstance(value, Tagged):
            front, value = f"{front} {value.tag}", value.node
        if isinstance(value, (dict, list, Merge)) and (value or isinstance(value, Merge)) and not self.often(0.15):
            yield front + self.comment()
            is_deep = isinstance(value, (dict, Merge)) or in_list or "?" in front or self.chance.random() < 0.6
            yield from self.block(value, indent + step if is_deep else indent)
        elif isinstance(value, str) and self.often(0.06) and value.strip() and value == value.strip():
            yield f"{front} {self.chance.choice(('|-', '>-') if chr(10) not in value else ('|-',))}{self.comment()}"
            yield from (" " * (indent + step) + line for line in value.split("\n"))
        else:
            text = self.flow(value)
            gap = self.tab if front.endswith(":") and not in_list else " "
            yield f"{front}{gap if text else ''}{text}{self.comment()}"

    def flow(self, value: Any) -> str:
        """Return *value* on one line."""
        if isinstance(value, Anchored):
            return f"&{value.name} {self.flow(value.node)}"
        if isinstance(value, Tagged):
            return f"{value.tag} {self.flow(value.node)}"
        if isinstance(value, Alias):
            return f"*{value.name}"
        if isinstance(value, Merge):
            names = ", ".join(f"*{name}" for name in value.names)
            return "{" + ", ".join([f"<<: [{names}]", *self.pairs(value.own)]) + "}"
        end = "," if self.often(0.1) else ""
        if isinstance(value, dict):
            return "{" + ", ".join(self.pairs(value)) + (end if value else "") + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.flow, value)) + (end if value else "") + "]"
        if isinstance(value, str):
            return self.scalar(value)
        return json.dumps(value)

    def pairs(self, value: dict[str, Any]) -> Iterator[str]:
        yield from (f"{self.key(key)}: {self.flow(item)}" for key, item in value.items())

    def key(self, key: str) -> str:
        return key if not self.often(0.05) else self.chance.choice((f'"{key}"', f"'{key}'"))

    def scalar(self, value: str) -> str:
        is_simple = value and all(c.isalnum() or c in "/._$-{}" for c in value) and value[0].isalpha()
        is_simple = is_simple and "{" not in value and value.lower() not in ("on", "off", "yes", "no", "true", "null")
        styles: list[Callable[[str], str]] = [json.dumps]
        if "\n" not in value:
            styles.append(lambda text: "'" + text.replace("'", "''") + "'")
        if is_simple:
            styles += [str, str, str]
        if self.often(0.03) and " " in value.strip() and "\n" not in value:
            # A scalar over two lines, deep enough for wherever it is.
            first, _, rest = value.strip().partition(" ")
            if value == value.strip() and "  " not in value:
                return json.dumps(first)[:-1] + "\n" + " " * 20 + json.dumps(rest)[1:]
        return self.chance.choice(styles)(value)


class Maker:
    """Makes the data of one project."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"project {seed}")
        self.anchors: dict[str, Any] = {}
        self.extra: dict[str, bytes] = {}
        self.number = 0

    def often(self, share: float) -> bool:
        return self.chance.random() < share

    def value(self) -> str:
        self.number += 1
        return self.chance.choice(VALUES) % (self.number * 7919 % 100000)

    def raw(self, key: str) -> str:
        raw = self.chance.choice(RAW)
        return raw.replace("%s", self.chance.choice((key, key, *KEYS[:9])).replace("my.secret", "JWT_SECRET"))

    def pairs(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self.chance.sample(KEYS, count):
            found[key] = self.raw(key) if not self.often(0.06) else self.chance.choice((12, 1.5, None))
        return found

    def environment(self, *, as_mapping: bool = False) -> Any:
        pairs = self.pairs(self.chance.randrange(1, 6))
        if as_mapping or self.often(0.55):
            return pairs
        return [key if value is None or self.often(0.15) else f"{key}={value}" for key, value in pairs.items()]

    def env_file(self, name: str, folder: str = "") -> str:
        lines = []
        for key in self.chance.sample([key for key in KEYS if "." not in key], self.chance.randrange(1, 6)):
            value = self.value()
            lines.append(
                self.chance.choice(
                    (
                        f"{key}='{value.replace(chr(39), '')}'",
                        f'{key}="{value}"',
                        f"export {key}={value}",
                        f"{key}={value}",
                    )
                )
                if not self.often(0.1)
                else self.chance.choice((key, f"{key}=", f"{key}=${{LEVEL:-n}}", f"# {key}"))
            )
        end = "\r\n" if self.often(0.1) else "\n"
        self.extra[f"{folder}{name}"] = (end.join(lines) + (end if self.often(0.85) else "")).encode()
        return name

    def env_files(self, folder: str = "") -> Any:
        found: list[Any] = []
        for number in range(self.chance.randrange(1, 3)):
            name = self.chance.choice((".env", f"a{number}.env", f"./conf/b{number}.env"))
            if name != ".env" or folder:
                self.env_file(name.removeprefix("./"), folder)
            form = self.chance.random()
            if form < 0.4:
                found.append(name)
            elif form < 0.5:
                found.append(f"${{NOPE:-{name}}}")
            elif form < 0.7:
                found.append({"path": name})
            elif form < 0.8:
                found.append({"path": f"missing{number}.env", "required": False})
            elif form < 0.9:
                found.append({"path": name, "required": self.chance.choice((True, False))})
            else:
                found.append({"path": name, "format": "raw"} if self.has_raw else {"path": name})
        if len(found) == 1 and isinstance(found[0], str) and self.often(0.6):
            return found[0]
        return found

    has_raw = True

    def service(self, names: Sequence[str], *, folder: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.often(0.85):
            made["image"] = self.chance.choice(IMAGES)
        else:
            made["build"] = self.chance.choice(
                (".", {"context": ".", "args": self.environment()}, {"context": ".", "args": {"V": "${PORT:-1}"}})
            )
        for share, name, makers in self.fields(names, folder):
            if self.often(share):
                made[name] = self.chance.choice(makers)()
        items = list(made.items())
        self.chance.shuffle(items)
        return dict(items)

    def fields(self, names: Sequence[str], folder: str) -> Iterator[tuple[float, str, Sequence[Callable[[], Any]]]]:
        """Yield how often a service has a field, its name, and what makes it."""
        yield 0.75, "environment", (self.environment,)
        yield 0.4, "env_file", (lambda: self.env_files(folder),)
        yield 0.2, "secrets", (lambda: ["other"], lambda: [{"source": "other", "target": "/o", "mode": 0o440}])
        yield 0.15, "configs", (lambda: ["text"],)
        yield 0.2, "command", (self.command,)
        yield 0.15, "entrypoint", (self.command,)
        yield 0.15, "healthcheck", (self.healthcheck,)
        yield 0.15, "labels", (lambda: ["a=b", "c.d=${LEVEL:-x}"], lambda: {"a": "b", "e": "${NAME:-y}"})
        yield (
            0.1,
            "deploy",
            (lambda: {"replicas": 1, "resources": {"limits": {"memory": "50M"}}, "labels": {"l": "1"}},),
        )
        yield 0.1, "develop", (lambda: {"watch": [{"action": "sync", "path": "./src", "target": "/src"}]},)
        yield 0.1, "group_add", (lambda: ["video", "44"],)
        yield 0.15, "user", (lambda: "7:8", lambda: "app", lambda: "1000")
        yield 0.1, "profiles", (lambda: ["dev", "x"],)
        yield 0.1, "volumes", (lambda: ["data:/d", {"type": "bind", "source": "./h", "target": "/h"}],)
        yield 0.1, "ports", (lambda: ["8080:80", {"target": 81, "published": "${PORT:-9}1"}],)
        yield 0.1, "x-own", (lambda: {"k": ["v", 1, None, True]},)
        yield 0.1, "restart", (lambda: "no",)
        yield 0.1, "logging", (lambda: {"driver": "json-file", "options": {"max-size": "10m"}},)
        yield 0.05, "networks", (lambda: {"default": None},)
        yield 0.05, "ulimits", (lambda: {"nofile": {"soft": 1, "hard": 2}},)
        yield 0.1, "read_only", (lambda: True,)
        if names:
            after = {names[0]: {"condition": "service_started"}}
            yield 0.1, "depends_on", (lambda: [names[0]], lambda: after)

    def command(self) -> Any:
        return self.chance.choice(
            (
                "run it",
                ["run", "--x", "$${API_TOKEN}"],
                "sh -c 'a && b'",
                ["sh", "-c", "echo hi"],
                ["serve", "-p", "80"],
                [],
            )
        )

    def healthcheck(self) -> Any:
        return self.chance.choice(
            (
                {"test": ["CMD", "ready"], "interval": "1s"},
                {"test": ["CMD-SHELL", "ready -p $$DB_PASSWORD || exit 1"], "retries": 3},
                {"test": "ready"},
                {"disable": True},
                {"test": ["NONE"]},
            )
        )

    def project(self) -> dict[str, bytes]:
        """Return the files of the project, by path."""
        main: dict[str, Any] = {}
        commons: list[str] = []
        for number in range(self.chance.randrange(0, 3)):
            name = f"e{number}"
            commons.append(name)
            main[f"x-{name}"] = Anchored(name, self.pairs(self.chance.randrange(1, 4)))
        if self.often(0.2):
            main["name"] = self.chance.choice(("proj", "proj-1"))
        if self.often(0.2):
            main["version"] = "3.8"
        services: dict[str, Any] = {}
        for name in self.chance.sample(("web", "db", "api.v2", "job_1", "cache", "a-b"), self.chance.randrange(1, 5)):
            service = self.service(list(services))
            if isinstance(service.get("environment"), dict) and commons and self.often(0.6):
                chosen = self.chance.sample(commons, self.chance.randrange(1, len(commons) + 1))
                own = service["environment"] if self.often(0.8) else {}
                service["environment"] = Merge(chosen, own)
            elif isinstance(service.get("environment"), dict) and commons and self.often(0.2):
                service["environment"] = Alias(self.chance.choice(commons))
            services[name] = service
        self.share(services)
        self.extend(services)
        self.merge_services(main, services)
        main["services"] = services
        if "configs" in str(services) or self.often(0.1):
            main["configs"] = {
                "text": self.chance.choice(({"content": "level=${LEVEL:-1}\nname=x\n"}, {"file": "./text.cfg"}))
            }
        self.extra["other.txt"] = b"o\n"
        main["secrets"] = {"other": {"file": "./other.txt"}}
        if self.often(0.2):
            main["secrets"]["shell"] = {"environment": self.chance.choice(KEYS[:4])}
        main["volumes"] = self.chance.choice(({"data": None}, {"data": {}}, {"data": {"labels": ["x=y"]}}))
        if self.often(0.15):
            main["networks"] = {"default": {"driver": "bridge"}}
        if self.often(0.15):
            main["include"] = self.included()
        items = list(main.items())
        heads = [entry for entry in items if isinstance(entry[1], Anchored)]
        rest = [entry for entry in items if not isinstance(entry[1], Anchored)]
        self.chance.shuffle(rest)
        file = self.chance.choice(FILES)
        whole = self.text(dict([*heads, *rest]))
        if self.often(0.1):
            more = {"services": {self.chance.choice(list(services)): {"init": True, "environment": self.pairs(1)}}}
            whole += "---\n" + "\n".join(Writer(self.chance).block(more, 0)) + "\n"
        files = {file: self.finished(whole)}
        if self.often(0.25):
            files[file.replace(".y", ".override.y")] = self.finished(self.text(self.override(services)))
        lines = []
        for key in KEYS:
            if "." in key or self.often(0.1):
                continue
            value = self.value()
            lines.append(
                self.chance.choice((f"{key}='{value.replace(chr(39), '')}'", f"{key}={value}", f'{key}="{value}"'))
            )
        files[".env"] = ("\n".join(lines) + "\n").encode()
        return {**self.extra, **files}

    def merge_services(self, main: dict[str, Any], services: dict[str, Any]) -> None:
        """Let services have fields of an extension by a merge, or let one be another by an alias."""
        for number in range(self.chance.choice((0, 0, 0, 1, 2))):
            name = f"s{number}"
            common = self.service([])
            for field in ("configs", "volumes"):
                common.pop(field, None)
            main[f"x-{name}"] = Anchored(name, common)
            for service, made in services.items():
                if isinstance(made, dict) and self.often(0.5):
                    # One of the two makes the image; Compose takes both.
                    own = {field: value for field, value in made.items() if field != "image" or self.often(0.6)}
                    services[service] = Merge([name], own)
        names = list(services)
        if len(names) > 1 and self.often(0.06) and isinstance(services[names[0]], dict):
            services[names[0]] = Anchored("whole", services[names[0]])
            services[names[1]] = Alias("whole")

    def share(self, services: dict[str, Any]) -> None:
        """Let a service have a field of another by an alias, or all of its fields by a merge."""
        names = list(services)
        for first, second in pairwise(names):
            if not self.often(0.25):
                continue
            field = self.chance.choice([f for f, v in services[first].items() if isinstance(v, (dict, list))] or [""])
            anchor = f"f{len(self.anchors)}"
            self.anchors[anchor] = None
            if field:
                services[first][field] = Anchored(anchor, services[first][field])
                services[second][field] = Alias(anchor)

    def extend(self, services: dict[str, Any]) -> None:
        """Let a service extend another, of its file or of another one."""
        names = list(services)
        if self.often(0.2) and len(names) > 1 and isinstance(services[names[1]], dict):
            services[names[1]]["extends"] = self.chance.choice((names[0], {"service": names[0]}))
        if self.often(0.2):
            base = self.service([], folder="")
            base.pop("depends_on", None)
            base.pop("configs", None)
            base.pop("secrets", None)
            document = {"services": {"base": base}}
            place = self.chance.choice(("base.yaml", "sub/base.yml"))
            if place.startswith("sub/"):
                base.pop("env_file", None)
            self.extra[place] = self.finished(self.text(document))
            services[names[-1]]["extends"] = {"file": place, "service": "base"}

    def override(self, services: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name in self.chance.sample(list(services), self.chance.randrange(1, len(services) + 1)):
            more: dict[str, Any] = {}
            form = self.chance.random()
            if form < 0.5:
                more["environment"] = self.environment()
            elif form < 0.6:
                more["environment"] = Tagged("!override", self.environment())
            elif form < 0.7:
                more["environment"] = Tagged("!reset", self.chance.choice(({}, [], None)))
            elif form < 0.8:
                more["environment"] = {self.chance.choice(KEYS): Tagged("!reset", None), "NEW_TOKEN": "${API_TOKEN:-n}"}
            elif form < 0.9:
                more["env_file"] = self.chance.choice((Tagged("!reset", []), self.env_files()))
            else:
                more["command"] = Tagged("!override", ["other"])
            changed[name] = more
        if self.often(0.3):
            changed["late"] = self.service([])
            changed["late"].pop("configs", None)
        return {"services": changed}

    def included(self) -> list[Any]:
        service = self.service([])
        service.pop("configs", None)
        service.pop("secrets", None)
        service.pop("volumes", None)
        service.pop("env_file", None)
        self.extra["inc/compose.yaml"] = self.finished(self.text({"services": {"inside": service}}))
        form = self.chance.random()
        if form < 0.4:
            return ["inc/compose.yaml"]
        entry: dict[str, Any] = {"path": self.chance.choice(("inc/compose.yaml", ["inc/compose.yaml"]))}
        if self.often(0.5):
            entry["project_directory"] = self.chance.choice(("inc", ".", "./inc"))
        if self.often(0.5):
            self.env_file("of.env", "inc/")
            entry["env_file"] = self.chance.choice(("inc/of.env", ["./inc/of.env"]))
        return [entry]

    def text(self, document: dict[str, Any]) -> str:
        if self.often(0.1) and not _has_tags(document):
            return json.dumps(_plain(document, {}), indent=self.chance.choice((None, 2, 4))) + "\n"
        front = self.chance.choice(("", "", "", "# head\n", "---\n"))
        end = self.chance.choice(("", "", "", "# the end\n", "...\n"))
        return front + "\n".join(Writer(self.chance).block(document, 0)) + "\n" + end

    def finished(self, text: str) -> bytes:
        if self.often(0.15):
            text = text.rstrip("\n")
        if self.often(0.1):
            text = text.replace("\n", "\r\n")
        return (b"\xef\xbb\xbf" if self.often(0.05) else b"") + text.encode()


def _has_tags(node: Any) -> bool:
    if isinstance(node, Tagged):
        return True
    if isinstance(node, Anchored):
        return _has_tags(node.node)
    return any(map(_has_tags, node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()))


def _plain(node: Any, named: dict[str, Any]) -> Any:
    """Return *node* without anchors, as JSON needs it."""
    if isinstance(node, Anchored):
        named[node.name] = _plain(node.node, named)
        return named[node.name]
    if isinstance(node, Alias):
        return named[node.name]
    if isinstance(node, Merge):
        found: dict[str, Any] = {}
        for name in reversed(node.names):
            found.update(named[name])
        return {**found, **_plain(node.own, named)}
    if isinstance(node, dict):
        return {key: _plain(value, named) for key, value in node.items()}
    return [_plain(value, named) for value in node] if isinstance(node, list) else node


def write(folder: Path, seed: int, *, has_raw: bool = True) -> None:
    """Write the project of *seed* to *folder*."""
    maker = Maker(seed)
    maker.has_raw = has_raw
    for name, content in maker.project().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        write(Path(sys.argv[1], f"p{number}"), number)
