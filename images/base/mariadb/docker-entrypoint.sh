#!/usr/bin/env bash
# Starts MariaDB the way the official image's entrypoint does, for images made from Debian's packages.
#
# Started as root it becomes `mysql` (through gosu, so the server keeps this PID). An empty data folder is initialised:
# root's password (given, as a hash, made at random, or none), a database, a user, one for replication, one for health
# checks, and what lies in /docker-entrypoint-initdb.d. MYSQL_* are the older names of MARIADB_*, which win; the scripts
# find both. The server gets none of the passwords.
set -Eeo pipefail
shopt -s nullglob

DATA=/var/lib/mysql
SOCKET=/run/mysqld/mysqld.sock

note() { printf '%s [Note] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*"; }
die() { printf >&2 '%s [ERROR] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*" && exit 1; }

# Take NAME from the file that NAME_FILE points to. Both set and not empty is refused; an empty one counts as unset.
file_env() { # NAME [DEFAULT]
  local name=$1 pointer=$1_FILE value=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!pointer:-}" ]; then
    die "Both $name and $pointer are set (but are exclusive)"
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
  local part old new
  for part in ROOT_HOST=% DATABASE USER PASSWORD ROOT_PASSWORD; do
    old=MYSQL_${part%=*} new=MARIADB_${part%=*}
    case $part in *=*) file_env "$old" "${part#*=}" ;; *) file_env "$old" ;; esac
    file_env "$new" "${!old}"
    export "$old=${!new}"
  done
  for part in PASSWORD_HASH ROOT_PASSWORD_HASH REPLICATION_USER REPLICATION_PASSWORD REPLICATION_PASSWORD_HASH MASTER_HOST; do
    file_env "MARIADB_$part"
  done
  file_env MARIADB_MASTER_PORT 3306
  file_env MARIADB_USER_HOST %
  export MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-${MYSQL_ALLOW_EMPTY_PASSWORD:-}}
  export MARIADB_RANDOM_ROOT_PASSWORD=${MARIADB_RANDOM_ROOT_PASSWORD:-${MYSQL_RANDOM_ROOT_PASSWORD:-}}
}

verify_settings() {
  local other=$MARIADB_ROOT_PASSWORD$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD$MARIADB_RANDOM_ROOT_PASSWORD
  [ -n "$other$MARIADB_ROOT_PASSWORD_HASH" ] ||
    die "the database is not initialised, and root's password is not set; set one of MARIADB_ROOT_PASSWORD," \
      "MARIADB_ROOT_PASSWORD_HASH, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD"
  [ -z "$other" ] || [ -z "$MARIADB_ROOT_PASSWORD_HASH" ] || die "MARIADB_ROOT_PASSWORD_HASH excludes the other ways"
  [ -z "$MARIADB_PASSWORD" ] || [ -z "$MARIADB_PASSWORD_HASH" ] || die "MARIADB_PASSWORD_HASH excludes MARIADB_PASSWORD"
  [ -z "$MARIADB_REPLICATION_USER" ] || [ -n "$MARIADB_REPLICATION_PASSWORD$MARIADB_REPLICATION_PASSWORD_HASH" ] ||
    die "MARIADB_REPLICATION_USER has no password"
  [ -z "$MARIADB_MASTER_HOST" ] || { [ -n "$MARIADB_REPLICATION_USER" ] && [ -n "$MARIADB_REPLICATION_PASSWORD" ]; } ||
    die "a replica needs MARIADB_REPLICATION_USER and its password"
}

# Run SQL from stdin over the socket; scripts use this name, too.
docker_process_sql() { # [--dont-use-mysql-root-password] [OPTION OF THE CLIENT...]
  local password=$MARIADB_ROOT_PASSWORD
  if [ "${1:-}" = --dont-use-mysql-root-password ]; then password='' && shift; fi
  [ -z "$MARIADB_DATABASE" ] || set -- --database="$MARIADB_DATABASE" "$@"
  MYSQL_PWD=$password mariadb --protocol=socket --user=root --socket="$SOCKET" "$@"
}

# A string and a name as SQL reads them.
sql_string() {
  local text=${1//\\/\\\\}
  text=${text//$'\n'/\\n}
  printf "'%s'" "${text//\'/\\\'}"
}
# shellcheck disable=SC2016  # SQL's own quotes
sql_name() { printf '`%s`' "${1//\`/\`\`}"; }
identified() { # PASSWORD HASH
  if [ -n "$2" ]; then printf 'IDENTIFIED BY PASSWORD %s' "$(sql_string "$2")"; else printf 'IDENTIFIED BY %s' "$(sql_string "$1")"; fi
}
at_random() { head -c 24 /dev/urandom | base64; }

first_statements() { # PASSWORD OF HEALTH CHECKS
  local user host
  printf 'SET @@SESSION.SQL_LOG_BIN=0;\n'
  # Further roots, without a password, that the installation makes.
  for host in 127.0.0.1 ::1 "$(hostname)"; do printf "DROP USER IF EXISTS root@'%s';\n" "$host"; done
  if [ -z "$MARIADB_ROOT_PASSWORD_HASH" ]; then
    printf 'SET PASSWORD FOR root@localhost = PASSWORD(%s);\n' "$(sql_string "$MARIADB_ROOT_PASSWORD")"
  fi
  if [ "$MARIADB_ROOT_HOST" != localhost ]; then
    user="root@$(sql_string "$MARIADB_ROOT_HOST")"
    printf 'CREATE USER %s %s;\n' "$user" "$(identified "$MARIADB_ROOT_PASSWORD" "$MARIADB_ROOT_PASSWORD_HASH")"
    printf 'GRANT ALL ON *.* TO %s WITH GRANT OPTION;\n' "$user"
  fi
  for host in 127.0.0.1 ::1 localhost; do
    printf "CREATE USER healthcheck@'%s' IDENTIFIED BY %s;\n" "$host" "$(sql_string "$1")"
  done
  printf 'SET @@SESSION.SQL_LOG_BIN=1;\n'
  if [ -n "$MARIADB_DATABASE" ]; then printf 'CREATE DATABASE IF NOT EXISTS %s;\n' "$(sql_name "$MARIADB_DATABASE")"; fi
  if [ -n "$MARIADB_USER" ] && [ -n "$MARIADB_PASSWORD$MARIADB_PASSWORD_HASH" ]; then
    user="$(sql_string "$MARIADB_USER")@$(sql_string "$MARIADB_USER_HOST")"
    printf 'CREATE USER %s %s;\n' "$user" "$(identified "$MARIADB_PASSWORD" "$MARIADB_PASSWORD_HASH")"
    [ -z "$MARIADB_DATABASE" ] || printf 'GRANT ALL ON %s.* TO %s;\n' "$(sql_name "${MARIADB_DATABASE//_/\\_}")" "$user"
  fi
  if [ -n "$MARIADB_MASTER_HOST" ]; then
    printf 'CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s, MASTER_CONNECT_RETRY=10;\n' \
      "$(sql_string "$MARIADB_MASTER_HOST")" "$MARIADB_MASTER_PORT" "$(sql_string "$MARIADB_REPLICATION_USER")" \
      "$(sql_string "$MARIADB_REPLICATION_PASSWORD")"
  elif [ -n "$MARIADB_REPLICATION_USER" ]; then
    user="$(sql_string "$MARIADB_REPLICATION_USER")@'%'"
    printf 'CREATE USER %s %s;\n' "$user" "$(identified "$MARIADB_REPLICATION_PASSWORD" "$MARIADB_REPLICATION_PASSWORD_HASH")"
    printf 'GRANT REPLICATION REPLICA ON *.* TO %s;\n' "$user"
  fi
}

run_scripts() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    # shellcheck disable=SC1090  # the image's own scripts, known to nobody here
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) docker_process_sql <"$file" ;;
      *.sql.gz) gunzip -c "$file" | docker_process_sql ;;
      *.sql.xz) xz -dc "$file" | docker_process_sql ;;
    esac
  done
}

# A server that only this container reaches, over its socket.
temporarily() { # COMMAND
  "$@" --datadir="$DATA" --skip-networking --socket="$SOCKET" --skip-slave-start &
  local server=$! tries
  for tries in {30..0}; do
    if docker_process_sql --dont-use-mysql-root-password --database=mysql <<<'SELECT 1' >/dev/null 2>&1; then break; fi
    [ "$tries" != 0 ] || die "the server does not start"
    sleep 1
  done
  local checking
  checking=$(at_random)
  first_statements "$checking" | docker_process_sql --dont-use-mysql-root-password --database=mysql --binary-mode
  (umask 077 && printf '[mariadb-client]\nsocket=%s\nuser=healthcheck\npassword=%s\n' "$SOCKET" "$checking" >"$DATA/.my-healthcheck.cnf")
  run_scripts
  if [ -n "$MARIADB_ROOT_PASSWORD_HASH" ]; then
    printf 'SET PASSWORD FOR root@localhost = %s;\n' "$(sql_string "$MARIADB_ROOT_PASSWORD_HASH")" |
      docker_process_sql --dont-use-mysql-root-password --database=mysql
  fi
  kill "$server"
  wait "$server"
}

initialise() { # COMMAND
  verify_settings
  ls /docker-entrypoint-initdb.d/ >/dev/null
  if [ -n "$MARIADB_RANDOM_ROOT_PASSWORD" ]; then
    MARIADB_ROOT_PASSWORD=$(at_random)
    export MYSQL_ROOT_PASSWORD=$MARIADB_ROOT_PASSWORD
    note "GENERATED ROOT PASSWORD: $MARIADB_ROOT_PASSWORD"
  fi
  mariadb-install-db --datadir="$DATA" --skip-test-db --auth-root-authentication-method=normal >/dev/null
  temporarily "$@"
}

asks_only() {
  local word
  for word in "$@"; do
    case $word in '-?' | --help | --print-defaults | -V | --version) return 0 ;; esac
  done
  return 1
}

main() {
  case ${1:-} in -*) set -- mariadbd "$@" ;; esac
  case ${1:-} in mariadbd | mysqld) ;; *) exec "$@" ;; esac
  if asks_only "$@"; then exec "$@"; fi

  # Pointers are followed while this is root: the files behind them may be readable by root only.
  read_settings
  mkdir -p "$DATA" "${SOCKET%/*}"
  if [ "$(id -u)" = 0 ]; then
    find "$DATA" "${SOCKET%/*}" ! -user mysql -exec chown mysql: {} +
    exec gosu mysql "${BASH_SOURCE[0]}" "$@"
  fi
  [ -d "$DATA/mysql" ] || initialise "$@"
  # The server needs none of this any more, and what it does not hold it cannot show.
  unset {MARIADB,MYSQL}_{,ROOT_,REPLICATION_}PASSWORD MARIADB_{,ROOT_,REPLICATION_}PASSWORD_HASH {MARIADB,MYSQL}_ROOT_HOST
  exec "$@" --datadir="$DATA"
}

main "$@"
