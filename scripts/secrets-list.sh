#!/bin/sh
# List every key: what it is, where it is stored, which services get it. Every option of `manage_secrets.py list` is taken.
exec "${PYTHON:-python3}" "$(dirname "$0")/manage_secrets.py" list "$@"
