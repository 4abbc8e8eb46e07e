"""Values that the schema composes of others: parts first, each once, and in no circle."""

from shim import errors, template
from shim.resolution import COMPOSED, DEFAULT, Resolution, Resolved
from shim.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.schema import KeySpec

_MAX_COMPOSED_BYTES = 8_388_608  # of all composed values together
_MAX_STEPS = 100  # from a composed value to its parts, and theirs


def compose(
    resolution: Resolution, spec: "KeySpec", wrong: "dict[str, list[errors.Breach]]", on_the_way: list[str]
) -> None:
    """Give *spec* its composed value, or else its default.

    Args:
        resolution: what gets the value, and those of its parts.
        spec: of a key that no source has a value for.
        wrong: what is wrong with a key; it may grow.
        on_the_way: the keys that are being composed, each a part of the one before it.
    """
    key = spec.key
    if key in on_the_way:
        circle = " -> ".join([*on_the_way[on_the_way.index(key) :], key])
        wrong[key] = [
            errors.Breach(
                key, f"{key} is composed from itself: {circle}", "remove the circular reference from the schema"
            )
        ]
        return
    if spec.composed is None:
        _take_default(resolution, spec)
        return
    if key in resolution.tried:
        return  # each is composed once, however many refer to it
    if len(on_the_way) == _MAX_STEPS:
        wrong[key] = [errors.Breach(key, f"{key} is composed in over {_MAX_STEPS} steps", "name its parts directly")]
        return
    specs = resolution.schema.keys if resolution.schema is not None else {}
    parts = template.parse(spec.composed.encode("utf-8", "surrogateescape"))
    absent = []
    for part in parts:
        if isinstance(part, bytes):
            continue
        name = part[0]
        other = specs.get(name)
        if name not in resolution.secrets and other is not None and name not in wrong:
            compose(resolution, other, wrong, [*on_the_way, key])
        if not resolution.has(name):
            absent.append(name)
    resolution.tried.add(key)
    if absent:
        _take_default(resolution, spec)
        return
    try:
        value = template.fill(parts, resolution.value_of, resolution.documents)
        resolution.composed_bytes += len(value)
        if resolution.composed_bytes > _MAX_COMPOSED_BYTES:
            raise template.NotEncodable(
                f"all composed values together are longer than {_MAX_COMPOSED_BYTES} bytes",
                "use fewer composed values",
            )
    except template.NotEncodable as error:
        from shim.breaches import Unusable

        wrong[key] = [Unusable(key, f"{key} cannot be composed: {error}", error.hint)]
        return
    resolution.secrets[key] = Resolved(key, Secret(value), COMPOSED, b"", spec.deliver)


def _take_default(resolution: Resolution, spec: "KeySpec") -> None:
    if spec.default:
        resolution.secrets[spec.key] = Resolved(spec.key, Secret(spec.default), DEFAULT, b"", spec.deliver)
