"""The values of a project's secrets, looked for in a text in every form that they travel in."""

from shim_host.recognition.value_forms import forms

_SHORTEST = 8  # a form that is shorter occurs in many texts by chance


class KnownValues:
    """Values that are known, each with the key it belongs to."""

    def __init__(self) -> None:
        self._within: dict[str, tuple[str, str]] = {}
        # By how they begin: with thousands of values each text would otherwise be looked through once a form.
        self._by_start: dict[str, list[tuple[int, str]]] = {}

    def add(self, key: str, value: str) -> None:
        """Look for *value*, which belongs to *key*, from now on; of a form that two have, the first counts."""
        for written, how in forms(value.encode("utf-8", "surrogateescape")):
            form = written.decode("utf-8", "surrogateescape")
            if len(form) >= _SHORTEST and form not in self._within:
                self._by_start.setdefault(form[:_SHORTEST], []).append((len(self._within), form))
                self._within[form] = (key, how)

    def within(self, text: str) -> tuple[str, str] | None:
        """Return the key whose value *text* holds, of several the first, and words for its form; None without one."""
        starts = {text[at : at + _SHORTEST] for at in range(len(text) - _SHORTEST + 1)}
        found = [
            (number, form)
            for start in starts & self._by_start.keys()
            for number, form in self._by_start[start]
            if form in text
        ]
        return self._within[min(found)[1]] if found else None
