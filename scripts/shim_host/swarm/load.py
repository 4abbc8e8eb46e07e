"""An engine that is given an image: which processor it runs on, and what it has."""

import json

from shim_host.errors import Failed
from shim_host.swarm.connection import Swarm

_SECONDS = 300  # an engine on a slow disk unpacks it


class Loader(Swarm):
    """A connection that images are loaded through."""

    def processor(self) -> str:
        """Return what the engine's containers run on, as it calls that."""
        return str(self._found("ask for its version", self._api.version).get("Arch", ""))

    def digest(self, tag: str) -> str:
        """Return the digest of the image *tag*; "" when there is none."""
        found = self._listed("list images", lambda: self._api.images(name=tag))
        return str(found[0]["Id"]) if found else ""

    def load(self, archive: bytes, tag: str) -> str:
        """Load the image in *archive*, and return its digest.

        Raises:
            Failed: the engine does not take it.
        """

        def call() -> str:
            # Not the SDK's method, which reads for as long as something comes.
            url = f"{self._api.base_url}/v{self._api.api_version}/images/load"
            answer = self._api.post(url, data=archive, params={"quiet": "1"}, timeout=_SECONDS)
            answer.raise_for_status()
            said = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
            return next((str(step["error"]) for step in said if "error" in step), "")

        trouble = self._call(f"load {tag}", call)
        digest = "" if trouble else self.digest(tag)
        if not digest:
            raise Failed(f"the engine at {self.place} did not load {tag}: {trouble or 'it is not there afterwards'}")
        return digest
