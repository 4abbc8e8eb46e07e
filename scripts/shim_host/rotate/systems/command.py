"""Anything else: a program that is told the step as its argument, and the values on stdin."""

import json
import subprocess

from shim.secret import Secret, clean
from shim_host.errors import Ended, Refused, end_of
from shim_host.rotate.inside import How, Values


class Command:
    """Anything else: a program that is told the step as its argument, and the values on stdin."""

    keeps_both = False

    def __init__(self, key: str, how: How, values: Values, seconds: float) -> None:
        self.seconds = seconds  # for one step
        self.key = key
        self.how = how
        self.values = values

    def check(self) -> list[str]:
        """Let the program say whether it could."""
        try:
            self._run("check")
        except Ended as ended:
            return [ended.message]
        return []

    def begin(self) -> None:
        """Make the new value work."""
        self._run("begin")

    def finish(self) -> None:
        """End the old value."""
        self._run("finish")

    def take_back(self) -> None:
        """Make the old value work again."""
        self._run("undo")

    def _run(self, step: str) -> None:
        said = {
            "key": self.key,
            "old": _text(self.values.old),
            "new": _text(self.values.new) if step != "check" else None,
        }
        words = " ".join(self.how.words)
        try:
            done = subprocess.run(
                [*self.how.words, step],
                input=json.dumps(said).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what it says may hold what it was told
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(
                f"{self.key}: {words} {step} takes longer than {self.seconds:.0f} s",
                "see its own log; --timeout gives it more time",
            ) from None
        except OSError as error:
            hint = "it must be on the PATH, or be named with its folder"
            raise Refused(f"{self.key}: cannot run {words}: {error.strerror}", hint) from None
        if done.returncode != 0:
            hint = "0 is success; what it prints is not shown, since it may hold a value"
            raise Refused(f"{self.key}: {words} {step} ended with {end_of(done.returncode)}", hint)


def _text(value: Secret | None) -> str | None:
    return None if value is None else clean(value.reveal()).decode("utf-8", "surrogateescape")
