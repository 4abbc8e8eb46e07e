#!/bin/sh
# Write an encrypted backup of the secrets. Every option of `manage_secrets.py export` is taken.
exec "${PYTHON:-python3}" "$(dirname "$0")/manage_secrets.py" export "$@"
