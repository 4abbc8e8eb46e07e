"""Which texts look like the keys and tokens that services hand out: the one table, for every program that asks.

As their makers publish them, and all of a key is asked for, so that a prefix in a text is none. The texts may come from
a stranger: no pattern takes more than linear time. Nothing but the standard library is needed, since the hook of a
checkout reads this too.
"""

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple


class Shape(NamedTuple):
    """What a kind of key looks like."""

    what: str
    start: str  # a text with such a key holds this, which is found much faster than the pattern; commas part choices
    pattern: str


def _coded(text: str) -> str:
    """Return what matches *text* within base64, at whichever of the three places of a group it begins."""
    forms = []
    for skipped in range(3):
        coded = base64.b64encode(bytes(skipped) + text.encode()).decode()
        end = len(coded) - (0, 4, 4)[(skipped + len(text)) % 3]
        forms.append(coded[(0, 2, 3)[skipped] : end])
    return "(?:" + "|".join(map(re.escape, forms)) + ")"


# Between the lines of a key as a file, in JSON, YAML, a script, on one line, or quoted once more.
_BREAK = r"(?:\s|\\+[rn]|[\"'+,;>|])"
_PEM = (
    rf"-----BEGIN (?:[A-Z0-9]+ ){{0,4}}PRIVATE KEY(?: BLOCK)?-----{_BREAK}{{1,200}}"
    rf"(?:[A-Za-z-]{{1,40}}: [^\r\n\\]{{0,200}}(?:[\r\n]|\\+[rn]){_BREAK}{{0,200}}){{0,6}}[A-Za-z0-9+/=]{{40}}"
)
_PART = r"[A-Za-z0-9_-]"
_JWT_OF_SERVICE_ROLE = (
    rf"(?<!{_PART})eyJ{_PART}{{1,4000}}\.(?={_PART}{{0,4000}}?{_coded('service_role')})"
    rf"{_PART}{{1,4000}}\.{_PART}{{20,}}"
)

# A file with a private key in base64, as Kubernetes and the variables of a build have it.
_PEM_CODED = rf"LS0tLS1CRUdJTi(?=[A-Za-z0-9+/]{{0,80}}?{_coded('PRIVATE KEY')})[A-Za-z0-9+/=]{{60,}}"

SHAPES = (
    Shape("a private key", "PRIVATE KEY", _PEM),
    Shape("a private key in base64", "LS0tLS1CRUdJTi", _PEM_CODED),
    Shape(
        "a private key of PuTTY",
        "PuTTY-User-Key-File",
        r"PuTTY-User-Key-File-[0-9]: [^\r\n]{1,60}[\r\n]{1,2}Encryption:",
    ),
    Shape("a secret key of age", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    Shape("an access key of AWS", "AKIA,ASIA", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    Shape(
        "a secret key of AWS",
        "ecret,ECRET",
        r"(?i:aws_?secret_?(?:access_?)?key|secret_?access_?key)[\"']?\s{0,20}[=:]\s{0,20}[\"']?"
        r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    ),
    Shape("a key of an Azure account", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    Shape("a token of GitHub", "gh,github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    Shape("a token of GitLab", "gl", r"\bgl(?:pat|dt|rt|ptt|soat|cbt|agent|imt|ft)-[A-Za-z0-9_.-]{20,}"),
    Shape("a token of Slack", "xox,xapp-", r"\b(?:xox[abeoprs](?:\.xox[bp])?-|xapp-)[A-Za-z0-9-]{20,}"),
    Shape("a webhook of Slack", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{30,}"),
    Shape(
        "a webhook of Discord", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,}"
    ),
    Shape("a key of Stripe", "k_live_,k_test_", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,}"),
    Shape("a webhook secret of Stripe", "whsec_", r"\bwhsec_[A-Za-z0-9+/=]{32,}"),
    Shape("a key of Google", "AIza", r"\bAIza[A-Za-z0-9_-]{35}"),
    Shape("a client secret of Google", "GOCSPX-", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    Shape("a token of Google", "ya29.", r"\bya29\.[A-Za-z0-9_-]{40,}"),
    Shape("a key of OpenAI or Anthropic", "sk-", r"\bsk-(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_-]{40,}"),
    Shape("a token of Hugging Face", "hf_", r"\bhf_[A-Za-z0-9]{34}\b"),
    Shape("a token of npm", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    Shape("a token of PyPI", "pypi-", r"\bpypi-[A-Za-z0-9_-]{60,}"),
    Shape("a token of Docker Hub", "dckr_", r"\bdckr_[po]at_[A-Za-z0-9_-]{27,}"),
    Shape("a key of SendGrid", "SG.", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    Shape("a key of Mailgun", "key-", r"\bkey-[0-9a-f]{32}\b"),
    Shape("a key of Mailchimp", "-us", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),
    Shape("a key of Twilio", "SK", r"\bSK[0-9a-f]{32}\b"),
    Shape("a token of Telegram", ":AA", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
    Shape("a token of Vault", "hv", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    Shape("a token of Terraform", ".atlasv1.", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}"),
    Shape("a token of Pulumi", "pul-", r"\bpul-[0-9a-f]{40}\b"),
    Shape("a token of Doppler", "dp.", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}"),
    Shape("a token of DigitalOcean", "_v1_", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    Shape("a token of Databricks", "dapi", r"\bdapi[0-9a-f]{32}\b"),
    Shape("a token of Grafana", "gl", r"\b(?:glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}|glc_[A-Za-z0-9+/]{60,})"),
    Shape("a key of New Relic", "NRAK-", r"\bNRAK-[A-Z0-9]{27}\b"),
    Shape("a token of Shopify", "shp", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    Shape("a secret of Square", "sq0", r"\bsq0(?:csp|atp)-[A-Za-z0-9_-]{22,43}"),
    Shape("a token of Atlassian", "ATATT3", r"\bATATT3[A-Za-z0-9_=-]{150,}"),
    Shape("a key of Linear", "lin_api_", r"\blin_api_[A-Za-z0-9]{40}\b"),
    Shape("a key of Tailscale", "tskey-", r"\btskey-[a-z]{1,20}-[A-Za-z0-9]{6,}-[A-Za-z0-9]{20,}"),
    Shape("a token of PlanetScale", "pscale_", r"\bpscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,}"),
    Shape("a token of Supabase", "sb", r"\b(?:sbp_[0-9a-f]{40}\b|sb_secret_[A-Za-z0-9_-]{20,})"),
    Shape("a token with the service role", "eyJ", _JWT_OF_SERVICE_ROLE),
)

_TEXT = [(shape, shape.start.split(","), re.compile(shape.pattern)) for shape in SHAPES]
_BYTES = [
    (shape, [start.encode() for start in starts], re.compile(shape.pattern.encode("ascii")))
    for shape, starts, _ in _TEXT
]


def replaced(text: str, by: str) -> str:
    """Return *text* with *by* in the place of what looks like a key."""
    for _, starts, pattern in _TEXT:
        if any(start in text for start in starts):
            text = pattern.sub(by, text)
    return text


def found_in(text: str) -> "Iterator[tuple[str, re.Match[str]]]":
    """Yield what looks like a key in *text*: which kind, and where."""
    for shape, starts, pattern in _TEXT:
        if any(start in text for start in starts):
            for match in pattern.finditer(text):
                yield shape.what, match


def found_in_bytes(content: bytes) -> "Iterator[tuple[str, re.Match[bytes]]]":
    """Yield what looks like a key in *content*: which kind, and where."""
    for shape, starts, pattern in _BYTES:
        if any(start in content for start in starts):
            for match in pattern.finditer(content):
                yield shape.what, match
