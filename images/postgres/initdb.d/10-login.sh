#!/usr/bin/env bash
# The first start of a database: make the login that the services use, when DB_USER and DB_PASSWORD are given.
#
# It is no superuser, and what it makes belongs to a role that cannot log in. So another login can take its place, with
# another password, while both work: that is how the password changes without a failed statement (@rotate-with).
set -Eeuo pipefail
if [ -z "${DB_USER:-}" ] || [ -z "${DB_PASSWORD:-}" ]; then exit 0; fi

# A statement that fails would stand in the log with its password.
PGOPTIONS='-c log_min_error_statement=panic -c log_statement=none' \
  psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv login DB_USER
\getenv password DB_PASSWORD
\set owner :DBNAME _owner
CREATE ROLE :"owner" NOLOGIN;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
CREATE ROLE :"login" LOGIN PASSWORD :'password' IN ROLE :"owner";
ALTER ROLE :"login" IN DATABASE :"DBNAME" SET role TO :"owner";
SQL
