# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP API's ApiEndpoint has AWS's form, https://<id>.execute-api.<region>.amazonaws.com.

ministack names its own host and port there; a distribution's origin is made from this value.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import apigateway

from lab.edge.settings import EdgeSettings


def apply(settings: EdgeSettings) -> None:
    """Give every API created from now on its AWS endpoint."""
    create = apigateway._create_api

    def create_api(data: dict[str, Any]) -> tuple[int, dict[str, Any], bytes]:
        status, headers, body = create(data)
        if status == 201:
            api_id = json.loads(body)["apiId"]
            api = apigateway._apis[api_id]
            api["apiEndpoint"] = f"https://{api_id}.execute-api.{settings.region}.amazonaws.com"
            body = apigateway._apigw_response(api, status)[2]
        return status, headers, body

    apigateway._create_api = create_api
