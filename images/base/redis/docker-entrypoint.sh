#!/bin/sh
# Starts Redis the way the official image's entrypoint does, for images made from Debian's packages: options or a
# configuration file alone mean `redis-server`, and started as root it becomes `redis` (through gosu, keeping this PID).
set -e

case ${1:-} in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . \! -user redis -exec chown redis '{}' +
  exec gosu redis "$0" "$@"
fi
exec "$@"
