"""`--help` and `--version`."""

from shim import __version__, stdout

HELP = """\
usage: shim [OPTIONS] [--] COMMAND [ARG...]   start COMMAND with its secrets; nothing stays behind
       shim exec [OPTIONS] -- COMMAND [ARG...]  the same for docker exec and health checks
       shim check [OPTIONS]                   resolve and validate only
       shim explain [--json] [OPTIONS]        where each value comes from, and what was left alone
       shim install DIR                       copy this program to DIR/shim
       shim ps [--json]                       what runs below PID 1, and which keys it holds
       shim --help | --version

A value comes from the file that KEY_FILE names, else from a file in $CREDENTIALS_DIRECTORY (systemd's), /run/secrets or
./secrets, else from the environment, else from the schema (.env.schema). Every option has a variable: --secrets-dir is
SHIM_SECRETS_DIR.

where values come from
  --schema PATH            what the service needs (default: /etc/shim/env.schema, then ./.env.schema);
                           none for a one-off command or a build, which needs nothing
  --service NAME           only the schema's keys whose @services has NAME, or none
  --secrets-dir DIR        read DIR instead of these folders (repeatable; ':' in the variable)
  --require KEY,...        refuse to start without these keys
  --wait TIME              give what is required and missing this long to come (10s, 500ms, 2m)
  --file-key KEY,...       take KEY_FILE although its path is in no secrets root
  --prefer file|env        which one counts when KEY and KEY_FILE differ
  --profile NAME|auto|none what is known of an official image: postgres, mysql, mariadb, mongo, rabbitmq, redis,
                           valkey, memcached, nginx, httpd, wordpress, nextcloud, ghost, keycloak, grafana, gitea,
                           linuxserver (default: none)

what the service gets
  --only KEY,...           nothing else from the secrets roots
  --clear-env              only PATH, HOME, TERM, LANG, TZ, HOSTNAME and the keys that are listed
  --keep-file-vars         leave KEY_FILE in the environment
  --render TEMPLATE:DEST[:USER]  write a file from a template with ${KEY|encoder}: url, json, base64, sq, .member;
                           it is USER's, or the service's user's (repeatable)
  --allow-disk             let --render write to what is not a tmpfs
  --user NAME[:GROUP]      become this user (or UID[:GID]) once the secrets are read
  --keep-caps CAP,...      let it keep these capabilities under --user (NET_BIND_SERVICE); without, it has none
  --no-new-privs           the service can gain no privileges
  --no-core                the service writes no core file

staying as PID 1
  --init                   stay, forward signals, reap; each option below but --pre, --pre-root asks for it too
  --signal TERM=QUIT,...   send another signal; TERM=0 drops it
  --group                  send to the service's whole process group
  --grace TIME             SIGKILL this long after the first stop signal (10s, 500ms, 2m; 0 never)
  --exit-as 143=0,...      end with another exit code
  --wait-all               stay until every descendant has ended
  --subreaper              adopt orphans when not PID 1
  --parent-death SIGNAL    what the shim gets when its parent dies
  --on-change ACTION       restart, signal=HUP or exit when a secret really changes
  --mask                   replace values in the service's output by ***
  --pre COMMAND            run before the service, and before --user (repeatable)
  --pre-root COMMAND       the same, first and without a secret (repeatable)
  --ready-fd N             pass the service's readiness on

talking
  -v, --verbose            say what was done
  --log text|json          how messages are written to stderr
  --fingerprint-key-stdin  explain: make fingerprints under the deployment's key, 64 hexadecimal digits on stdin
  --salt TEXT              explain: make them with this salt, to compare deployments by hand; they can be guessed
  --json                   explain, check and ps: JSON

exit codes
  the service's own; 100 you must change something; 111 something outside failed; a retry may help;
  126 found but not executable; 127 not found; 128+N ended by signal N
"""


def run(action: str) -> int:
    """Write what *action* asks for, "help" or "version"; return the exit code."""
    return stdout.write(HELP if action == "help" else f"shim {__version__}\n")
