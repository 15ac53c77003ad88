#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bucket_policy_statement
version_added: 0.1.0
short_description: Declare one statement of an S3 bucket's policy
description:
  - Adds, replaces and removes one statement of a bucket's policy, recognised by its C(Sid).
  - Statements of others are kept, so that several roles can share a bucket's policy.
author: The shtetl.zmanim authors
options:
  bucket:
    description: Name of the bucket.
    type: str
    required: true
  sid:
    description: The statement's C(Sid).
    type: str
    required: true
  state:
    description: Whether the statement is in the policy.
  statement:
    description: The statement without its C(Sid). Required when O(state=present).
    type: dict
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Let the distribution read the bucket
  shtetl.zmanim.bucket_policy_statement:
    bucket: zmanim-static-production
    sid: AllowDistribution
    statement:
      Effect: Allow
      Principal:
        Service: cloudfront.amazonaws.com
      Action: s3:GetObject
      Resource: arn:aws:s3:::zmanim-static-production/*
"""

RETURN = r"""
sid:
  description: The statement's Sid.
  returned: always
  type: str
  sample: AllowDistribution
"""

from typing import Any, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    run,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.policy_document import (
    document_text,
    normalised,
    normalised_statement,
)


class Statement(DeclaredResource):
    """One statement of a bucket's policy."""

    kind = "bucket policy statement"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.client = module.client("s3")
        self.others: List[State] = []

    def current(self) -> Optional[State]:
        found = call(
            f"read the policy of the bucket {self.params['bucket']}",
            self.client.get_bucket_policy,
            missing=("NoSuchBucketPolicy", "NoSuchBucket"),
            Bucket=self.params["bucket"],
        )
        statements = normalised(found["Policy"])["Statement"] if found else []
        sid = self.params["sid"]
        self.others = [item for item in statements if item.get("Sid") != sid]
        return next((item for item in statements if item.get("Sid") == sid), None)

    def desired(self, current: Optional[State]) -> State:
        return normalised_statement(dict(self.params["statement"], Sid=self.params["sid"]))

    def _put(self, statements: List[State]) -> None:
        bucket = {"Bucket": self.params["bucket"]}
        if not statements:
            call("delete the bucket's policy", self.client.delete_bucket_policy, **bucket)
            return
        policy = document_text({"Version": "2012-10-17", "Statement": statements})
        call("write the bucket's policy", self.client.put_bucket_policy, Policy=policy, **bucket)

    def create(self, desired: State) -> None:
        self._put([*self.others, desired])

    def update(self, current: State, desired: State) -> None:
        self._put([*self.others, desired])

    def delete(self, current: State) -> None:
        self._put(self.others)

    def result(self) -> State:
        return {"sid": self.params["sid"]}


def argument_spec() -> Dict[str, Any]:
    return {
        "bucket": {"required": True},
        "sid": {"required": True},
        "state": STATE,
        "statement": {"type": "dict"},
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "present", ["statement"])],
    )
    run(module, Statement)


if __name__ == "__main__":
    main()
