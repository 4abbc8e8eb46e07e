"""The fixtures of the tests of rotation."""

from tests.support.rotation import image, project
from tests.support.rotation_compose import running
from tests.support.rotation_inside import service
from tests.support.rotation_scene import scene

__all__ = ["image", "project", "running", "scene", "service"]
