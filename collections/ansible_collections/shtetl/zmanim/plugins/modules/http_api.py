#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: http_api
version_added: 0.1.0
short_description: Declare an Amazon API Gateway HTTP API as one document
description:
  - Creates, updates and deletes an HTTP API (API Gateway v2) with its CORS configuration, authorizers,
    integrations, routes and stage. What the document does not name is removed from the API.
  - The API is found by its name, which must be unique in the account and region.
  - An integration is recognised by its description, where this module stores the integration's name.
author: The shtetl.zmanim authors
options:
  name:
    description: Name of the API.
    type: str
    required: true
  description:
    description: What the API is for.
    type: str
    default: ''
  disable_execute_api_endpoint:
    description: Whether clients can only use a custom domain name.
    type: bool
    default: false
  cors:
    description:
      - Cross-origin rules that API Gateway itself answers preflight requests with. None when left out.
      - Origins and headers are compared without regard to case, as API Gateway stores them.
    type: dict
    suboptions:
      allow_origins:
        description: Origins, such as C(https://zmanim.example), or C(*).
        type: list
        elements: str
        required: true
      allow_methods:
        description: Methods.
        type: list
        elements: str
        default: []
      allow_headers:
        description: Request headers.
        type: list
        elements: str
        default: []
      expose_headers:
        description: Response headers that a script may read.
        type: list
        elements: str
        default: []
      allow_credentials:
        description: Whether cookies and authorization may be sent. Not together with the origin C(*).
        type: bool
        default: false
      max_age:
        description: How long a browser may keep the preflight's answer, in seconds.
        type: int
        default: 0
  authorizers:
    description: JWT authorizers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name, which routes refer to.
        type: str
        required: true
      issuer:
        description: Issuer (C(iss)) of accepted tokens; its OpenID configuration names the keys.
        type: str
        required: true
      audience:
        description: Accepted audiences (C(aud)).
        type: list
        elements: str
        required: true
      identity_source:
        description: Where the token is found.
        type: list
        elements: str
        default: [$request.header.Authorization]
  integrations:
    description: HTTP proxy integrations.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name, which routes refer to; stored as the integration's description.
        type: str
        required: true
      uri:
        description:
          - URL of the origin, in which C({variable}) stands for a path variable of the route.
          - For a VPC link the ARN of a listener or of a Cloud Map service.
        type: str
        required: true
      method:
        description: Method that the origin is asked with; C(ANY) keeps the client's.
        type: str
        default: ANY
      timeout_ms:
        description: How long the origin may take, in milliseconds (50 to 30000).
        type: int
        default: 30000
      connection_type:
        description: Over the internet or through a VPC link.
        type: str
        choices: [INTERNET, VPC_LINK]
        default: INTERNET
      connection_id:
        description: Id of the VPC link.
        type: str
        default: ''
      request_parameters:
        description: Parameter mappings, such as C(overwrite:header.X-Tenant) to a value.
        type: dict
        default: {}
      secret_request_parameters:
        description: Parameter mappings whose values are never shown.
        type: dict
        default: {}
  routes:
    description: Routes.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Method and path, such as C(GET /api/v1/health) or C(ANY /api/{proxy+}), or C($default).
        type: str
        required: true
      integration:
        description: Name of the integration that serves the route.
        type: str
        required: true
      authorizer:
        description: Name of the authorizer; open when left out.
        type: str
      throttling_rate_limit:
        description: Requests a second on this route; the stage's when left out.
        type: float
      throttling_burst_limit:
        description: Requests at once on this route; the stage's when left out.
        type: int
  stage:
    description: The stage that serves the API.
    type: dict
    default: {}
    suboptions:
      name:
        description: Name; C($default) serves from the root of the API's domain name.
        type: str
        default: $default
      auto_deploy:
        description: Whether changes are deployed at once. Without it deployments are made elsewhere.
        type: bool
        default: true
      throttling_rate_limit:
        description: Requests a second on each route; left as it is when not given.
        type: float
      throttling_burst_limit:
        description: Requests at once on each route; left as it is when not given.
        type: int
      detailed_metrics:
        description: Whether CloudWatch gets metrics for each route.
        type: bool
        default: false
      variables:
        description: Stage variables.
        type: dict
        default: {}
      access_log:
        description: Access log; none when left out.
        type: dict
        suboptions:
          destination_arn:
            description: ARN of the log group.
            type: str
            required: true
          format:
            description: One line of text with C($context) variables.
            type: str
            required: true
  wait_timeout:
    description: How long to wait for a deployment, in seconds.
    type: int
    default: 60
attributes:
  diff_mode:
    description: Shows the whole document before and after; secret values are hidden.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - amazon.aws.tags
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Declare the API in front of one origin
  shtetl.zmanim.http_api:
    name: zmanim-production
    cors:
      allow_origins: [https://zmanim.example]
      allow_methods: [GET, POST]
      allow_credentials: true
    authorizers:
      - name: clerk
        issuer: https://clerk.zmanim.example
        audience: [https://zmanim.example]
    integrations:
      - name: api
        uri: http://203.0.113.10:8080/api/v1/{proxy}
        timeout_ms: 29000
        secret_request_parameters:
          overwrite:header.X-Origin-Verify: "{{ origin_verify_key }}"
    routes:
      - key: ANY /api/v1/{proxy+}
        integration: api
        authorizer: clerk
    stage:
      throttling_rate_limit: 500
      throttling_burst_limit: 1000
    tags:
      Environment: production

- name: Delete the API
  shtetl.zmanim.http_api:
    name: zmanim-production
    state: absent
"""

RETURN = r"""
http_api:
  description: Identifiers of the API. Empty strings when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id of the API.
      type: str
      sample: a1b2c3d4e5
    arn:
      description: ARN of the API.
      type: str
      sample: arn:aws:apigateway:eu-west-1::/apis/a1b2c3d4e5
    endpoint:
      description: URL of the API's own endpoint.
      type: str
      sample: https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com
    domain_name:
      description: Host of the API's own endpoint, to be used as a distribution's origin.
      type: str
      sample: a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run
from ansible_collections.shtetl.zmanim.plugins.module_utils.http_api import HttpApi


def argument_spec() -> Dict[str, Any]:
    cors = {
        "allow_origins": {"type": "list", "elements": "str", "required": True},
        "allow_methods": {"type": "list", "elements": "str", "default": []},
        "allow_headers": {"type": "list", "elements": "str", "default": []},
        "expose_headers": {"type": "list", "elements": "str", "default": []},
        "allow_credentials": {"type": "bool", "default": False},
        "max_age": {"type": "int", "default": 0},
    }
    authorizer = {
        "name": {"required": True},
        "issuer": {"required": True},
        "audience": {"type": "list", "elements": "str", "required": True},
        "identity_source": {"type": "list", "elements": "str", "default": ["$request.header.Authorization"]},
    }
    integration = {
        "name": {"required": True},
        "uri": {"required": True},
        "method": {"default": "ANY"},
        "timeout_ms": {"type": "int", "default": 30000},
        "connection_type": {"choices": ["INTERNET", "VPC_LINK"], "default": "INTERNET"},
        "connection_id": {"default": ""},
        "request_parameters": {"type": "dict", "default": {}},
        "secret_request_parameters": {"type": "dict", "default": {}, "no_log": True},
    }
    route = {
        "key": {"required": True, "no_log": False},
        "integration": {"required": True},
        "authorizer": {},
        "throttling_rate_limit": {"type": "float"},
        "throttling_burst_limit": {"type": "int"},
    }
    access_log = {"destination_arn": {"required": True}, "format": {"required": True}}
    stage = {
        "name": {"default": "$default"},
        "auto_deploy": {"type": "bool", "default": True},
        "throttling_rate_limit": {"type": "float"},
        "throttling_burst_limit": {"type": "int"},
        "detailed_metrics": {"type": "bool", "default": False},
        "variables": {"type": "dict", "default": {}},
        "access_log": {"type": "dict", "options": access_log},
    }
    return {
        "name": {"required": True},
        "state": STATE,
        "description": {"default": ""},
        "disable_execute_api_endpoint": {"type": "bool", "default": False},
        "cors": {"type": "dict", "options": cors},
        "authorizers": {"type": "list", "elements": "dict", "default": [], "options": authorizer},
        "integrations": {"type": "list", "elements": "dict", "default": [], "options": integration},
        "routes": {"type": "list", "elements": "dict", "default": [], "options": route},
        "stage": {"type": "dict", "default": {}, "apply_defaults": True, "options": stage},
        "tags": {"type": "dict", "aliases": ["resource_tags"]},
        "purge_tags": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 60},
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    run(module, HttpApi)


if __name__ == "__main__":
    main()
