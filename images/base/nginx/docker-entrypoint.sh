#!/bin/sh
# Starts nginx the way the official image's entrypoint does, for images made from Debian's packages: the scripts of
# /docker-entrypoint.d run first, in order, and then the command.
set -e

case ${1:-} in
  nginx | nginx-debug)
    for script in /docker-entrypoint.d/*.sh; do
      [ ! -x "$script" ] || "$script"
    done
    ;;
esac
exec "$@"
