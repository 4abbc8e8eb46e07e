#!/usr/bin/env bash
# Starts PostgreSQL the way the official image's entrypoint does, for images made from Debian's packages.
#
# Started as root it becomes `postgres` (through gosu, so the server keeps this PID). An empty PGDATA is initialised
# from POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB and /docker-entrypoint-initdb.d; with a full one they mean nothing.
set -Eeuo pipefail

# Take NAME from the file that NAME_FILE points to. Both set and not empty is refused; an empty one counts as unset.
file_env() { # NAME [DEFAULT]
  local name=$1 pointer=$1_FILE value=${2:-}
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
  file_env POSTGRES_PASSWORD
  file_env POSTGRES_USER postgres
  file_env POSTGRES_DB "$POSTGRES_USER"
  file_env POSTGRES_INITDB_ARGS
}

initialise() {
  if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    printf >&2 'error: the database is not initialised and no superuser password is given; set POSTGRES_PASSWORD\n'
    exit 1
  fi
  # The password goes through a pipe: not argv, not a file. initdb reads one line.
  # shellcheck disable=SC2086  # several words are meant
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 \
    --auth-local=trust $POSTGRES_INITDB_ARGS
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
}

# Create the database and run the init scripts against a server that only this container reaches.
populate() {
  pg_ctl --pgdata="$PGDATA" --wait --silent --options="-c listen_addresses='' -p 5432" start
  if [ "$POSTGRES_DB" != postgres ]; then
    psql_here --dbname=postgres --set=name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    # shellcheck disable=SC1090  # the image's own scripts, known to nobody here
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) psql_here --dbname="$POSTGRES_DB" --file="$file" ;;
      *.sql.gz) gunzip -c "$file" | psql_here --dbname="$POSTGRES_DB" ;;
    esac
  done
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
}

psql_here() {
  psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"
}

main() {
  case ${1:-} in -*) set -- postgres "$@" ;; esac
  if [ "${1:-}" != postgres ]; then exec "$@"; fi
  case " $* " in *' --help '* | *' --version '* | *' -V '* | *' -C '*) exec "$@" ;; esac

  # Pointers are followed while this is root: the files behind them may be readable by root only.
  read_settings
  mkdir -p "$PGDATA" /var/run/postgresql
  if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    exec gosu postgres "${BASH_SOURCE[0]}" "$@"
  fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initialise
    populate
  fi
  # The server needs none of this any more, and what it does not hold it cannot show.
  unset POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS
  # The server listens to nobody by default; a container's server is there for others.
  exec "$@" -c listen_addresses='*'
}

main "$@"
