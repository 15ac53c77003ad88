#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare a domain that SES sends mail from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sesv2_identity
version_added: 0.1.0
short_description: Declare an SES domain identity with Easy DKIM
description:
  - Keeps a domain as a sending identity of SES, with DKIM signing by keys that SES holds.
  - Does not wait for the proof of the domain, which follows when the DNS records exist.
options:
  domain:
    description: The domain.
    type: str
    required: true
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags.initial
"""

EXAMPLES = r"""
- name: Send mail from the site's domain
  shtetl.zmanim.sesv2_identity:
    domain: zmanim.example.com
"""

RETURN = r"""
dkim_tokens:
  description: Tokens of the three DKIM records, empty in check mode before the identity exists.
  returned: always
  type: list
  elements: str
verified:
  description: Whether SES has seen the proof and sends.
  returned: always
  type: bool
"""

from typing import Any, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    run,
    tag_list,
)

GONE = ("NotFoundException",)
KEY_LENGTH = "RSA_2048_BIT"


class DomainIdentity(DeclaredResource):
    """A domain as a sending identity."""

    kind = "SES identity"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ses = module.client("sesv2")
        self.domain: str = self.params["domain"]
        self.tokens: List[str] = []
        self.verified = False

    def current(self) -> Optional[State]:
        """Read the identity."""
        action = f"read the identity {self.domain}"
        answer = call(action, self.ses.get_email_identity, missing=GONE, EmailIdentity=self.domain)
        if answer is None:
            return None
        dkim = answer.get("DkimAttributes", {})
        self.tokens = list(dkim.get("Tokens", []))
        self.verified = bool(answer.get("VerifiedForSendingStatus"))
        return {"dkim_signing": bool(dkim.get("SigningEnabled", True))}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared identity."""
        return {"dkim_signing": True}

    def create(self, desired: State) -> None:
        """Create the identity and read its tokens."""
        call(
            f"create the identity {self.domain}",
            self.ses.create_email_identity,
            EmailIdentity=self.domain,
            DkimSigningAttributes={"NextSigningKeyLength": KEY_LENGTH},
            Tags=tag_list(self.params["tags"]),
        )
        self.current()

    def update(self, current: State, desired: State) -> None:
        """Switch signing on."""
        call(
            "switch DKIM signing on",
            self.ses.put_email_identity_dkim_attributes,
            EmailIdentity=self.domain,
            SigningEnabled=True,
        )

    def delete(self, current: State) -> None:
        """Delete the identity."""
        action = f"delete the identity {self.domain}"
        call(action, self.ses.delete_email_identity, missing=GONE, EmailIdentity=self.domain)

    def result(self) -> State:
        """Return the tokens and whether the domain is proven."""
        return {"dkim_tokens": self.tokens, "verified": self.verified}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "domain": {"type": "str", "required": True},
            "state": STATE,
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, DomainIdentity)


if __name__ == "__main__":
    main()
