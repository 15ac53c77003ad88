#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare an identity provider of IAM that speaks OpenID Connect."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: oidc_provider
version_added: 0.1.0
short_description: Declare an IAM OpenID Connect identity provider
description:
  - Keeps an identity provider whose tokens may assume roles of the account.
  - AWS trusts the certificate chains of the well-known providers by itself, so no thumbprint is declared.
options:
  url:
    description: URL of the issuer.
    type: str
    required: true
  client_ids:
    description: Audiences that tokens may have.
    type: list
    elements: str
    default: [sts.amazonaws.com]
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags
"""

EXAMPLES = r"""
- name: Trust the tokens of GitHub's workflows
  shtetl.zmanim.oidc_provider:
    url: https://token.actions.githubusercontent.com
"""

RETURN = r"""
arn:
  description: ARN of the provider, empty in check mode before it exists.
  returned: always
  type: str
"""

from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    desired_tags,
    run,
    tag_changes,
    tag_dict,
    tag_list,
)

GONE = ("NoSuchEntity",)


class OidcProvider(DeclaredResource):
    """An OpenID Connect provider, found by its URL."""

    kind = "identity provider"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.iam = module.client("iam")
        self.url: str = self.params["url"].rstrip("/")
        self.arn = ""

    def current(self) -> Optional[State]:
        """Read the provider whose ARN ends with the issuer's address."""
        providers = call("list the identity providers", self.iam.list_open_id_connect_providers)
        issuer = self.url.split("://", 1)[-1]
        arns = [one["Arn"] for one in providers["OpenIDConnectProviderList"]]
        matching = [arn for arn in arns if arn.split(":oidc-provider/", 1)[-1] == issuer]
        if not matching:
            return None
        self.arn = matching[0]
        arn = {"OpenIDConnectProviderArn": self.arn}
        answer = call(
            "read the identity provider", self.iam.get_open_id_connect_provider, missing=GONE, **arn
        )
        if answer is None:
            return None
        return {"client_ids": sorted(answer["ClientIDList"]), "tags": tag_dict(answer.get("Tags"))}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared provider."""
        tags = desired_tags((current or {}).get("tags"), self.params["tags"], purge=True)
        return {"client_ids": sorted(self.params["client_ids"]), "tags": tags}

    def create(self, desired: State) -> None:
        """Create the provider."""
        self.arn = call(
            f"create the identity provider {self.url}",
            self.iam.create_open_id_connect_provider,
            Url=self.url,
            ClientIDList=desired["client_ids"],
            Tags=tag_list(desired["tags"]),
        )["OpenIDConnectProviderArn"]

    def update(self, current: State, desired: State) -> None:
        """Set audiences and tags."""
        arn = {"OpenIDConnectProviderArn": self.arn}
        for client in sorted(set(desired["client_ids"]) - set(current["client_ids"])):
            call(
                "add an audience", self.iam.add_client_id_to_open_id_connect_provider, ClientID=client, **arn
            )
        for client in sorted(set(current["client_ids"]) - set(desired["client_ids"])):
            call(
                "remove an audience",
                self.iam.remove_client_id_from_open_id_connect_provider,
                ClientID=client,
                **arn,
            )
        to_set, to_remove = tag_changes(current["tags"], desired["tags"])
        if to_set:
            call("tag the provider", self.iam.tag_open_id_connect_provider, Tags=tag_list(to_set), **arn)
        if to_remove:
            call("untag the provider", self.iam.untag_open_id_connect_provider, TagKeys=to_remove, **arn)

    def delete(self, current: State) -> None:
        """Delete the provider."""
        arn = {"OpenIDConnectProviderArn": self.arn}
        call("delete the identity provider", self.iam.delete_open_id_connect_provider, missing=GONE, **arn)

    def result(self) -> State:
        """Return the provider's ARN."""
        return {"arn": self.arn}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "state": STATE,
            "client_ids": {"type": "list", "elements": "str", "default": ["sts.amazonaws.com"]},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    run(module, OidcProvider)


if __name__ == "__main__":
    main()
