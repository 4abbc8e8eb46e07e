"""A made-up key of each shape; put together here, so that none is in a file."""

import base64
import json
import secrets


def key_examples() -> dict[str, str]:
    """Return what the table calls a shape, with an example of it."""
    upper = base64.b32encode(secrets.token_bytes(200)).decode().rstrip("=")
    digits = secrets.token_hex(200)
    letters = base64.urlsafe_b64encode(secrets.token_bytes(300)).decode().replace("-", "x").replace("_", "y")
    return {
        "a private key": pem(),
        "a private key in base64": base64.b64encode(pem().encode()).decode(),
        "a private key of PuTTY": "PuTTY-User-" + "Key-File-3: ssh-ed25519\nEncryption: none\n",
        "a secret key of age": "AGE-SECRET-" + "KEY-1" + upper[:58],
        "an access key of AWS": "AK" + "IA" + upper[:16],
        "a secret key of AWS": "aws_secret_" + "access_key = " + letters[:40],
        "a key of an Azure account": "Account" + "Key=" + letters[:86] + "==",
        "a token of GitHub": "gh" + "p_" + digits[:36],
        "a token of GitLab": "glp" + "at-" + digits[:20],
        "a token of Slack": "xo" + "xb-" + digits[:24],
        "a webhook of Slack": "https://hooks." + "slack.com/services/T0/B0/" + digits[:30],
        "a webhook of Discord": "https://discord.com/api/" + "webhooks/" + "1" * 18 + "/" + letters[:68],
        "a key of Stripe": "sk_" + "live_" + digits[:24],
        "a webhook secret of Stripe": "wh" + "sec_" + letters[:32],
        "a key of Google": "AI" + "za" + digits[:35],
        "a client secret of Google": "GOC" + "SPX-" + letters[:28],
        "a token of Google": "ya" + "29." + letters[:60],
        "a key of OpenAI or Anthropic": "sk-" + "proj-" + digits[:48],
        "a token of Hugging Face": "h" + "f_" + letters[:34],
        "a token of npm": "np" + "m_" + digits[:36],
        "a token of PyPI": "py" + "pi-" + digits[:80],
        "a token of Docker Hub": "dckr" + "_pat_" + letters[:27],
        "a key of SendGrid": "S" + "G." + letters[:22] + "." + letters[30:73],
        "a key of Mailgun": "ke" + "y-" + digits[:32],
        "a key of Mailchimp": digits[:32] + "-u" + "s21",
        "a key of Twilio": "S" + "K" + digits[:32],
        "a token of Telegram": "123456789" + ":A" + "A" + letters[:33],
        "a token of Vault": "hv" + "s." + letters[:90],
        "a token of Terraform": letters[:14] + ".atlas" + "v1." + letters[20:80],
        "a token of Pulumi": "pu" + "l-" + digits[:40],
        "a token of Doppler": "d" + "p.pt." + letters[:43],
        "a token of DigitalOcean": "dop" + "_v1_" + digits[:64],
        "a token of Databricks": "da" + "pi" + digits[:32],
        "a token of Grafana": "gl" + "sa_" + letters[:32] + "_" + digits[:8],
        "a key of New Relic": "NR" + "AK-" + upper[:27],
        "a token of Shopify": "shp" + "at_" + digits[:32],
        "a secret of Square": "sq0" + "csp-" + letters[:43],
        "a token of Atlassian": "ATA" + "TT3" + letters[:180],
        "a key of Linear": "lin_" + "api_" + letters[:40],
        "a key of Tailscale": "ts" + "key-auth-" + letters[:12] + "-" + letters[20:52],
        "a token of PlanetScale": "pscale" + "_tkn_" + letters[:43],
        "a token of Supabase": "sb" + "_secret_" + letters[:31],
        "a token with the service role": jwt({"iss": "x", "role": "service_role"}),
    }


def pem(kind: str = "RSA ") -> str:
    """Return what looks like a private key in its file."""
    body = base64.encodebytes(secrets.token_bytes(300)).decode().replace("\n", "")
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {kind}" + f"PRIVATE KEY-----\n{lines}\n-----END {kind}" + "PRIVATE KEY-----\n"


def jwt(claims: dict[str, str]) -> str:
    """Return what looks like a signed token with *claims*."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims)]
    coded = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, secrets.token_hex(22)])
