"""Compare what the start code reads of a schema and of JSON with what Python reads; run by test_frozen_build.py."""

import os
import random
import sys

sys.path.insert(0, sys.argv[2])
sys.path.insert(0, sys.argv[1])
import _kernel

from shim import files, json_text, schema
from shim.errors import Refused

ROUNDS = int(sys.argv[3])
random.seed(1)

HEADS = [
    "# ",
    "#",
    "  # ",
    "\t#\t",
    "# shim: ",
    "#shim:@",
    "# @",
    "# @",
    "# @",
    "# ---",
    "# ==",
    "#-x-",
    "",
    "export ",
    " ",
]
WORDS = [
    *("@required", "@sensitive", "@sensitive=false", "@type=port", "@type=string(minLength=1)", "@type=bytes(32, hex)"),
    *("@type=enum(a, b)", "@type=enum('a b', c)", "@type=string(startsWith=(x))", "@services=a,b", "@services=(a b)"),
    *('@composed="x${A|url}y"', '@composed="a\\"b"', "@composed='x'", "@composed=`x`", "@composed=x", '@composed="'),
    *("@docs(url)", "@docsUrl=https://x", "@only", "@only=maybe", "@defaultRequired=false", "@defaultSensitive=false"),
    *("@import=x", "@rotate=90d", "@rotate-with=postgres", "@deliver=file(mode=0400)", "@from=a.json(b)", "@nobody"),
    *("@type=url,", "@generate()", "@generate", "@type=number(min=1, max=9)x", "@type=a)b", "@type", "@", "@ required"),
    *(
        "a word",
        "größe",
        "über",
        "clé",
        "\u00a0",
        "\u2003@required",
        "\x85",
        "\t",
        "\x1c",
        "\0",
        "\r",
        "'",
        "(",
        ",",
        "---",
    ),
    *("$(x)", "#", " # @required", " # note", "-", "x=1"),
]
ASSIGNED = [
    *(
        "A=",
        "B=",
        "A=1",
        "B = x ",
        "C=a b",
        "C=a #b",
        "C=a#b",
        "D='x'",
        'D="y"',
        "D='x",
        "E=$A",
        "E=f()",
        "E=a)",
        "PATH=/",
    ),
    *(
        "SHIM_X=",
        "1A=",
        "=",
        "noequals",
        "F=ü",
        "Ü=1",
        "G=a\tb",
        "_=x",
        "H=x # @type=port",
        "H=#x",
        "H=# @required",
        "I===",
    ),
]
PIECES = [
    *'{}[]:,"\\ \t\n0123456789+-.eE',
    "true",
    "false",
    "null",
    '"a"',
    '"\\u00e9"',
    '"\\x"',
    "ü",
    "\x01",
    "\x7f",
    "[" * 70,
    "]" * 70,
]


def made_schema() -> bytes:
    """Return some lines, most of them right."""
    lines = []
    for _ in range(random.randrange(8)):
        if random.random() < 0.5:
            lines.append(
                random.choice(HEADS)
                + random.choice([" ", " ", ", ", ""]).join(random.choices(WORDS, k=random.randrange(4)))
            )
        else:
            lines.append(random.choice(["", "", "", " ", "export ", "export\t"]) + random.choice(ASSIGNED))
    text = random.choice(["\n", "\n", "\n", "\r\n"]).join(lines) + random.choice(["", "\n", "\n\n"])
    return text.encode() + random.choice([b"", b"", b"", b"\xff", b"\xa0", os.urandom(3)])


def meant(text: bytes, is_quick: bool) -> object:
    """Return everything that the schema *text* says, or every mistake in it."""
    files.ordinary_blocks = _kernel.ordinary_blocks if is_quick else lambda _: None
    try:
        read = schema.parse(text)
    except Refused as refusal:
        return sorted((breach.message, breach.hint) for breach in refusal.breaches)  # in any order within a line
    specs = [
        {name: vars(value) if name == "type" and value else value for name, value in vars(spec).items()}
        for spec in read.keys.values()
    ]
    return specs, {name: value for name, value in vars(read).items() if name != "keys"}


quick = 0
for _ in range(ROUNDS):
    text = made_schema()
    quick += _kernel.ordinary_blocks(text) is not None
    assert meant(text, True) == meant(text, False), text
    value = "".join(random.choices(PIECES, k=random.randrange(9))).encode()
    for candidate in (value, b'{"a": [%s, {}], "b": 1}' % value, os.urandom(random.randrange(5))):
        is_quick = _kernel.is_ordinary_json(candidate)
        quick += is_quick
        assert not is_quick or json_text.is_json(candidate), candidate
        assert is_quick or not json_text.is_json(candidate) or not candidate.isascii() or b"[" * 60 in candidate, (
            candidate
        )
assert quick > ROUNDS // 5, "too little is read in the start code"
os.write(1, f"went through, {quick} read by the start code\n".encode())
