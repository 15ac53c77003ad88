# SPDX-License-Identifier: GPL-3.0-or-later
"""swap.yml and rollback.yml from end to end, without machines; the rehearsal does the same with real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.playbooks.conftest import Site

pytestmark = pytest.mark.moto


def test_swap_moves_volume_address_and_pointers(site: Site) -> None:
    done = site.play("swap", swap_ami_id=site.ami_v2)
    assert done.rc == 0, done.text
    green = site.holder()
    assert green != site.blue
    assert site.address_on() == green
    assert site.instances()[site.blue] == "stopped"
    assert (site.parameter("ami-id"), site.parameter("ami-previous")) == (site.ami_v2, site.ami_v1)
    assert site.swap_state()["phase"] == "done"
    assert site.parameter("lock") is None
