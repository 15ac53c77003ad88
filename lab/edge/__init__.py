# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge of the emulated AWS: CloudFront, API Gateway, S3 and their kin, carrying real requests.

    edge = lab.edge.start(Path("build/lab"))
    boto3.client("cloudfront", endpoint_url=edge.endpoint)
    edge.stop()

One child process serves ministack's API and every data-plane listener.  It ends when `stop` is called
and, because it holds the read end of a pipe, whenever the process that started it is gone.
"""

from __future__ import annotations

from lab.edge.launcher import Edge, EdgeError, start

__all__ = ["Edge", "EdgeError", "start"]
