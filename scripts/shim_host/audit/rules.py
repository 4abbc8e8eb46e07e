"""Every kind of finding: its stable id, what it means, and what to do. The most urgent first."""

from typing import NamedTuple


class Rule(NamedTuple):
    """One kind of finding."""

    title: str
    help: str


NOT_LOOKED_AT = "not-looked-at"
RULES = {
    NOT_LOOKED_AT: Rule(
        "Something could not be examined",
        "It may have findings: unlock the Swarm, start enough of its managers, or run this on one of them "
        "(manage-secrets doctor shows why).",
    ),
    "secret-in-image-history": Rule(
        "A secret is in an image's history",
        "Rotate it: anyone who can pull the image has it, in every copy. Then build with RUN --mount=type=secret.",
    ),
    "secret-in-image-environment": Rule(
        "A secret is in an image's environment",
        "Rotate it: anyone who can pull the image has it. Then take ENV out of the Dockerfile, and mount a secret.",
    ),
    "secret-in-environment": Rule(
        "A secret is in plain text in the environment",
        "docker inspect, crash reports and child processes show it. Mount it as a secret, and start through the shim.",
    ),
    "secret-in-arguments": Rule(
        "A secret is in a command line",
        "Every process of the machine can read a command line. Pass it in a file or in the environment.",
    ),
    "secret-in-label": Rule(
        "A secret is in a label",
        "docker ps, docker inspect and every dashboard show labels. Remove it from the label.",
    ),
    "secret-in-health-check": Rule(
        "A secret is in a health check",
        "docker inspect shows it. Run the check through shim exec, which gives it the service's secrets.",
    ),
    "secret-in-build": Rule(
        "A secret is a build argument",
        "It stays in the image's history. Use secrets: under build:, and RUN --mount=type=secret.",
    ),
    "secret-in-config": Rule(
        "A secret is in a config",
        "Anyone who can read the project or the Swarm's API has it. Let the shim write the file with --render, or a "
        'template in the Swarm take it from the secret: {{ secret "name" }}.',
    ),
    "secret-in-logging": Rule(
        "A secret is in a log driver's options",
        "docker inspect shows it. Let a collector that has the secret fetch the log.",
    ),
    "secret-in-volume": Rule(
        "A secret is in a volume's driver options",
        "docker inspect shows it. Name a file with credentials there, as credentials=FILE.",
    ),
    "secret-in-env-file": Rule(
        "A secret's value is in a .env, because a secret of the project takes it from there",
        "Name a file of ./secrets in its place: file: instead of environment:.",
    ),
    "secret-not-deliverable": Rule(
        "Compose cannot give a secret to a service, and does not start it",
        "Name a file: file: ./secrets/NAME. Compose has no external secrets, and copies the value of a variable only "
        "into a container that can be written to.",
    ),
    "file-readable-by-others": Rule(
        "A secret's file is open to other users", "Only its owner should be able to read it: mode 0600."
    ),
    "secret-not-granted": Rule(
        "A service gets a secret that the schema does not give it",
        "Take the secret away from the service, or name the service in the key's @services.",
    ),
    "container-stale": Rule(
        "A container runs with a different value", "It was not restarted after the value changed. Recreate it."
    ),
    "service-drift": Rule(
        "A service mounts an older version", "A later version exists: move the service to it, or remove that version."
    ),
    "secret-too-old": Rule(
        "A secret is older than its @rotate",
        "Rotate it: the longer a value is used, the more people and backups have it.",
    ),
    "service-reaches-everything": Rule(
        "A service could read every secret of its machine",
        "The engine's socket, privileges and whole folders of the machine are equivalent to root. Take away what it "
        "does not need.",
    ),
    "secret-shared-widely": Rule(
        "A secret is shared by many services",
        "Give each service a value of its own, so that one break-in reveals only one.",
    ),
    "secret-unused": Rule("A secret that no service uses", "Remove it: a secret that does not exist cannot leak."),
    "secret-due-soon": Rule("A secret must be rotated soon", "Plan its rotation."),
    "secret-not-mounted": Rule(
        "A service does not get a secret that the schema gives it",
        "Mount it, or remove the service from the key's @services.",
    ),
    "secret-weak": Rule(
        "A secret's value is short, a single word, or the name of a user or a database",
        "It is easy to guess, and the audit cannot tell where else it is used. Give it a long random value.",
    ),
    "secret-unmanaged": Rule(
        "A Swarm secret that this tool did not create",
        "Its version and fingerprint are unknown, so nothing can be compared with it. `adopt` takes it over.",
    ),
    "mount-readable-by-all": Rule(
        "Every user in a container can read its secrets",
        "The Swarm mounts with mode 0444 unless told otherwise. Set mode: 0400 with the uid of the service, or start "
        "as root through the shim with --user.",
    ),
    "container-other-salt": Rule(
        "A container's fingerprints cannot be compared", "Give it the SHIM_SALT that the secrets were made with."
    ),
    "container-without-shim": Rule(
        "A container has secrets, and no shim to ask",
        "It is not known whether it runs with the current values. Start it through the shim.",
    ),
}
