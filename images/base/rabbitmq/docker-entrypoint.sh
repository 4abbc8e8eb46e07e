#!/usr/bin/env bash
# Starts RabbitMQ the way the official image's entrypoint does since 3.9, for images made from Debian's packages.
#
# Started as root it becomes `rabbitmq` (through gosu, keeping this PID). The first user and its password are the
# server's own business, which reads RABBITMQ_DEFAULT_USER, _PASS and _VHOST; pointers to files are refused, as are the
# other variables that a configuration file has taken the place of.
set -euo pipefail

no_longer_known=(
  RABBITMQ_DEFAULT_{PASS,USER}_FILE RABBITMQ_VM_MEMORY_HIGH_WATERMARK
  RABBITMQ{_MANAGEMENT,}_SSL_{CACERTFILE,CERTFILE,DEPTH,FAIL_IF_NO_PEER_CERT,KEYFILE,VERIFY}
)

refuse_what_is_no_longer_known() {
  local name found=''
  for name in "${no_longer_known[@]}"; do
    [ -z "${!name:-}" ] || {
      printf >&2 'error: %s is set but deprecated\n' "$name"
      found=1
    }
  done
  [ -z "$found" ] || {
    printf >&2 'error: deprecated environment variables detected; use a configuration file instead\n'
    exit 1
  }
}

main() {
  case ${1:-} in
    rabbitmq*)
      if [ "$(id -u)" = 0 ]; then
        [ "$1" != rabbitmq-server ] || find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq {} +
        exec gosu rabbitmq "${BASH_SOURCE[0]}" "$@"
      fi
      ;;
  esac
  refuse_what_is_no_longer_known
  # A name with dots is a long one to Erlang.
  if [ -z "${RABBITMQ_USE_LONGNAME:-}" ] && [ "$(hostname)" != "$(hostname -s)" ]; then
    export RABBITMQ_USE_LONGNAME=true
  fi
  exec "$@"
}

main "$@"
