#!/bin/sh
# Starts Redis the way the official image's entrypoint does, for images made from Debian's packages: options or a
# configuration file alone mean `redis-server`, and started as root it becomes `redis`, keeping this PID. Up to version 7
# whatever lies in the working directory is made its own, through gosu; since version 8 just what Redis would have put
# there, and it goes with no privilege that could come back. REDIS_VERSION says which.
set -e

case ${1:-} in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
  case ${REDIS_VERSION:-7} in
    [1-7] | [1-7].*)
      find . ! -user redis -exec chown redis '{}' +
      exec gosu redis "$0" "$@"
      ;;
  esac
  bounding=$(setpriv --dump | sed -n 's/^Capability bounding set: //p')
  may() { case ",$bounding," in *",$1,"*) return 0 ;; *) return 1 ;; esac }
  if [ -z "$SKIP_DROP_PRIVS" ] && may setuid && may setgid; then
    if [ -z "$SKIP_FIX_PERMS" ] &&
      [ -z "$(find . -mindepth 1 -maxdepth 1 ! -name '*.rdb' ! -name appendonlydir -print -quit)" ]; then
      find . ! -user redis -exec chown redis '{}' +
    fi
    exec setpriv --reuid redis --regid redis --clear-groups --nnp --inh-caps=-all --ambient-caps=-all \
      --bounding-set=-all "$0" "$@"
  fi
fi
# Files of its own are nobody else's; who set a mask means it.
[ "$(umask)" != 0022 ] || umask 0077
exec "$@"
