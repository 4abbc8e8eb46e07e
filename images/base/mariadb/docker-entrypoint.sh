#!/usr/bin/env bash
# Starts MariaDB the way the official image's entrypoint does, for images made from Debian's packages.
#
# Started as root it becomes `mysql` (through gosu, so the server keeps this PID). An empty data folder is initialised
# from MARIADB_ROOT_PASSWORD, MARIADB_DATABASE, MARIADB_USER and MARIADB_PASSWORD; MYSQL_* are the older names of these.
set -Eeuo pipefail

DATA=/var/lib/mysql

# Take NAME from the file that NAME_FILE points to. Both set and not empty is refused; an empty one counts as unset.
file_env() { # NAME
  local name=$1 pointer=$1_FILE value=''
  if [ -n "${!name:-}" ] && [ -n "${!pointer:-}" ]; then
    printf >&2 'error: both %s and %s are set (but are exclusive)\n' "$name" "$pointer"
    exit 1
  fi
  if [ -n "${!name:-}" ]; then
    value=${!name}
  elif [ -n "${!pointer:-}" ]; then
    value=$(<"${!pointer}")
  fi
  export "$name=$value"
  unset "$pointer"
}

read_settings() {
  local part old
  for part in ROOT_PASSWORD DATABASE USER PASSWORD; do
    old=MYSQL_$part
    file_env "$old"
    file_env "MARIADB_$part"
    # The newer name wins over the older one.
    local new=MARIADB_$part
    [ -n "${!new}" ] || export "$new=${!old}"
    unset "$old"
  done
}

# A string and a name as SQL reads them; a backslash escapes inside a string unless the server is told otherwise.
sql_string() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\'\'}"
}
# shellcheck disable=SC2016  # SQL's own quotes
sql_name() { printf '`%s`' "${1//\`/\`\`}"; }

first_statements() {
  printf 'SET @@SESSION.SQL_LOG_BIN=0;\n'
  printf 'FLUSH PRIVILEGES;\n'
  printf 'ALTER USER root@localhost IDENTIFIED BY %s;\n' "$(sql_string "$MARIADB_ROOT_PASSWORD")"
  printf "CREATE USER root@'%%' IDENTIFIED BY %s;\n" "$(sql_string "$MARIADB_ROOT_PASSWORD")"
  printf "GRANT ALL ON *.* TO root@'%%' WITH GRANT OPTION;\n"
  if [ -n "$MARIADB_DATABASE" ]; then printf 'CREATE DATABASE %s;\n' "$(sql_name "$MARIADB_DATABASE")"; fi
  if [ -n "$MARIADB_USER" ] && [ -n "$MARIADB_PASSWORD" ]; then
    printf "CREATE USER %s@'%%' IDENTIFIED BY %s;\n" "$(sql_string "$MARIADB_USER")" "$(sql_string "$MARIADB_PASSWORD")"
    [ -z "$MARIADB_DATABASE" ] || printf "GRANT ALL ON %s.* TO %s@'%%';\n" "$(sql_name "$MARIADB_DATABASE")" \
      "$(sql_string "$MARIADB_USER")"
  fi
}

initialise() {
  if [ -z "$MARIADB_ROOT_PASSWORD" ]; then
    printf >&2 'error: the database is not initialised and no password is given; set MARIADB_ROOT_PASSWORD\n'
    exit 1
  fi
  mariadb-install-db --datadir="$DATA" --skip-test-db --auth-root-authentication-method=normal >/dev/null
  # The server runs the statements itself and ends; they reach it through a pipe, so no password is in a file or argv.
  first_statements | mariadbd --datadir="$DATA" --bootstrap --default-storage-engine=InnoDB
}

main() {
  case ${1:-} in -*) set -- mariadbd "$@" ;; esac
  if [ "${1:-}" != mariadbd ]; then exec "$@"; fi

  # Pointers are followed while this is root: the files behind them may be readable by root only.
  read_settings
  mkdir -p "$DATA" /run/mysqld
  if [ "$(id -u)" = 0 ]; then
    chown -R mysql:mysql "$DATA" /run/mysqld
    exec gosu mysql "${BASH_SOURCE[0]}" "$@"
  fi
  [ -d "$DATA/mysql" ] || initialise
  # The server needs none of this any more, and what it does not hold it cannot show.
  unset MARIADB_ROOT_PASSWORD MARIADB_DATABASE MARIADB_USER MARIADB_PASSWORD
  exec "$@" --datadir="$DATA" --bind-address=0.0.0.0
}

main "$@"
