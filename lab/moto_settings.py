# SPDX-License-Identifier: GPL-3.0-or-later
"""What moto is told by its environment, which it reads when it is imported."""

from __future__ import annotations

import os

from lab.paths import REGION

SETTINGS = {
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_ACM_VALIDATION_WAIT": "1",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def apply() -> None:
    """Set them in this process."""
    os.environ.update(SETTINGS)
