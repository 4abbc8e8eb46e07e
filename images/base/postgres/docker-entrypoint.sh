#!/usr/bin/env bash
# Starts PostgreSQL the way the official image's entrypoint does, for images made from Debian's packages.
#
# Started as root it becomes `postgres` (through gosu, so the server keeps this PID). An empty PGDATA is initialised
# from POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB and /docker-entrypoint-initdb.d; with a full one they mean nothing.
# As there, the server keeps these variables, and whoever comes from 127.0.0.1 needs no password (initdb's own default).
set -Eeo pipefail

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

# A folder whose mode cannot be changed may do all the same.
make_folders() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 0700 "$PGDATA" || true
  chmod 3775 /var/run/postgresql || true
  if [ "$(id -u)" = 0 ]; then find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +; fi
}

initialise() {
  if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    printf >&2 'error: the database is not initialised and no superuser password is given; set POSTGRES_PASSWORD\n'
    exit 1
  fi
  ls /docker-entrypoint-initdb.d/ >/dev/null
  # initdb wants a user that /etc/passwd knows, which one of `docker run --user` may not be.
  local wrapper='' known
  if ! getent passwd "$(id -u)" >/dev/null; then
    wrapper=$(find /usr/lib -name libnss_wrapper.so -print -quit)
    known=$(mktemp)
    printf 'postgres:x:%s:%s::%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" >"$known"
    export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=$known NSS_WRAPPER_GROUP=/etc/group
  fi
  # The password goes through a pipe: not argv, not a file. The arguments are a shell's words, quotes and all.
  eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"
  if [ -n "$wrapper" ]; then
    rm -f "$known"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  fi
  local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Create the database and run the init scripts against a server that only this container reaches.
populate() { # ARGUMENTS OF THE SERVER
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  NOTIFY_SOCKET='' PGUSER=$POSTGRES_USER pg_ctl --pgdata="$PGDATA" --wait --silent \
    --options="$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")" start
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
      *.sql.xz) xz -dc "$file" | psql_here --dbname="$POSTGRES_DB" ;;
    esac
  done
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
  unset PGPASSWORD
}

psql_here() {
  PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"
}

asks_only() {
  local word
  for word in "$@"; do
    case $word in '-?' | --help | --describe-config | -V | --version) return 0 ;; esac
  done
  return 1
}

main() {
  case ${1:-} in -*) set -- postgres "$@" ;; esac
  if [ "${1:-}" != postgres ] || asks_only "$@"; then exec "$@"; fi

  # Pointers are followed while this is root: the files behind them may be readable by root only.
  read_settings
  make_folders
  if [ "$(id -u)" = 0 ]; then exec gosu postgres "${BASH_SOURCE[0]}" "$@"; fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initialise
    populate "${@:2}"
  fi
  exec "$@"
}

main "$@"
