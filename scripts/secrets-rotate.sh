#!/bin/sh
# Give keys a new value everywhere. Every option of `manage_secrets.py rotate` is taken.
exec "${PYTHON:-python3}" "$(dirname "$0")/manage_secrets.py" rotate "$@"
