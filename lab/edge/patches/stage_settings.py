# SPDX-License-Identifier: GPL-3.0-or-later
"""DeleteAccessLogSettings and DeleteRouteSettings remove a part of a stage.

ministack does not know these operations and takes both for the deletion of the stage itself.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from ministack.services import apigateway

from lab.edge.settings import EdgeSettings

Response = tuple[int, dict[str, Any], bytes]
PATH = re.compile(r"^/v2/apis/([^/]+)/stages/([^/]+)/(accesslogsettings|routesettings/(.+))$")


def delete(api_id: str, stage_name: str, route_key: str | None) -> Response:
    """Remove one route's settings, or with None the access log; 404 without the stage."""
    stage = apigateway._stages.get(api_id, {}).get(unquote(stage_name))
    if stage is None:
        missing: Response = apigateway._apigw_error("NotFoundException", "Invalid stage identifier", 404)
        return missing
    if route_key is None:
        stage.pop("accessLogSettings", None)
    else:
        stage["routeSettings"] = {
            key: value
            for key, value in (stage.get("routeSettings") or {}).items()
            if key != unquote(route_key)
        }
    return 204, {}, b""


def apply(_settings: EdgeSettings) -> None:
    """Answer the two operations; leave every other to the emulator."""
    handle_request = apigateway.handle_request

    async def handle(method: str, path: str, headers: Any, body: bytes, query: Any) -> Response:
        found = PATH.match(path) if method == "DELETE" else None
        if found is not None:
            return delete(found.group(1), found.group(2), found.group(4))
        response: Response = await handle_request(method, path, headers, body, query)
        return response

    apigateway.handle_request = handle
