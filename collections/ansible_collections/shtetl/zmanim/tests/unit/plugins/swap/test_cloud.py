# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 has of an environment, and what is said when it is not there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.cloud import Cloud
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([], "Persistent=true in eu-south-2, found none: check zmanim_region"),
        (["vol-1", "vol-2"], "found vol-1, vol-2: remove the tags from the others"),
    ],
)
def test_a_data_volume_that_is_not_one_is_named_with_its_region(volumes, message):
    found = {"Volumes": [{"VolumeId": one} for one in volumes]}
    ec2 = SimpleNamespace(
        describe_volumes=lambda **_filters: found, meta=SimpleNamespace(region_name="eu-south-2")
    )
    with pytest.raises(SwapError, match=message):
        Cloud(ec2, "test").data_volume()
