"""An engine that is given an image: which processor it runs on, and what it has."""

from typing import Any

from shim_host.errors import Failed
from shim_host.swarm.connection import Swarm


class Loader(Swarm):
    """A connection that images are loaded through."""

    def processor(self) -> str:
        """Return what the engine's containers run on, as it calls that."""
        return str(self._call("ask for its version", self._api.version).get("Arch", ""))

    def digest(self, tag: str) -> str:
        """Return the digest of the image *tag*; "" when there is none."""
        found: list[dict[str, Any]] = self._call("list images", lambda: self._api.images(name=tag))
        return str(found[0]["Id"]) if found else ""

    def load(self, archive: bytes, tag: str) -> str:
        """Load the image in *archive*, and return its digest.

        Raises:
            Failed: the engine does not take it.
        """

        def call() -> str:
            load: Any = self._api.load_image  # the SDK's types leave it out
            said = [step for step in load(archive) if isinstance(step, dict)]
            return next((str(step["error"]) for step in said if "error" in step), "")

        trouble = self._call(f"load {tag}", call)
        digest = "" if trouble else self.digest(tag)
        if not digest:
            raise Failed(f"the engine at {self.place} did not load {tag}: {trouble or 'it is not there afterwards'}")
        return digest
