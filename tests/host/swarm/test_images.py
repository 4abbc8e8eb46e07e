"""Images that a rotation would start besides the new value: built again under the same tag, or not there any more."""

from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound
from shim_host.swarm.move.services import ServiceWriter


def answer(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


class Engine:
    """An engine with a service whose container runs one image, while its tag means what the test says."""

    base_url, api_version, timeout = "http+docker://x", "1.41", 1

    def __init__(self, image: str, means: str | Exception) -> None:
        self.image, self.means = image, means

    def info(self) -> Any:
        return {"SystemTime": "2026-01-01T00:05:00.5Z", "Swarm": {"NodeID": "n1"}}

    def services(self) -> Any:
        spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": self.image}}, "Mode": {"Replicated": {}}}
        return [{"ID": "w1", "Version": {"Index": 1}, "Spec": spec}]

    def tasks(self) -> Any:
        return []

    def containers(self) -> Any:
        labels = {"com.docker.swarm.service.id": "w1"}
        return [{"Id": "c1", "ImageID": "sha256:one", "Labels": labels}, {"Id": "c2", "ImageID": "sha256:two"}]

    def inspect_image(self, image: str) -> Any:
        assert image == self.image
        if isinstance(self.means, Exception):
            raise self.means
        return {"Id": self.means, "Config": None}


@pytest.mark.parametrize(
    ("image", "means", "found"),
    [
        ("app:1", "sha256:one", {}),
        ("app:1", "sha256:two", {"w1": ("app:1", True)}),
        ("app:1", NotFound("no such image", answer(404)), {"w1": ("app:1", False)}),
        ("app:1", APIError("denied by policy", answer(403)), {}),
        ("app:1@sha256:0123", "sha256:two", {}),  # always the same
    ],
)
def test_an_image_that_changed_under_its_name_is_noticed(image: str, means: Any, found: Any) -> None:
    writer = ServiceWriter(Engine(image, means), "here")  # type: ignore[arg-type]
    services = writer.movable()
    assert writer.changed_images(services) == found
