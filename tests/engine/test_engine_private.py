"""`scripts/engine`: a private engine comes when none answers, and leaves nothing when it goes.

All in a network namespace of its own: it meets neither this machine's rules nor another engine's.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.engine import ROOT, Engine, unavailable

pytestmark = pytest.mark.engine

SCRIPT = r"""
set -euo pipefail
engine=$0
kept=$XDG_CACHE_HOME/docker-secrets-shim/engine
network() { ip -o link | cut -d : -f 2; iptables-save | sed '/^[:#*C]/d'; cat /proc/sys/net/ipv4/ip_forward; }
ip link set lo up
network >before

! $engine find 2>/dev/null
exports=$($engine ensure 2>said)
eval "$exports"
docker version --format 'server {{.Server.Version}}'
docker network create --driver bridge other >/dev/null
echo "mode $(stat -c %a "$(dirname "${DOCKER_HOST#unix://}")")"
[ "$($engine ensure 2>>said)" = "$exports" ] && echo 'same engine'
[ "$($engine find 2>>said)" = "$exports" ] && echo 'found'
echo "started $(grep -c 'starting a private engine' said)"
pid=$(cat "${DOCKER_HOST:7:-5}.pid")

unset DOCKER_HOST
$engine stop 2>>said
[ ! -d "/proc/$pid" ] && echo 'ended'
network >after
diff before after && echo 'network as before'
[ ! -e "$kept" ] && echo 'no data'
"""


def test_a_private_engine_comes_and_goes(engine: Engine, tmp_path: Path) -> None:
    """`ensure` starts one engine however often it is called; `stop` ends it and puts everything back."""
    if os.getuid() != 0 or not all(map(shutil.which, ("dockerd", "unshare", "iptables", "ip"))):
        unavailable("starting an engine takes root, dockerd, iptables and iproute2")
    environ = {name: value for name, value in engine.environ.items() if name != "DOCKER_HOST"}
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", SCRIPT, ROOT / "scripts/engine"],
        cwd=tmp_path,
        env={**environ, "XDG_CACHE_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    version, *rest = done.stdout.splitlines()
    assert version.startswith("server ")
    assert rest == ["mode 700", "same engine", "found", "started 1", "ended", "network as before", "no data"]
