"""The text of every file made at boot. Pure: values in, text out; passwords inside URLs are URL-encoded."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional
from urllib.parse import quote

from zmanimctl.settings import Settings, SiteConfig

HEADER = "# Written by zmanimctl at boot; changes are lost.\n"

# Environment variable of the API -> parameter that fills it.
API_SECRETS = {
    "JWT_SECRET": "jwt-secret",
    "ORIGIN_VERIFY_KEY": "origin-verify-key",
    "CLERK_SECRET_KEY": "clerk-secret-key",
    "ANTHROPIC_API_KEY": "anthropic-api-key",
    "OPENAI_API_KEY": "openai-api-key",
    "MAPBOX_PUBLIC_TOKEN": "mapbox-public-token",
    "RESEND_API_KEY": "resend-api-key",
    "RECAPTCHA_SECRET_KEY": "recaptcha-secret-key",
}


def database_url(user: str, password: str, port: int, database: str) -> str:
    """Return the API's connection URL; every part that could hold a delimiter is encoded."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgres://{login}@127.0.0.1:{port}/{quote(database, safe='')}?sslmode=disable"


def redis_url(password: str, port: int) -> str:
    """Return the API's Redis URL."""
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


def environment_value(value: str) -> str:
    """Quote a value for systemd's EnvironmentFile: double quotes, four characters escaped, no line breaks."""
    flat = value.replace("\r", "").replace("\n", " ")
    for character in ("\\", '"', "`", "$"):
        flat = flat.replace(character, "\\" + character)
    return f'"{flat}"'


def environment_file(values: Mapping[str, str]) -> str:
    """Return the text of an EnvironmentFile; empty values are left out."""
    lines = [f"{key}={environment_value(value)}\n" for key, value in sorted(values.items()) if value != ""]
    return HEADER + "".join(lines)


def api_environment(
    settings: Settings, config: SiteConfig, secrets: Mapping[str, str], environment: str, region: str
) -> Dict[str, str]:
    """Return the API's whole environment but PORT, which belongs to the slot."""
    clerk, resend = config.clerk, config.resend
    values = {
        "HOST": "127.0.0.1",
        "ENVIRONMENT": environment,
        "DATABASE_URL": database_url(
            "zmanim", secrets["postgres-password"], settings.postgres_port, config.database
        ),
        "REDIS_URL": redis_url(secrets["redis-password"], settings.redis_port),
        "ALLOWED_ORIGINS": ",".join(config.allowed_origins),
        "RATE_LIMIT_REQUESTS": str(config.rate_limit.get("requests", "")),
        "RATE_LIMIT_DURATION": str(config.rate_limit.get("duration", "")),
        "WEB_URL": config.web_url,
        "ADMIN_EMAIL": config.admin_email,
        "AWS_REGION": region,
        "ROLLUP_INTERVAL_HOURS": str(config.rollup_interval_hours),
        "CLERK_JWKS_URL": secrets.get("clerk-jwks-url", "") or str(clerk.get("jwks_url") or ""),
        "CLERK_ISSUER": secrets.get("clerk-issuer", "") or str(clerk.get("issuer") or ""),
        "CLERK_AUDIENCE": secrets.get("clerk-audience", "") or str(clerk.get("audience") or ""),
        "RESEND_FROM": secrets.get("resend-from", "") or str(resend.get("from") or ""),
        "RESEND_DOMAIN": secrets.get("resend-domain", "") or str(resend.get("domain") or ""),
    }
    values.update({key: secrets.get(name, "") for key, name in API_SECRETS.items()})
    return values


def redis_word(value: str) -> str:
    """Quote a word for redis.conf (double quotes, backslash escapes)."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def redis_config(password: str, memory_mib: int) -> str:
    """Return the part of redis.conf that depends on secrets and on the machine."""
    return f"{HEADER}requirepass {redis_word(password)}\nmaxmemory {memory_mib}mb\n"


def pgpass(port: int, password: str) -> str:
    """Return a libpq password file for the role zmanim."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return "".join(f"{host}:{port}:*:zmanim:{escaped}\n" for host in ("localhost", "127.0.0.1"))


def restic_environment(repository: str, password_file: str, region: str) -> str:
    """Return /etc/restic/env; the password itself stays in the file on tmpfs."""
    return environment_file(
        {"RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD_FILE": password_file, "AWS_DEFAULT_REGION": region}
    )


def parse_environment_file(text: str) -> Dict[str, str]:
    """Return the values of a file that ``environment_file`` wrote."""
    values: Dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith("#"):
            values[key] = _unescape(value[1:-1] if value[:1] == value[-1:] == '"' else value)
    return values


def _unescape(value: str) -> str:
    result, escaped = [], False
    for character in value:
        if character == "\\" and not escaped:
            escaped = True
            continue
        result.append(character)
        escaped = False
    return "".join(result)


def postgres_config(
    sizes: Mapping[str, str], data_dir: str, database: str, preload: Optional[List[str]] = None
) -> str:
    """Return 10-generated.conf: what depends on the machine; site and emergency files come after it and
    win.
    """
    values = {
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "checkpoint_timeout": "'15min'",
        "checkpoint_completion_target": "0.9",
        "idle_in_transaction_session_timeout": "'5min'",
        "cron.database_name": f"'{database}'",
    }
    if preload:
        values["shared_preload_libraries"] = "'" + ",".join(preload) + "'"
    values.update(sizes)
    return (
        HEADER + f"# Cluster in {data_dir}\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    )
