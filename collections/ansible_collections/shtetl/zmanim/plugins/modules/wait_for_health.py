#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until an HTTP address answers with status 200, up to a deadline."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: wait_for_health
version_added: 0.1.0
short_description: Wait until an HTTP address answers 200
description:
  - Asks an address every I(interval) seconds until it answers with the status 200, at most until the
    deadline.
  - The status decides; the body is not looked at.
  - Runs in one process, so that the deadline holds however the address fails.
options:
  url:
    description: The address.
    type: str
    required: true
  headers:
    description: Request headers.
    type: dict
    default: {}
  deadline:
    description: Seconds after which the wait fails.
    type: float
    default: 300
  interval:
    description: Seconds between two requests.
    type: float
    default: 1
attributes:
  check_mode:
    description: Does not wait in check mode, where nothing may have been started.
extends_documentation_fragment:
  - shtetl.zmanim.attributes.info_module
author:
  - The shtetl.zmanim authors (@shtetl)
"""

EXAMPLES = r"""
- name: Wait until the API answers
  shtetl.zmanim.wait_for_health:
    url: http://203.0.113.7:8080/health
    deadline: 300
"""

RETURN = r"""
seconds:
  description: How long the wait took; 0 in check mode.
  returned: always
  type: float
attempts:
  description: Number of requests.
  returned: always
  type: int
"""

import http.client
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Dict, Tuple

from ansible.module_utils.basic import AnsibleModule

REQUEST_TIMEOUT = 5.0


def ask(url: str, headers: Dict[str, str], timeout: float) -> str:
    """Return "200" when the address is healthy, else what it answered or how it failed."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - main() admits http and https only
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error))


def wait(
    probe: Callable[[float], str],
    deadline: float,
    interval: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Tuple[str, float, int]:
    """Return the last answer, the seconds waited and the number of attempts."""
    start = clock()
    attempts = 0
    while True:
        attempts += 1
        left = deadline - (clock() - start)
        answer = probe(max(min(REQUEST_TIMEOUT, left), 0.1))
        waited = clock() - start
        if answer == "200" or waited + interval >= deadline:
            return answer, round(waited, 2), attempts
        pause(interval)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "headers": {"type": "dict", "default": {}},
            "deadline": {"type": "float", "default": 300},
            "interval": {"type": "float", "default": 1},
        },
        supports_check_mode=True,
    )
    options: Dict[str, Any] = module.params
    if not options["url"].startswith(("http://", "https://")):
        module.fail_json(msg=f"url: found {options['url']!r}, expected an address with http:// or https://")
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0, attempts=0)
    answer, seconds, attempts = wait(
        lambda timeout: ask(options["url"], options["headers"], timeout),
        options["deadline"],
        options["interval"],
    )
    if answer != "200":
        module.fail_json(
            msg=f"{options['url']} did not answer 200 within {options['deadline']:g} s; "
            f"last answer: {answer}",
            seconds=seconds,
            attempts=attempts,
        )
    module.exit_json(changed=False, seconds=seconds, attempts=attempts)


if __name__ == "__main__":
    main()
