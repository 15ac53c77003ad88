# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity provider's stand-in: one RSA key, its JWKS document, and tokens signed with it (RS256)."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER = "http://169.254.169.1:4568/"
AUDIENCE = "https://zmanim.lab.test"
KEY_ID = "zmanim-lab"
KEY_FILE = "edge/issuer.key"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(value: int) -> str:
    return _b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def create_key(state_dir: Path) -> Path:
    """Write a fresh signing key (mode 0600) below `state_dir` and return its path."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = state_dir / KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(pem)
    return path


def load_key(path: Path) -> rsa.RSAPrivateKey:
    """Read a signing key; raises TypeError when the file holds no RSA key."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    return key


def jwks(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the JSON Web Key Set (RFC 7517) of the key's public half."""
    numbers = key.public_key().public_numbers()
    return {
        "keys": [
            {
                "kty": "RSA",
                "use": "sig",
                "alg": "RS256",
                "kid": KEY_ID,
                "n": _integer(numbers.n),
                "e": _integer(numbers.e),
            }
        ]
    }


def openid_configuration(issuer: str = ISSUER) -> dict[str, Any]:
    """Return the discovery document (OpenID Connect Discovery 1.0) of the issuer."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer.rstrip('/')}/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    }


def sign(key: rsa.RSAPrivateKey, claims: dict[str, Any], key_id: str = KEY_ID) -> str:
    """Return `claims` as a signed JSON Web Token (RFC 7519) in compact form."""
    header = {"alg": "RS256", "typ": "JWT", "kid": key_id}
    signed = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{_b64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def mint(
    state_dir: Path,
    audience: str | None = AUDIENCE,
    expired: bool = False,
    subject: str = "user_lab",
    lifetime: int = 3600,
    issuer: str = ISSUER,
) -> str:
    """Return a token of the running lab's issuer; `audience` None leaves the claim out, as Clerk does."""
    now = int(time.time())
    expires = now - 60 if expired else now + lifetime
    claims: dict[str, Any] = {"iss": issuer, "sub": subject, "iat": min(now, expires) - 60, "exp": expires}
    if audience is not None:
        claims["aud"] = audience
    return sign(load_key(state_dir / KEY_FILE), claims)
