"""Once the service has its values, its init has none: a scan of all of its memory finds no part of one."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.host import Canary

SCHEMA = """\
# @type=string(minLength=4, matches="^Qz[A-Z]+$")
PLAIN=
# @type=json
DOCUMENT=
# @composed="postgres://app:${PLAIN|url}@db/${WIDE|base64}?${DOCUMENT|json}"
COMPOSED=
# @deliver=file
LARGE=
# @deliver=memfd
MEMORY=
# @required
GIVEN=
WIDE=
DEFAULT=
"""


def copies(pid: int, values: list[str]) -> list[str]:
    """Return where in the memory of process *pid* eight characters of one of *values* are."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_, name = line.split() if len(line.split()) > 5 else [*line.split(), "anonymous"]
            start, end = (int(number, 16) for number in span.split("-"))
            if "r" not in rights or name.startswith("[v"):
                continue
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except OSError:
                continue
            found += [
                f"{name}: {value[at : at + 8]}"
                for value in values
                for at in (2, 9, 16)
                if value[at : at + 8].encode() in data
            ]
    return found


@pytest.mark.parametrize("options", [[], ["--user=nobody"], ["--log=json", "--wait-all"]], ids=" ".join)
def test_no_copy_stays_in_the_init(frozen: Shim, as_root: None, canary: Canary, options: list[str]) -> None:
    values = [canary() for _ in range(6)]
    plain, inner, large, memory, given, wide = values
    (frozen.folder / "schema").write_text(SCHEMA)
    for name, content in {
        "plain": plain.encode() + b"\n",
        "document": f'{{"a": ["{inner}"]}}'.encode(),
        "large": large.encode() * 9_000,
        "memory": memory.encode(),
        "wide": ("\ufeff" + wide).encode("utf-16-le"),
        **{f"other_{number}": canary().encode() for number in range(20)},
    }.items():
        (frozen.root / name).write_bytes(content)
    process = subprocess.Popen(
        [
            *(*frozen.command, *options, "--init", f"--schema={frozen.folder}/schema", "--", "sh", "-c"),
            'test "$PLAIN" && test "$GIVEN" && echo ready; exec sleep 60',
        ],
        env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(frozen.root), "GIVEN": given},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 20
        while copies(process.pid, values) and time.monotonic() < deadline:
            assert process.poll() is None  # it wipes once the service has run for a moment
        assert copies(process.pid, values) == []
        assert given.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()
    finally:
        process.terminate()
        process.wait(30)


def test_the_init_outlives_its_wiping_wherever_its_stack_lies(frozen: Shim) -> None:
    # Without random addresses, each variable of 16 bytes more moves the stack to the next place on its page.
    places = [
        subprocess.Popen(
            ["setarch", "-R", *frozen.command, "--init", "--", "sleep", "0.5"],
            cwd=frozen.folder,
            env={"PATH": "/usr/bin:/bin", "FILLER": "x" * filler},
            stderr=subprocess.PIPE,
        )
        for filler in range(0, 4096, 16)
    ]
    ended = [(place.communicate(timeout=60)[1], place.returncode) for place in places]
    assert ended == [(b"", 0)] * len(places)
