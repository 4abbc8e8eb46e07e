"""`--help` and `--version`."""

from shim import __version__, stdout

HELP = """\
usage: shim [OPTIONS] [--] COMMAND [ARG...]     start COMMAND with its secrets; the shim does not stay
       shim exec [OPTIONS] -- COMMAND [ARG...]  the same for docker exec and health checks
       shim check [OPTIONS]                     resolve and validate only
       shim explain [--json] [OPTIONS]          show where each value comes from, and what was left alone
       shim install DIR                         copy this program to DIR/shim
       shim ps [--json]                         show the processes below PID 1, and which keys each holds
       shim --help | --version

The value of a key comes from the file that KEY_FILE names, else from a file in $CREDENTIALS_DIRECTORY (systemd),
/run/secrets or ./secrets, else from the environment, else from the schema (.env.schema). Every option has a variable:
--secrets-dir is SHIM_SECRETS_DIR.

where values come from
  --schema PATH            what the service needs (default: /etc/shim/env.schema, then ./.env.schema);
                           none for a one-off command or a build, which needs no secrets
  --service NAME           only the schema's keys whose @services names NAME, or that have no @services
  --secrets-dir DIR        read DIR instead of these folders (repeatable; separated by ':' in the variable)
  --require KEY,...        refuse to start without these keys
  --wait TIME              wait this long for required keys that are missing (10s, 500ms, 2m)
  --file-key KEY,...       follow KEY_FILE even if its path is outside the secrets roots
  --prefer file|env        which one counts when KEY and KEY_FILE differ
  --profile NAME|auto|none apply what is known about an official image: postgres, mysql, mariadb, mongo, rabbitmq,
                           redis, valkey, memcached, nginx, httpd, wordpress, nextcloud, ghost, keycloak, grafana,
                           gitea, linuxserver (default: none)

what the service gets
  --only KEY,...           pass on only these keys from the secrets roots
  --clear-env              start with only PATH, HOME, TERM, LANG, TZ, HOSTNAME and the listed keys
  --keep-file-vars         leave KEY_FILE in the environment
  --render TEMPLATE:DEST[:USER]  write a file from a template with ${KEY|encoder}: url, json, base64, sq, .member;
                           owned by USER, or by the service's user (repeatable)
  --allow-disk             let --render write outside a tmpfs
  --user NAME[:GROUP]      run the service as this user (or UID[:GID]) once the secrets are read
  --keep-caps CAP,...      with --user: capabilities to keep (NET_BIND_SERVICE); by default, none
  --no-new-privs           do not let the service gain privileges
  --no-core                do not let the service write core files

staying as PID 1
  --init                   stay, forward signals, reap; implied by the options below except --pre and --pre-root
  --signal TERM=QUIT,...   send another signal instead; TERM=0 drops it
  --group                  send signals to the service's whole process group
  --grace TIME             send SIGKILL this long after the first stop signal (10s, 500ms, 2m; 0 for never)
  --exit-as 143=0,...      end with another exit code
  --wait-all               stay until every descendant has ended
  --subreaper              adopt orphans when not PID 1
  --parent-death SIGNAL    the signal the shim gets when its parent dies
  --on-change ACTION       what to do when a secret's value changes: restart, signal=HUP or exit
  --mask                   replace values in the service's output with ***
  --pre COMMAND            run before the service, with its environment, before --user (repeatable)
  --pre-root COMMAND       run first what only root can do, without secrets (repeatable)
  --ready-fd N             pass on the service's readiness

output
  -v, --verbose            show where each value came from
  --log text|json          the format of messages on stderr
  --fingerprint-key-stdin  explain: make fingerprints with the deployment's key, 64 hexadecimal digits on stdin
  --salt TEXT              explain: make fingerprints with this salt; weak values can be guessed from them
  --json                   explain, check and ps: print JSON

exit codes
  the service's own, or: 100 you must change something; 111 something outside failed, a retry may help;
  126 not executable; 127 not found; 128+N ended by signal N
"""


def run(action: str) -> int:
    """Write what *action* asks for, "help" or "version"; return the exit code."""
    return stdout.write(HELP if action == "help" else f"shim {__version__}\n")
