#!/bin/sh
# Starts nginx the way the official image's entrypoint does, for images made from Debian's packages: what is executable
# in /docker-entrypoint.d comes first, in the order of version numbers. An .envsh changes the environment of those after
# it, an .sh runs by itself; the rest is left alone. Each is said on stdout, unless NGINX_ENTRYPOINT_QUIET_LOGS is set.
set -e

say() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"; }

case ${1:-} in
  nginx | nginx-debug)
    find /docker-entrypoint.d -follow -type f | sort -V | while read -r script; do
      # shellcheck disable=SC1090  # the image's own, known to nobody here
      case $script in
        *.envsh) if [ -x "$script" ]; then say "sourcing $script" && . "$script"; else say "ignoring $script"; fi ;;
        *.sh) if [ -x "$script" ]; then say "running $script" && "$script"; else say "ignoring $script"; fi ;;
        *) say "ignoring $script" ;;
      esac
    done
    ;;
esac
exec "$@"
