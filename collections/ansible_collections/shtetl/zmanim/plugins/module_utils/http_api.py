# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API Gateway HTTP API as one normalised document: read, compare, write.

The document names children by what a person calls them (an authorizer's name, an integration's
description, a route's key); AWS's ids appear only when calls are made.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    DeclaredResourceError,
    State,
    call,
    conceal,
    desired_tags,
    overlay,
    pages,
    tag_changes,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import http_apis, the_only

NOT_FOUND = ("NotFoundException",)
PAYLOAD_FORMAT = "1.0"  # the only one of HTTP proxy integrations
TARGET = "integrations/"


# --- AWS answers -> document -------------------------------------------------------------------------


def cors_of(answer: Optional[Mapping[str, Any]]) -> State:
    """Return a CORS configuration, {} for none, in the case in which API Gateway compares it."""
    if not answer:
        return {}
    return {
        "allow_origins": sorted(origin.lower() for origin in answer.get("AllowOrigins", [])),
        "allow_methods": sorted(method.upper() for method in answer.get("AllowMethods", [])),
        "allow_headers": sorted(header.lower() for header in answer.get("AllowHeaders", [])),
        "expose_headers": sorted(header.lower() for header in answer.get("ExposeHeaders", [])),
        "allow_credentials": bool(answer.get("AllowCredentials", False)),
        "max_age": int(answer.get("MaxAge") or 0),
    }


def authorizer_of(answer: Mapping[str, Any]) -> State:
    """Return one authorizer."""
    token = answer.get("JwtConfiguration") or {}
    return {
        "type": answer.get("AuthorizerType", "JWT"),
        "issuer": token.get("Issuer", ""),
        "audience": sorted(token.get("Audience", [])),
        "identity_source": list(answer.get("IdentitySource", [])),
    }


def integration_of(answer: Mapping[str, Any]) -> State:
    """Return one integration."""
    parameters = answer.get("RequestParameters") or {}
    return {
        "type": answer.get("IntegrationType", ""),
        "uri": answer.get("IntegrationUri", ""),
        "method": answer.get("IntegrationMethod") or "ANY",
        "timeout_ms": int(answer.get("TimeoutInMillis") or 30000),
        "connection_type": answer.get("ConnectionType") or "INTERNET",
        "connection_id": answer.get("ConnectionId") or "",
        "request_parameters": {key: value for key, value in sorted(parameters.items()) if value != ""},
    }


def route_of(
    answer: Mapping[str, Any], integrations: Mapping[str, str], authorizers: Mapping[str, str]
) -> State:
    """Return one route; the mappings turn ids into names."""
    target = str(answer.get("Target") or "").rpartition("/")[2]
    open_to_all = (answer.get("AuthorizationType") or "NONE") == "NONE"
    authorizer = str(answer.get("AuthorizerId") or "")
    return {
        "integration": integrations.get(target, target),
        "authorizer": None if open_to_all else authorizers.get(authorizer, answer["AuthorizationType"]),
    }


def limits_of(settings: Optional[Mapping[str, Any]]) -> State:
    """Return the throttling of a stage or of one of its routes."""
    settings = settings or {}
    rate, burst = settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit")
    return {
        "throttling_rate_limit": None if rate is None else float(rate),
        "throttling_burst_limit": None if burst is None else int(burst),
    }


def stage_of(answer: Mapping[str, Any]) -> State:
    """Return the stage."""
    settings = answer.get("DefaultRouteSettings") or {}
    log = answer.get("AccessLogSettings") or {}
    destination = str(log.get("DestinationArn") or "")
    return {
        "name": answer.get("StageName", ""),
        "auto_deploy": bool(answer.get("AutoDeploy", False)),
        "detailed_metrics": bool(settings.get("DetailedMetricsEnabled", False)),
        "variables": {key: value for key, value in (answer.get("StageVariables") or {}).items() if value},
        "access_log": access_log_of(destination, str(log.get("Format") or "")),
        "routes": {key: limits_of(value) for key, value in (answer.get("RouteSettings") or {}).items()},
        **limits_of(settings),
    }


def access_log_of(destination: str, line_format: str) -> State:
    """Return the access log; API Gateway drops the ":*" that a log group's ARN may end with."""
    if not destination:
        return {}
    if destination.endswith(":*"):
        destination = destination[:-2]
    return {"destination_arn": destination, "format": line_format.strip()}


# --- options -> document -----------------------------------------------------------------------------


def wanted_cors(option: Optional[Mapping[str, Any]]) -> State:
    """Return the declared CORS configuration."""
    return cors_of(_cors_call(option)) if option else {}


def wanted_authorizers(options: List[Mapping[str, Any]]) -> State:
    """Return the declared authorizers by name."""
    return {
        option["name"]: {
            "type": "JWT",
            "issuer": option["issuer"],
            "audience": sorted(option["audience"]),
            "identity_source": list(option["identity_source"]),
        }
        for option in options
    }


def wanted_integrations(options: List[Mapping[str, Any]]) -> State:
    """Return the declared integrations by name."""
    return {option["name"]: _wanted_integration(option) for option in options}


def _wanted_integration(option: Mapping[str, Any]) -> State:
    parameters = dict(option["request_parameters"], **option["secret_request_parameters"])
    kept = ("uri", "method", "timeout_ms", "connection_type", "connection_id")
    return dict(
        {key: option[key] for key in kept},
        type="HTTP_PROXY",
        request_parameters={key: str(parameters[key]) for key in sorted(parameters)},
    )


def wanted_routes(options: List[Mapping[str, Any]]) -> State:
    """Return the declared routes by key."""
    return {option["key"]: {key: option[key] for key in ("integration", "authorizer")} for option in options}


def wanted_stage(
    option: Mapping[str, Any], routes: List[Mapping[str, Any]], current: Optional[State]
) -> State:
    """Return the declared stage; limits left open are the current ones."""
    log = option["access_log"] or {}
    limits = {key: option[key] for key in ("throttling_rate_limit", "throttling_burst_limit")}
    return {
        "name": option["name"],
        "auto_deploy": option["auto_deploy"],
        "detailed_metrics": option["detailed_metrics"],
        "variables": {key: str(value) for key, value in option["variables"].items()},
        "access_log": access_log_of(log.get("destination_arn", ""), log.get("format", "")),
        "routes": {route["key"]: _route_limits(route) for route in routes if _route_limits(route)},
        **overlay({key: (current or {}).get(key) for key in limits}, limits),
    }


def _route_limits(route: Mapping[str, Any]) -> State:
    limits = {key: route[key] for key in ("throttling_rate_limit", "throttling_burst_limit")}
    return limits if any(value is not None for value in limits.values()) else {}


def problems(document: Mapping[str, Any]) -> List[str]:
    """Return what is wrong with a declared document, one sentence each."""
    return [
        *_route_problems(document),
        *_cors_problems(document["cors"]),
        *_timeout_problems(document["integrations"]),
    ]


def _route_problems(document: Mapping[str, Any]) -> List[str]:
    found = []
    for key, route in document["routes"].items():
        if route["integration"] not in document["integrations"]:
            found.append(f"route {key!r} names the undeclared integration {route['integration']!r}")
        if route["authorizer"] and route["authorizer"] not in document["authorizers"]:
            found.append(f"route {key!r} names the undeclared authorizer {route['authorizer']!r}")
    return found


def _cors_problems(cors: Optional[Mapping[str, Any]]) -> List[str]:
    if cors and cors["allow_credentials"] and "*" in cors["allow_origins"]:
        return ["cors: allow_credentials needs named origins; '*' is refused by browsers"]
    return []


def _timeout_problems(integrations: Mapping[str, Any]) -> List[str]:
    return [
        f"integration {name!r}: timeout_ms is {integration['timeout_ms']}, expected 50 to 30000"
        for name, integration in integrations.items()
        if not 50 <= integration["timeout_ms"] <= 30000
    ]


# --- document -> calls -------------------------------------------------------------------------------


def _cors_call(cors: Mapping[str, Any]) -> State:
    return {
        "AllowOrigins": cors["allow_origins"],
        "AllowMethods": cors["allow_methods"],
        "AllowHeaders": cors["allow_headers"],
        "ExposeHeaders": cors["expose_headers"],
        "AllowCredentials": cors["allow_credentials"],
        "MaxAge": cors["max_age"],
    }


def _authorizer_call(name: str, authorizer: Mapping[str, Any]) -> State:
    return {
        "Name": name,
        "AuthorizerType": authorizer["type"],
        "IdentitySource": authorizer["identity_source"],
        "JwtConfiguration": {"Issuer": authorizer["issuer"], "Audience": authorizer["audience"]},
    }


def integration_call(
    name: str, integration: Mapping[str, Any], current: Optional[Mapping[str, Any]]
) -> State:
    """Return an integration's arguments; a mapping that is to go is set to "", which removes it."""
    parameters = dict.fromkeys((current or {}).get("request_parameters", {}), "")
    parameters.update(integration["request_parameters"])
    arguments = {
        "Description": name,
        "IntegrationType": integration["type"],
        "IntegrationUri": integration["uri"],
        "IntegrationMethod": integration["method"],
        "PayloadFormatVersion": PAYLOAD_FORMAT,
        "TimeoutInMillis": integration["timeout_ms"],
        "ConnectionType": integration["connection_type"],
        "RequestParameters": parameters,
    }
    if integration["connection_id"]:
        arguments["ConnectionId"] = integration["connection_id"]
    return arguments


def _limits_call(limits: Mapping[str, Any]) -> State:
    names = {"throttling_rate_limit": "ThrottlingRateLimit", "throttling_burst_limit": "ThrottlingBurstLimit"}
    return {names[key]: limits[key] for key in names if limits.get(key) is not None}


def stage_call(stage: Mapping[str, Any]) -> State:
    """Return a stage's arguments, without what only a delete call removes."""
    arguments: State = {
        "StageName": stage["name"],
        "AutoDeploy": stage["auto_deploy"],
        "DefaultRouteSettings": dict(_limits_call(stage), DetailedMetricsEnabled=stage["detailed_metrics"]),
        "StageVariables": stage["variables"],
        "RouteSettings": {key: _limits_call(limits) for key, limits in stage["routes"].items()},
    }
    if stage["access_log"]:
        arguments["AccessLogSettings"] = {
            "DestinationArn": stage["access_log"]["destination_arn"],
            "Format": stage["access_log"]["format"],
        }
    return arguments


# --- the resource ------------------------------------------------------------------------------------


class HttpApi(DeclaredResource):
    """The API that the options name."""

    kind = "HTTP API"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.client = module.client("apigatewayv2")
        self.api: Dict[str, Any] = {}
        self.authorizers: Dict[str, str] = {}
        self.integrations: Dict[str, str] = {}
        self.routes: Dict[str, str] = {}

    def _list(self, action: str, method: Any, **arguments: Any) -> List[Dict[str, Any]]:
        return list(pages(action, method, lambda page: page.get("Items", []), **arguments))

    def _found(self) -> Optional[Dict[str, Any]]:
        name = self.params["name"]
        return the_only("HTTP APIs", name, http_apis(self.client, name), "ApiId", "rename the others")

    @property
    def arn(self) -> str:
        """ARN of the API, under which its tags are kept."""
        meta = self.client.meta
        return f"arn:{meta.partition}:apigateway:{meta.region_name}::/apis/{self.api['ApiId']}"

    def current(self) -> Optional[State]:
        """Read the API and all its children."""
        found = self._found()
        if found is None:
            return None
        self.api = found
        of_api = {"ApiId": found["ApiId"]}
        authorizers = self._list("list the authorizers", self.client.get_authorizers, **of_api)
        integrations = self._list("list the integrations", self.client.get_integrations, **of_api)
        routes = self._list("list the routes", self.client.get_routes, **of_api)
        self.authorizers = {item["Name"]: item["AuthorizerId"] for item in authorizers}
        self.integrations = named_integrations(integrations)
        self.routes = {item["RouteKey"]: item["RouteId"] for item in routes}
        integration_names = {value: key for key, value in self.integrations.items()}
        authorizer_names = {value: key for key, value in self.authorizers.items()}
        tags = call("read the API's tags", self.client.get_tags, ResourceArn=self.arn) or {}
        return {
            "name": found["Name"],
            "description": found.get("Description", ""),
            "disable_execute_api_endpoint": bool(found.get("DisableExecuteApiEndpoint", False)),
            "cors": cors_of(found.get("CorsConfiguration")),
            "authorizers": {item["Name"]: authorizer_of(item) for item in authorizers},
            "integrations": {
                integration_names[item["IntegrationId"]]: integration_of(item) for item in integrations
            },
            "routes": {
                item["RouteKey"]: route_of(item, integration_names, authorizer_names) for item in routes
            },
            "stage": self._current_stage(),
            "tags": tags.get("Tags") or {},
        }

    def _current_stage(self) -> State:
        stage = call(
            "read the stage",
            self.client.get_stage,
            missing=NOT_FOUND,
            ApiId=self.api["ApiId"],
            StageName=self.params["stage"]["name"],
        )
        return stage_of(stage) if stage else {}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared document; raises DeclaredResourceError when it contradicts itself."""
        params = self.params
        document = {
            "name": params["name"],
            "description": params["description"],
            "disable_execute_api_endpoint": params["disable_execute_api_endpoint"],
            "cors": wanted_cors(params["cors"]),
            "authorizers": wanted_authorizers(params["authorizers"]),
            "integrations": wanted_integrations(params["integrations"]),
            "routes": wanted_routes(params["routes"]),
            "stage": wanted_stage(params["stage"], params["routes"], (current or {}).get("stage")),
            "tags": desired_tags((current or {}).get("tags"), params["tags"], params["purge_tags"]),
        }
        found = problems(document)
        if found:
            raise DeclaredResourceError("the declared API contradicts itself: " + "; ".join(found))
        return document

    def create(self, desired: State) -> None:
        """Create the API, then its children."""
        arguments: State = {
            "Name": desired["name"],
            "ProtocolType": "HTTP",
            "Description": desired["description"],
            "DisableExecuteApiEndpoint": desired["disable_execute_api_endpoint"],
            "Tags": desired["tags"],
        }
        if desired["cors"]:
            arguments["CorsConfiguration"] = _cors_call(desired["cors"])
        self.api = call("create the HTTP API", self.client.create_api, **arguments) or {}
        empty: State = {"authorizers": {}, "integrations": {}, "routes": {}, "stage": {}}
        self._write_children(empty, desired)

    def update(self, current: State, desired: State) -> None:
        """Change what differs, in an order in which no route ever lacks its parts."""
        self._update_api(current, desired)
        self._write_children(current, desired)
        to_set, to_remove = tag_changes(current["tags"], desired["tags"])
        if to_set:
            call("tag the API", self.client.tag_resource, ResourceArn=self.arn, Tags=to_set)
        if to_remove:
            call("untag the API", self.client.untag_resource, ResourceArn=self.arn, TagKeys=to_remove)

    def _update_api(self, current: State, desired: State) -> None:
        api = {"ApiId": self.api["ApiId"]}
        if current["cors"] and not desired["cors"]:
            call("remove the CORS configuration", self.client.delete_cors_configuration, **api)
        settings = ("description", "disable_execute_api_endpoint", "cors")
        if all(current[key] == desired[key] for key in settings):
            return
        arguments: State = {
            "Description": desired["description"],
            "DisableExecuteApiEndpoint": desired["disable_execute_api_endpoint"],
        }
        if desired["cors"]:
            arguments["CorsConfiguration"] = _cors_call(desired["cors"])
        call("update the HTTP API", self.client.update_api, **dict(api, **arguments))

    def _write_children(self, current: State, desired: State) -> None:
        self._put_authorizers(current["authorizers"], desired["authorizers"])
        self._put_integrations(current["integrations"], desired["integrations"])
        self._put_routes(current["routes"], desired["routes"])
        self._drop_children(current, desired)
        self._put_stage(current["stage"], desired["stage"])
        if desired["stage"]["auto_deploy"]:
            self._wait_deployed()

    def _put_authorizers(self, current: State, desired: State) -> None:
        api = {"ApiId": self.api["ApiId"]}
        for name, authorizer in desired.items():
            arguments = dict(api, **_authorizer_call(name, authorizer))
            if name not in current:
                answer = (
                    call(f"create the authorizer {name}", self.client.create_authorizer, **arguments) or {}
                )
                self.authorizers[name] = answer["AuthorizerId"]
            elif current[name] != authorizer:
                arguments["AuthorizerId"] = self.authorizers[name]
                call(f"update the authorizer {name}", self.client.update_authorizer, **arguments)

    def _put_integrations(self, current: State, desired: State) -> None:
        api = {"ApiId": self.api["ApiId"]}
        for name, integration in desired.items():
            arguments = dict(api, **integration_call(name, integration, current.get(name)))
            if name not in current:
                answer = (
                    call(f"create the integration {name}", self.client.create_integration, **arguments) or {}
                )
                self.integrations[name] = answer["IntegrationId"]
            elif current[name] != integration:
                arguments["IntegrationId"] = self.integrations[name]
                call(f"update the integration {name}", self.client.update_integration, **arguments)

    def _route_call(self, key: str, route: Mapping[str, Any]) -> State:
        arguments = {
            "ApiId": self.api["ApiId"],
            "RouteKey": key,
            "Target": TARGET + self.integrations[route["integration"]],
            "AuthorizationType": "JWT" if route["authorizer"] else "NONE",
        }
        if route["authorizer"]:
            arguments["AuthorizerId"] = self.authorizers[route["authorizer"]]
        return arguments

    def _put_routes(self, current: State, desired: State) -> None:
        for key, route in desired.items():
            arguments = self._route_call(key, route)
            if key not in current:
                answer = call(f"create the route {key}", self.client.create_route, **arguments) or {}
                self.routes[key] = answer["RouteId"]
            elif current[key] != route:
                arguments["RouteId"] = self.routes[key]
                call(f"update the route {key}", self.client.update_route, **arguments)

    def _drop_children(self, current: State, desired: State) -> None:
        """Delete what is not declared: routes first, then what only they needed."""
        api = self.api["ApiId"]
        children: Tuple[Tuple[str, Any, str, Dict[str, str]], ...] = (
            ("routes", self.client.delete_route, "RouteId", self.routes),
            ("integrations", self.client.delete_integration, "IntegrationId", self.integrations),
            ("authorizers", self.client.delete_authorizer, "AuthorizerId", self.authorizers),
        )
        for part, method, argument, ids in children:
            for name in sorted(set(current[part]) - set(desired[part])):
                arguments = {"ApiId": api, argument: ids[name]}
                call(f"delete {name} of the API's {part}", method, missing=NOT_FOUND, **arguments)

    def _put_stage(self, current: State, desired: State) -> None:
        if current == desired:
            return
        arguments = dict(stage_call(desired), ApiId=self.api["ApiId"])
        if not current:
            call("create the stage", self.client.create_stage, **arguments)
            return
        stage = {"ApiId": self.api["ApiId"], "StageName": desired["name"]}
        if current["access_log"] and not desired["access_log"]:
            call("stop the access log", self.client.delete_access_log_settings, **stage)
        for key in sorted(set(current["routes"]) - set(desired["routes"])):
            call(f"drop the limits of {key}", self.client.delete_route_settings, RouteKey=key, **stage)
        # A stage variable is removed by an empty value.
        arguments["StageVariables"] = dict(dict.fromkeys(current["variables"], ""), **desired["variables"])
        call("update the stage", self.client.update_stage, **arguments)

    def _wait_deployed(self) -> None:
        """Wait until no deployment is pending; raises DeclaredResourceError when the last one failed."""
        deployments = wait_until(
            f"the deployment of the HTTP API {self.params['name']}",
            lambda: self._list("list the deployments", self.client.get_deployments, ApiId=self.api["ApiId"]),
            lambda items: all(item.get("DeploymentStatus") != "PENDING" for item in items),
            deadline=float(self.params["wait_timeout"]),
        )
        newest: Mapping[str, Any] = max(deployments, key=lambda item: item["CreatedDate"], default={})
        if newest.get("DeploymentStatus") == "FAILED":
            raise DeclaredResourceError(f"the deployment failed: {newest.get('DeploymentStatusMessage')}")

    def delete(self, current: State) -> None:
        """Delete the API with everything in it."""
        call("delete the HTTP API", self.client.delete_api, missing=NOT_FOUND, ApiId=self.api["ApiId"])
        self.api = {}

    def result(self) -> State:
        """Return the API's identifiers."""
        if not self.api:
            return {"http_api": {"id": "", "arn": "", "endpoint": "", "domain_name": ""}}
        endpoint = self.api.get("ApiEndpoint", "")
        return {
            "http_api": {
                "id": self.api["ApiId"],
                "arn": self.arn,
                "endpoint": endpoint,
                "domain_name": endpoint.partition("://")[2],
            }
        }

    def conceal(self, before: State, after: State) -> None:
        """Hide the values of secret parameter mappings."""
        for option in self.params["integrations"]:
            for key in option["secret_request_parameters"]:
                conceal(before, after, ("integrations", option["name"], "request_parameters", key))


def named_integrations(integrations: Sequence[Mapping[str, Any]]) -> Dict[str, str]:
    """Return ids by name: the description, or the id itself where that is missing or taken already."""
    names: Dict[str, str] = {}
    for item in integrations:
        name = item.get("Description") or item["IntegrationId"]
        names[item["IntegrationId"] if name in names else name] = item["IntegrationId"]
    return names
