#!/usr/bin/env bash
# Says whether MariaDB answers, as the official image's script of this name does: with the login that the entrypoint made
# for it, so it needs no secret.
#
#   healthcheck.sh --connect [--innodb_initialized]
set -eo pipefail

ask() { mariadb --defaults-file=/var/lib/mysql/.my-healthcheck.cnf --protocol=socket --skip-column-names --batch --execute "$1"; }

[ $# -gt 0 ] || exit 1
for word in "$@"; do
  case $word in
    --connect) [ "$(ask 'SELECT @@skip_networking')" = 0 ] ;;
    --innodb_initialized)
      [ "$(ask "SELECT 1 FROM information_schema.ENGINES WHERE engine = 'innodb' AND support IN ('YES', 'DEFAULT')")" = 1 ] ;;
    *) echo "$0: unknown: $word" >&2 && exit 1 ;;
  esac
done
