#!/bin/sh
# An encrypted backup of ./secrets: the same as `manage_secrets.py export`.
exec python3 "$(dirname "$0")/manage_secrets.py" export "$@"
