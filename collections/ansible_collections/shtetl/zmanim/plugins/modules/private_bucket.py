#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare an S3 bucket that nobody can open to the public, with its whole configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: private_bucket
version_added: 0.1.0
short_description: Declare a private S3 bucket with its whole configuration
description:
  - Keeps a bucket with public access blocked, encrypted at rest, reachable over TLS only, with versioning,
    life cycle rules and tags as declared.
  - Has check and diff mode, which C(amazon.aws.s3_bucket) lacks, and reads the bucket once.
  - Statements of the bucket policy are matched by their C(Sid); statements of others are kept.
options:
  name:
    description: Name of the bucket.
    type: str
    required: true
  versioning:
    description: Whether the bucket keeps old versions of its objects. Once on it can only be suspended.
    type: bool
    default: false
  tls_only:
    description: Whether requests without TLS are denied by the bucket policy.
    type: bool
    default: true
  policy_statements:
    description: Further statements of the bucket policy, each with a C(Sid).
    type: list
    elements: dict
    default: []
  lifecycle_rules:
    description: All life cycle rules of the bucket.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name of the rule.
        type: str
        required: true
      prefix:
        description: Prefix of the keys that the rule is for.
        type: str
        default: ""
      expire_days:
        description: Days after which a current object is deleted.
        type: int
      noncurrent_days:
        description: Days after which an old version is deleted.
        type: int
      abort_multipart_days:
        description: Days after which the parts of an unfinished upload are deleted.
        type: int
  empty:
    description: >-
      With I(state=absent), delete every object and version first. Without it a full bucket is an error.
    type: bool
    default: false
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
- name: Keep the bucket of the backups
  shtetl.zmanim.private_bucket:
    name: zmanim-backups-production
    versioning: true
    lifecycle_rules:
      - id: old-versions
        noncurrent_days: 30
        abort_multipart_days: 7
"""

RETURN = r"""
name:
  description: Name of the bucket.
  returned: always
  type: str
arn:
  description: ARN of the bucket.
  returned: always
  type: str
"""

from typing import Any, Dict, Iterator, List, Mapping, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    declared,
    desired_tags,
    run,
    tag_dict,
    tag_list,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.policy_document import (
    document_text,
    normalised,
    normalised_statement,
)

TLS_ONLY = "TlsOnly"
BLOCKED = {
    "BlockPublicAcls": True,
    "BlockPublicPolicy": True,
    "IgnorePublicAcls": True,
    "RestrictPublicBuckets": True,
}
GONE = ("NoSuchBucket", "404", "NotFound")
UNSET = (
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "ServerSideEncryptionConfigurationNotFoundError",
)


def tls_only_statement(bucket: str) -> Dict[str, Any]:
    """Return the statement that denies every request without TLS."""
    return {
        "Sid": TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def rule_of(answer: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a life cycle rule of S3 in the form of the option I(lifecycle_rules)."""
    rule = {
        "id": answer.get("ID", ""),
        "prefix": answer.get("Filter", {}).get("Prefix", answer.get("Prefix", "")),
        "expire_days": answer.get("Expiration", {}).get("Days"),
        "noncurrent_days": answer.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        "abort_multipart_days": answer.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    }
    if answer.get("Status") != "Enabled":
        rule["status"] = answer.get("Status")
    return declared(rule)


def rule_for(rule: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a declared life cycle rule in the form of S3."""
    request: Dict[str, Any] = {"ID": rule["id"], "Status": "Enabled", "Filter": {"Prefix": rule["prefix"]}}
    if "expire_days" in rule:
        request["Expiration"] = {"Days": rule["expire_days"]}
    if "noncurrent_days" in rule:
        request["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["noncurrent_days"]}
    if "abort_multipart_days" in rule:
        request["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule["abort_multipart_days"]}
    return request


class PrivateBucket(DeclaredResource):
    """An S3 bucket closed to the public."""

    kind = "S3 bucket"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.s3 = module.client("s3")
        self.name: str = self.params["name"]

    def _read(self, method: str) -> Dict[str, Any]:
        answer = call(
            f"read the bucket {self.name} ({method})",
            getattr(self.s3, method),
            missing=UNSET,
            Bucket=self.name,
        )
        return answer or {}

    def current(self) -> Optional[State]:
        """Read the bucket's configuration."""
        if call(f"read the bucket {self.name}", self.s3.head_bucket, missing=GONE, Bucket=self.name) is None:
            return None
        rules = self._read("get_bucket_lifecycle_configuration").get("Rules", [])
        return {
            "encryption": self._encryption(),
            "lifecycle_rules": sorted((rule_of(rule) for rule in rules), key=lambda rule: str(rule["id"])),
            "policy": self._policy(),
            "public_access_block": self._read("get_public_access_block").get(
                "PublicAccessBlockConfiguration", {}
            ),
            "tags": tag_dict(self._read("get_bucket_tagging").get("TagSet")),
            "versioning": self._read("get_bucket_versioning").get("Status", "Off") == "Enabled",
        }

    def _encryption(self) -> str:
        configuration = self._read("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {})
        for rule in configuration.get("Rules", []):
            return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])
        return "none"

    def _policy(self) -> List[Dict[str, Any]]:
        policy = self._read("get_bucket_policy").get("Policy")
        statements = normalised(policy)["Statement"] if policy else []
        return sorted(statements, key=lambda statement: str(statement.get("Sid", "")))

    def desired(self, current: Optional[State]) -> State:
        """Return the declared bucket; foreign policy statements stay."""
        held = current or {}
        rules = [declared(rule) for rule in self.params["lifecycle_rules"]]
        return {
            "encryption": "aws:kms" if held.get("encryption") == "aws:kms" else "AES256",
            "lifecycle_rules": sorted(rules, key=lambda rule: str(rule["id"])),
            "policy": self._desired_policy(held.get("policy", [])),
            "public_access_block": dict(BLOCKED),
            "tags": desired_tags(held.get("tags"), self.params["tags"], purge=True),
            "versioning": self.params["versioning"],
        }

    def _desired_policy(self, held: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        statements = [normalised_statement(statement) for statement in self.params["policy_statements"]]
        if self.params["tls_only"]:
            statements.append(normalised_statement(tls_only_statement(self.name)))
        own = {statement["Sid"] for statement in statements} | {TLS_ONLY}
        statements += [statement for statement in held if statement.get("Sid") not in own]
        return sorted(statements, key=lambda statement: str(statement.get("Sid", "")))

    def create(self, desired: State) -> None:
        """Create the bucket and give it its configuration."""
        arguments: Dict[str, Any] = {"Bucket": self.name}
        region = self.s3.meta.region_name
        if region != "us-east-1":
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
        call(f"create the bucket {self.name}", self.s3.create_bucket, **arguments)
        bare: State = {
            "encryption": "none",
            "lifecycle_rules": [],
            "policy": [],
            "public_access_block": {},
            "tags": {},
            "versioning": False,
        }
        self.update(bare, desired)

    def update(self, current: State, desired: State) -> None:
        """Write the parts of the configuration that differ."""
        for part in sorted(key for key in desired if current[key] != desired[key]):
            getattr(self, f"_write_{part}")(desired[part])

    def _write(self, method: str, **arguments: Any) -> None:
        call(
            f"configure the bucket {self.name} ({method})",
            getattr(self.s3, method),
            Bucket=self.name,
            **arguments,
        )

    def _write_encryption(self, algorithm: str) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}, "BucketKeyEnabled": True}
        self._write("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def _write_lifecycle_rules(self, rules: List[Dict[str, Any]]) -> None:
        if not rules:
            self._write("delete_bucket_lifecycle")
            return
        self._write(
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration={"Rules": [rule_for(rule) for rule in rules]},
        )

    def _write_policy(self, statements: List[Dict[str, Any]]) -> None:
        if not statements:
            self._write("delete_bucket_policy")
            return
        policy = {"Version": "2012-10-17", "Statement": statements}
        self._write("put_bucket_policy", Policy=document_text(policy))

    def _write_public_access_block(self, block: Dict[str, bool]) -> None:
        self._write("put_public_access_block", PublicAccessBlockConfiguration=block)

    def _write_tags(self, tags: Dict[str, str]) -> None:
        if tags:
            self._write("put_bucket_tagging", Tagging={"TagSet": tag_list(tags)})
        else:
            self._write("delete_bucket_tagging")

    def _write_versioning(self, versioning: bool) -> None:
        status = "Enabled" if versioning else "Suspended"
        self._write("put_bucket_versioning", VersioningConfiguration={"Status": status})

    def delete(self, current: State) -> None:
        """Delete the bucket, after its objects when I(empty) says so."""
        if self.params["empty"]:
            for batch in self._object_batches():
                self._write("delete_objects", Delete={"Objects": batch, "Quiet": True})
        call(f"delete the bucket {self.name}", self.s3.delete_bucket, missing=GONE, Bucket=self.name)

    def _object_batches(self) -> Iterator[List[Dict[str, str]]]:
        """Yield all versions and delete markers of the bucket, at most 1000 at a time."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
            if entries:
                yield [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]

    def result(self) -> State:
        """Return the bucket's name and ARN."""
        return {"name": self.name, "arn": f"arn:aws:s3:::{self.name}"}


def main() -> None:
    """Run the module."""
    rule = {
        "id": {"type": "str", "required": True},
        "prefix": {"type": "str", "default": ""},
        "expire_days": {"type": "int"},
        "noncurrent_days": {"type": "int"},
        "abort_multipart_days": {"type": "int"},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "versioning": {"type": "bool", "default": False},
            "tls_only": {"type": "bool", "default": True},
            "policy_statements": {"type": "list", "elements": "dict", "default": []},
            "lifecycle_rules": {"type": "list", "elements": "dict", "default": [], "options": rule},
            "empty": {"type": "bool", "default": False},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    run(module, PrivateBucket)


if __name__ == "__main__":
    main()
