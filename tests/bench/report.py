"""From rows to what a reader asks: how much each secret costs, whether the targets are met, one page of tables."""

from collections.abc import Iterable
from typing import Any

from tests.bench.programs import BASELINE

Row = dict[str, Any]

ABSENT = "—"
INSIDE = {True: "yes", False: "**no**", None: "not measured"}


def find(rows: list[Row], program: str, secrets: int | None = None, schema: bool = False) -> Row:
    """Return the row of *program*; an empty one when it is not among *rows*."""
    for row in rows:
        if (row["program"], row.get("secrets"), row.get("schema", False)) == (program, secrets, schema):
            return row
    return {}


def slopes(starts: list[Row]) -> list[Row]:
    """Return what one more secret costs, in microseconds, between two sizes of the same run."""
    found = []
    programs = dict.fromkeys((row["program"], row["schema"]) for row in starts if row["secrets"] is not None)
    for program, schema in programs:
        for few, many in ((20, 200), (20, 2000)):
            less, more = find(starts, program, few, schema), find(starts, program, many, schema)
            row: Row = {"program": program, "schema": schema, "from": few, "to": many}
            if "median_us" in less and "median_us" in more:
                for measure in ("median_us", "p10_us"):
                    row[measure] = round((more[measure] - less[measure]) / (many - few), 2)
            else:
                row["missing"] = less.get("missing") or more.get("missing") or "the run had no such sizes"
            found.append(row)
    return found


def targets(results: Row) -> list[Row]:
    """Return the promises with what was measured; the ratios are to `python3.11 -I -S -c pass` unless they say so."""
    starts, memory = results["starts"], results["memory"]
    shim = find(results["sizes"], "shim")
    init = find(memory, "shim --init", 20)

    def ratio(program: str, secrets: int, schema: bool = False) -> float | None:
        value: float | None = find(starts, program, secrets, schema).get("ratio")
        return value

    def against(program: str, other: str, secrets: int) -> float | None:
        ours = find(starts, program, secrets).get("median_us")
        theirs = find(starts, other, secrets).get("median_us")
        return round(ours / theirs, 3) if ours and theirs else None

    def slope(many: int) -> float | None:
        rows = [row for row in results["slopes"] if row["program"] == "shim" and not row["schema"]]
        value: float | None = next(row for row in rows if row["to"] == many).get("median_us")
        return value

    def schema_on_top(size: int) -> float | None:
        plain, checked = ratio("shim", size), ratio("shim", size, schema=True)
        return round(checked - plain, 3) if plain and checked else None

    sizes = sorted({row["secrets"] for row in starts if row["secrets"]})
    limits = {size: 1.25 if size == 1 else 1 for size in sizes}  # of what a script takes
    executed = find(results["instructions"], "shim", 20).get("instructions")
    wanted: list[tuple[str, float | None, float]] = [
        ("start-up with 20 secrets", ratio("shim", 20), 0.70),
        ("the same, public API only", ratio("shim, public API only", 20), 0.90),
        *(
            (f"a schema of 50 keys, on top of {size} secrets", schema_on_top(size), 0.10)
            for size in sizes
            if size <= 50
        ),
        ("page faults, 20 secrets", find(starts, "shim", 20).get("page_faults"), 300),
        ("million instructions, 20 secrets", _million(executed), 5.5),
        ("µs for one more secret, 20 to 200", slope(200), 8),
        ("µs for one more secret, 20 to 2,000", slope(2000), 8),
        *(
            (f"{size} secrets, against {other}", against("shim", other, size), limits[size])
            for other in ("bash file_env", "sh $(cat) loop")
            for size in sizes
        ),
        ("MB of the binary", _million(shim.get("bytes")), 11),
        ("MB of the binary, gzip -9", _million(shim.get("bytes_gzipped")), 5.5),
        ("--init, against exec, until the service's first instruction", _first_instruction(results), 1.05),
        ("--init, against exec, until both have ended", against("shim --init", "shim", 20), 1.05),
        ("MiB resident, --init", _mebi(init.get("rss_kib")), 8),
        ("MiB private, --init", _mebi(init.get("private_kib")), 1.2),
    ]
    return [
        {"target": name, "at_most": limit, "measured": value, "met": None if value is None else value <= limit}
        for name, value, limit in wanted
    ]


def _first_instruction(results: Row) -> float | None:
    if not results["first_instruction"]:
        return None
    by_exec, by_init = results["first_instruction"]
    ratio: float = by_init["median_us"] / by_exec["median_us"]
    return round(ratio, 3)


def page(results: Row) -> str:
    """Return the results as a page of Markdown."""
    where = results["machine"]
    origin = (
        f"{where['processor']}, {where['cores']} cores, {where['memory']}, Linux {where['kernel']}, {where['system']}, "
        f"load {where['load']}; commit {results['commit']}; binary sha256 `{results['sha256'][:16]}…`. "
        "Made by `tests/bench/run`.\n"
    )
    one_run = (
        f"All of one interleaved run, {results['rounds']} rounds in random order. In brackets the same share of the "
        "10th percentiles, which other work on the machine disturbs less.\n"
    )
    parts = [
        f"# Benchmarks, {results['date']}\n",
        origin,
        "## Targets\n",
        _table(
            ("", "at most", "measured", "met"),
            (
                (row["target"], _number(row["at_most"]), _number(row["measured"]), INSIDE[row["met"]])
                for row in results["targets"]
            ),
        ),
        f"## Start-up: spawn to exit of `/bin/true`, in shares of `{BASELINE}`\n",
        one_run,
        _shares(results["starts"]),
        "The same in milliseconds (median):\n",
        _milliseconds(results["starts"]),
        "The page faults of the same starts, those of `/bin/true` among them (median):\n",
        _by_size(results["starts"], lambda row: f"{row['page_faults']:,}"),
        "## Until a service's first instruction, 20 secrets, in µs\n",
        _table(
            ("", "10th percentile", "20th", "median"),
            (
                (row["program"], *(f"{row[f'{name}_us']:,.0f}" for name in ("p10", "p20", "median")))
                for row in results["first_instruction"]
            ),
        ),
        "## One more secret, in µs (median, in brackets of the 10th percentiles)\n",
        _table(
            ("", "20 to 200", "20 to 2,000"),
            (
                (_named(row), *(_slope(results["slopes"], row, many) for many in (200, 2000)))
                for row in results["slopes"]
                if row["to"] == 200
            ),
        ),
        "## Cold caches, 20 secrets\n",
        _table(
            ("", "ms (median)", "share"),
            (
                (_named(row), *_either(row, lambda row: (f"{row['median_us'] / 1e3:.1f}", f"{row['ratio']:.2f}")))
                for row in results["cold"]
            ),
        ),
        "## Instructions until exec, in millions (callgrind)\n",
        _table(
            ("", "secrets", "millions"),
            (
                (_named(row), _count(row), *_either(row, lambda row: (f"{row['instructions'] / 1e6:.2f}",)))
                for row in results["instructions"]
            ),
        ),
        "## Size, in MB\n",
        _table(
            ("", "on disk", "gzip -9"),
            (
                (
                    row["program"],
                    *_either(row, lambda row: (f"{row['bytes'] / 1e6:.2f}", f"{row['bytes_gzipped'] / 1e6:.2f}")),
                )
                for row in results["sizes"]
            ),
        ),
        "## Memory while the service runs, two containers of one image, in MiB\n",
        _table(
            ("", "resident", "private"),
            (
                (
                    _named(row),
                    *_either(row, lambda row: (f"{row['rss_kib'] / 1024:.2f}", f"{row['private_kib'] / 1024:.2f}")),
                )
                for row in results["memory"]
            ),
        ),
    ]
    absent = _absent(results)
    if absent:
        parts += ["## Not measured\n", "".join(f"- {line}\n" for line in absent)]
    return "\n".join(parts)


def _absent(results: Row) -> list[str]:
    """Return a line for each program and reason, of all tables, why there is no number."""
    tables = ("starts", "cold", "instructions", "sizes", "memory")
    rows = [row for table in tables for row in results[table] if "missing" in row]
    return list(dict.fromkeys(f"{_named(row)}: {row['missing']}" for row in rows))


def _shares(starts: list[Row]) -> str:
    return _by_size(starts, lambda row: f"{row['ratio']:.2f} ({row['ratio_p10']:.2f})")


def _milliseconds(starts: list[Row]) -> str:
    return _by_size(starts, lambda row: f"{row['median_us'] / 1e3:.2f}")


def _by_size(starts: list[Row], cell: Any) -> str:
    sizes = sorted({row["secrets"] for row in starts if row["secrets"] is not None})
    rows = []
    for program, schema in dict.fromkeys((row["program"], row["schema"]) for row in starts):
        alone = find(starts, program)
        if alone:
            rows.append((_named(alone), cell(alone) if "ratio" in alone else ABSENT, *[""] * len(sizes)))
            continue
        of_sizes = [find(starts, program, size, schema) for size in sizes]
        cells = [cell(row) if "ratio" in row else ABSENT for row in of_sizes]
        rows.append((_named(of_sizes[0]), "", *cells))
    return _table(("", "no secrets", *(f"{size:,}" for size in sizes)), rows)


def _slope(found: list[Row], like: Row, many: int) -> str:
    for row in found:
        if (row["program"], row["schema"], row["to"]) == (like["program"], like["schema"], many):
            return f"{row['median_us']:.1f} ({row['p10_us']:.1f})" if "median_us" in row else ABSENT
    return ""


def _named(row: Row) -> str:
    return f"{row['program']}, schema of 50" if row.get("schema") else str(row["program"])


def _count(row: Row) -> str:
    return "" if row["secrets"] is None else f"{row['secrets']:,}"


def _either(row: Row, cells: Any) -> tuple[str, ...]:
    return (ABSENT,) if "missing" in row else cells(row)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _million(count: int | None) -> float | None:
    return None if count is None else round(count / 1e6, 2)


def _mebi(kib: int | None) -> float | None:
    return None if kib is None else round(kib / 1024, 2)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(row + ("",) * (len(head) - len(row)) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
