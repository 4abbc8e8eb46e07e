#!/bin/sh
# Turn .env into ./secrets; every option of `manage_secrets.py create-from-env` is taken.
exec "${PYTHON:-python3}" "$(dirname "$0")/manage_secrets.py" create-from-env "$@"
