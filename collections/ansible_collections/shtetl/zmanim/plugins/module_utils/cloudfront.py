# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudFront's named configurations (policies, access controls) and functions as declared resources."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Iterable, List, Mapping, Optional, Sequence

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    State,
    call,
    pages,
)

# --- CloudFront's way to write lists ------------------------------------------------------------------


def listed(structure: Optional[Mapping[str, Any]]) -> List[Any]:
    """Return the items of CloudFront's {Quantity, Items} structure."""
    return list((structure or {}).get("Items") or [])


def quantity(items: Iterable[Any]) -> State:
    """Return a list as CloudFront's {Quantity, Items} structure, without Items when it is empty."""
    found = list(items)
    return {"Quantity": len(found), "Items": found} if found else {"Quantity": 0}


def selection_option(behaviors: Sequence[str] = ("none", "whitelist", "allExcept", "all")) -> State:
    """Return the option that selects headers, cookies or query strings by C(behaviors) and names."""
    options = {
        "behavior": {"choices": list(behaviors), "default": "none"},
        "names": {"type": "list", "elements": "str", "default": []},
    }
    return {"type": "dict", "default": {}, "apply_defaults": True, "options": options}


def selection_of(config: Optional[Mapping[str, Any]], behavior: str, names: str) -> State:
    """Return which headers, cookies or query strings a policy takes; C(behavior), C(names) are AWS's keys."""
    config = config or {}
    return {
        "behavior": config.get(behavior, "none"),
        "names": sorted(_case(names, name) for name in listed(config.get(names))),
    }


def selection_call(state: Mapping[str, Any], behavior: str, names: str) -> State:
    """Return the inverse of C(selection_of)."""
    config: State = {behavior: state["behavior"]}
    if state["names"]:
        config[names] = quantity(state["names"])
    return config


def wanted_selection(option: Mapping[str, Any], names: str) -> State:
    """Return a declared selection."""
    return {
        "behavior": option["behavior"],
        "names": sorted(_case(names, name) for name in option["names"]),
    }


def _case(names: str, name: str) -> str:
    """Header names are compared without regard to case, the others exactly."""
    return name.lower() if names == "Headers" else name


HEADERS = ("HeaderBehavior", "Headers")
COOKIES = ("CookieBehavior", "Cookies")
QUERY_STRINGS = ("QueryStringBehavior", "QueryStrings")


# --- named configurations -----------------------------------------------------------------------------


class NamedConfiguration(DeclaredResource):
    """A CloudFront resource that is one configuration with a unique name, an id and an ETag."""

    noun = ""  # as in GetCachePolicy
    operation = ""  # as in get_cache_policy, and the module's result key
    plural = ""  # as in list_cache_policies
    list_arguments: ClassVar[Dict[str, str]] = {}

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.client = module.client("cloudfront")
        self.id = ""
        self.etag = ""

    def state_of(self, config: Mapping[str, Any]) -> State:
        """Return AWS's configuration as normalised state."""
        raise NotImplementedError

    def wanted(self) -> State:
        """Return the options as normalised state."""
        raise NotImplementedError

    def config_of(self, state: Mapping[str, Any]) -> State:
        """Return normalised state as AWS's configuration."""
        raise NotImplementedError

    def listed_name(self, item: Mapping[str, Any]) -> str:
        """Return the name of an item of the list."""
        return str(item[self.noun][self.noun + "Config"]["Name"])

    def listed_id(self, item: Mapping[str, Any]) -> str:
        """Return the id of an item of the list."""
        return str(item[self.noun]["Id"])

    def _find(self) -> str:
        list_key = self.noun + "List"
        found = pages(
            f"list the {self.kind} resources",
            getattr(self.client, "list_" + self.plural),
            lambda page: listed(page.get(list_key)),
            token=("Marker", lambda page: (page.get(list_key) or {}).get("NextMarker")),
            **self.list_arguments,
        )
        ids = [self.listed_id(item) for item in found if self.listed_name(item) == self.params["name"]]
        return ids[0] if ids else ""

    def current(self) -> Optional[State]:
        """Read the configuration with its ETag."""
        self.id = self._find()
        if not self.id:
            return None
        answer = call(
            f"read the {self.kind} {self.params['name']}",
            getattr(self.client, "get_" + self.operation),
            missing=("NoSuch" + self.noun,),
            Id=self.id,
        )
        if answer is None:
            self.id = ""
            return None
        self.etag = answer["ETag"]
        return self.state_of(answer[self.noun][self.noun + "Config"])

    def desired(self, current: Optional[State]) -> State:
        """Return what the options declare; nothing is left open."""
        return self.wanted()

    def create(self, desired: State) -> None:
        """Create the configuration."""
        arguments = {self.noun + "Config": self.config_of(desired)}
        action = f"create the {self.kind} {desired['name']}"
        answer = call(action, getattr(self.client, "create_" + self.operation), **arguments) or {}
        self.id = answer[self.noun]["Id"]

    def update(self, current: State, desired: State) -> None:
        """Replace the configuration; a change by someone else since it was read is an error."""
        arguments = {self.noun + "Config": self.config_of(desired), "Id": self.id, "IfMatch": self.etag}
        action = f"update the {self.kind} {desired['name']}"
        call(action, getattr(self.client, "update_" + self.operation), **arguments)

    def delete(self, current: State) -> None:
        """Delete the configuration, which no distribution may use."""
        call(
            f"delete the {self.kind} {current['name']}",
            getattr(self.client, "delete_" + self.operation),
            missing=("NoSuch" + self.noun,),
            Id=self.id,
            IfMatch=self.etag,
        )
        self.id = ""

    def result(self) -> State:
        """Return the id, "" when there is none."""
        return {self.operation: {"id": self.id, "name": self.params["name"]}}


class OriginAccessControl(NamedConfiguration):
    """How CloudFront signs its requests to an origin."""

    kind = "CloudFront origin access control"
    noun = "OriginAccessControl"
    operation = "origin_access_control"
    plural = "origin_access_controls"

    def listed_name(self, item: Mapping[str, Any]) -> str:
        """Return the name; this list is flat."""
        return str(item["Name"])

    def listed_id(self, item: Mapping[str, Any]) -> str:
        """Return the id; this list is flat."""
        return str(item["Id"])

    def state_of(self, config: Mapping[str, Any]) -> State:
        """Return the control's settings."""
        return {
            "name": config["Name"],
            "description": config.get("Description", ""),
            "origin_type": config["OriginAccessControlOriginType"],
            "signing_behavior": config["SigningBehavior"],
            "signing_protocol": config["SigningProtocol"],
        }

    def wanted(self) -> State:
        """Return the declared settings."""
        keys = ("name", "description", "origin_type", "signing_behavior")
        return dict({key: self.params[key] for key in keys}, signing_protocol="sigv4")

    def config_of(self, state: Mapping[str, Any]) -> State:
        """Return the control's configuration."""
        return {
            "Name": state["name"],
            "Description": state["description"],
            "OriginAccessControlOriginType": state["origin_type"],
            "SigningBehavior": state["signing_behavior"],
            "SigningProtocol": state["signing_protocol"],
        }


class CachePolicy(NamedConfiguration):
    """What a cached object's key is made of and how long it is kept."""

    kind = "CloudFront cache policy"
    noun = "CachePolicy"
    operation = "cache_policy"
    plural = "cache_policies"
    list_arguments: ClassVar[Dict[str, str]] = {"Type": "custom"}

    def state_of(self, config: Mapping[str, Any]) -> State:
        """Return the policy's settings."""
        key = config.get("ParametersInCacheKeyAndForwardedToOrigin") or {}
        return {
            "name": config["Name"],
            "comment": config.get("Comment", ""),
            "min_ttl": int(config.get("MinTTL", 0)),
            "default_ttl": int(config.get("DefaultTTL", 86400)),
            "max_ttl": int(config.get("MaxTTL", 31536000)),
            "gzip": bool(key.get("EnableAcceptEncodingGzip", False)),
            "brotli": bool(key.get("EnableAcceptEncodingBrotli", False)),
            "headers": selection_of(key.get("HeadersConfig"), *HEADERS),
            "cookies": selection_of(key.get("CookiesConfig"), *COOKIES),
            "query_strings": selection_of(key.get("QueryStringsConfig"), *QUERY_STRINGS),
        }

    def wanted(self) -> State:
        """Return the declared settings."""
        keys = ("name", "comment", "min_ttl", "default_ttl", "max_ttl", "gzip", "brotli")
        return dict({key: self.params[key] for key in keys}, **_wanted_selections(self.params))

    def config_of(self, state: Mapping[str, Any]) -> State:
        """Return the policy's configuration."""
        return {
            "Name": state["name"],
            "Comment": state["comment"],
            "MinTTL": state["min_ttl"],
            "DefaultTTL": state["default_ttl"],
            "MaxTTL": state["max_ttl"],
            "ParametersInCacheKeyAndForwardedToOrigin": dict(
                _selection_calls(state),
                EnableAcceptEncodingGzip=state["gzip"],
                EnableAcceptEncodingBrotli=state["brotli"],
            ),
        }


class OriginRequestPolicy(NamedConfiguration):
    """What of a viewer's request reaches the origin without being part of the cache key."""

    kind = "CloudFront origin request policy"
    noun = "OriginRequestPolicy"
    operation = "origin_request_policy"
    plural = "origin_request_policies"
    list_arguments: ClassVar[Dict[str, str]] = {"Type": "custom"}

    def state_of(self, config: Mapping[str, Any]) -> State:
        """Return the policy's settings."""
        return {
            "name": config["Name"],
            "comment": config.get("Comment", ""),
            "headers": selection_of(config.get("HeadersConfig"), *HEADERS),
            "cookies": selection_of(config.get("CookiesConfig"), *COOKIES),
            "query_strings": selection_of(config.get("QueryStringsConfig"), *QUERY_STRINGS),
        }

    def wanted(self) -> State:
        """Return the declared settings."""
        keys = ("name", "comment")
        return dict({key: self.params[key] for key in keys}, **_wanted_selections(self.params))

    def config_of(self, state: Mapping[str, Any]) -> State:
        """Return the policy's configuration."""
        return dict(_selection_calls(state), Name=state["name"], Comment=state["comment"])


def _wanted_selections(params: Mapping[str, Any]) -> State:
    return {
        "headers": wanted_selection(params["headers"], "Headers"),
        "cookies": wanted_selection(params["cookies"], "Cookies"),
        "query_strings": wanted_selection(params["query_strings"], "QueryStrings"),
    }


def _selection_calls(state: Mapping[str, Any]) -> State:
    return {
        "HeadersConfig": selection_call(state["headers"], *HEADERS),
        "CookiesConfig": selection_call(state["cookies"], *COOKIES),
        "QueryStringsConfig": selection_call(state["query_strings"], *QUERY_STRINGS),
    }


# --- response headers policy --------------------------------------------------------------------------


def security_of(config: Optional[Mapping[str, Any]]) -> State:
    """Return the security headers that a policy sets, by the option's name."""
    config = config or {}
    found: State = {}
    transport = config.get("StrictTransportSecurity")
    if transport:
        found["strict_transport_security"] = {
            "max_age": int(transport["AccessControlMaxAgeSec"]),
            "include_subdomains": bool(transport.get("IncludeSubdomains", False)),
            "preload": bool(transport.get("Preload", False)),
            "override": bool(transport["Override"]),
        }
    if config.get("ContentTypeOptions"):
        found["content_type_options"] = {"override": bool(config["ContentTypeOptions"]["Override"])}
    for option, header, value in SINGLE_VALUES:
        if config.get(header):
            found[option] = {"value": config[header][value], "override": bool(config[header]["Override"])}
    return found


SINGLE_VALUES = (
    ("frame_option", "FrameOptions", "FrameOption"),
    ("referrer_policy", "ReferrerPolicy", "ReferrerPolicy"),
    ("content_security_policy", "ContentSecurityPolicy", "ContentSecurityPolicy"),
)


def security_call(state: Mapping[str, Any]) -> State:
    """Return the inverse of C(security_of)."""
    config: State = {}
    transport = state.get("strict_transport_security")
    if transport:
        config["StrictTransportSecurity"] = {
            "AccessControlMaxAgeSec": transport["max_age"],
            "IncludeSubdomains": transport["include_subdomains"],
            "Preload": transport["preload"],
            "Override": transport["override"],
        }
    if "content_type_options" in state:
        config["ContentTypeOptions"] = {"Override": state["content_type_options"]["override"]}
    for option, header, value in SINGLE_VALUES:
        if option in state:
            config[header] = {value: state[option]["value"], "Override": state[option]["override"]}
    return config


def wanted_security(option: Optional[Mapping[str, Any]]) -> State:
    """Return the declared security headers; all share one C(override)."""
    if not option:
        return {}
    override = {"override": option["override"]}
    found: State = {}
    if option["strict_transport_security"]:
        found["strict_transport_security"] = dict(option["strict_transport_security"], **override)
    if option["content_type_options"]:
        found["content_type_options"] = override
    for name, _header, _value in SINGLE_VALUES:
        if option[name]:
            found[name] = dict(override, value=option[name])
    return found


def response_cors_of(config: Optional[Mapping[str, Any]]) -> State:
    """Return a policy's CORS settings, {} for none."""
    if not config:
        return {}
    return {
        "allow_origins": sorted(listed(config["AccessControlAllowOrigins"])),
        "allow_methods": sorted(listed(config["AccessControlAllowMethods"])),
        "allow_headers": sorted(name.lower() for name in listed(config["AccessControlAllowHeaders"])),
        "expose_headers": sorted(name.lower() for name in listed(config.get("AccessControlExposeHeaders"))),
        "allow_credentials": bool(config["AccessControlAllowCredentials"]),
        "max_age": int(config.get("AccessControlMaxAgeSec", 600)),
        "override": bool(config["OriginOverride"]),
    }


def wanted_response_cors(option: Optional[Mapping[str, Any]]) -> State:
    """Return the declared CORS settings."""
    if not option:
        return {}
    return {
        "allow_origins": sorted(option["allow_origins"]),
        "allow_methods": sorted(option["allow_methods"]),
        "allow_headers": sorted(name.lower() for name in option["allow_headers"]),
        "expose_headers": sorted(name.lower() for name in option["expose_headers"]),
        **{key: option[key] for key in ("allow_credentials", "max_age", "override")},
    }


def response_cors_call(state: Mapping[str, Any]) -> State:
    """Return the inverse of C(response_cors_of)."""
    return {
        "AccessControlAllowOrigins": quantity(state["allow_origins"]),
        "AccessControlAllowMethods": quantity(state["allow_methods"]),
        "AccessControlAllowHeaders": quantity(state["allow_headers"]),
        "AccessControlExposeHeaders": quantity(state["expose_headers"]),
        "AccessControlAllowCredentials": state["allow_credentials"],
        "AccessControlMaxAgeSec": state["max_age"],
        "OriginOverride": state["override"],
    }


class ResponseHeadersPolicy(NamedConfiguration):
    """Which headers CloudFront adds to, and removes from, its responses."""

    kind = "CloudFront response headers policy"
    noun = "ResponseHeadersPolicy"
    operation = "response_headers_policy"
    plural = "response_headers_policies"
    list_arguments: ClassVar[Dict[str, str]] = {"Type": "custom"}

    def state_of(self, config: Mapping[str, Any]) -> State:
        """Return the policy's settings."""
        return {
            "name": config["Name"],
            "comment": config.get("Comment", ""),
            "cors": response_cors_of(config.get("CorsConfig")),
            "security_headers": security_of(config.get("SecurityHeadersConfig")),
            "custom_headers": {
                item["Header"].lower(): {"value": item["Value"], "override": bool(item["Override"])}
                for item in listed(config.get("CustomHeadersConfig"))
            },
            "remove_headers": sorted(
                item["Header"].lower() for item in listed(config.get("RemoveHeadersConfig"))
            ),
        }

    def wanted(self) -> State:
        """Return the declared settings."""
        return {
            "name": self.params["name"],
            "comment": self.params["comment"],
            "cors": wanted_response_cors(self.params["cors"]),
            "security_headers": wanted_security(self.params["security_headers"]),
            "custom_headers": {
                item["name"].lower(): {"value": item["value"], "override": item["override"]}
                for item in self.params["custom_headers"]
            },
            "remove_headers": sorted(name.lower() for name in self.params["remove_headers"]),
        }

    def config_of(self, state: Mapping[str, Any]) -> State:
        """Return the policy's configuration; parts that are empty are left out, as AWS wants them."""
        config: State = {"Name": state["name"], "Comment": state["comment"]}
        if state["cors"]:
            config["CorsConfig"] = response_cors_call(state["cors"])
        if state["security_headers"]:
            config["SecurityHeadersConfig"] = security_call(state["security_headers"])
        if state["custom_headers"]:
            config["CustomHeadersConfig"] = quantity(
                {"Header": name, "Value": item["value"], "Override": item["override"]}
                for name, item in state["custom_headers"].items()
            )
        if state["remove_headers"]:
            config["RemoveHeadersConfig"] = quantity({"Header": name} for name in state["remove_headers"])
        return config


# --- function -----------------------------------------------------------------------------------------

NO_FUNCTION = ("NoSuchFunctionExists", "NoSuchResource")


class Function(DeclaredResource):
    """A CloudFront function: its code in development, and whether the same is live."""

    kind = "CloudFront function"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.client = module.client("cloudfront")
        self.arn = ""
        self.etag = ""

    def _stage(self, stage: str) -> Optional[State]:
        name = {"Name": self.params["name"], "Stage": stage}
        about = call("read the function", self.client.describe_function, missing=NO_FUNCTION, **name)
        if about is None:
            return None
        code = call("read the function's code", self.client.get_function, missing=NO_FUNCTION, **name)
        summary = about["FunctionSummary"]
        # One ARN serves both stages.
        self.arn = summary["FunctionMetadata"]["FunctionARN"]
        if stage == "DEVELOPMENT":
            self.etag = about["ETag"]
        config = summary["FunctionConfig"]
        return {
            "comment": config.get("Comment", ""),
            "runtime": config["Runtime"],
            "code": code["FunctionCode"].read().decode() if code else "",
        }

    def current(self) -> Optional[State]:
        """Read both stages; C(live) says whether the live one equals the one in development."""
        development = self._stage("DEVELOPMENT")
        if development is None:
            return None
        return dict(development, name=self.params["name"], live=self._stage("LIVE") == development)

    def desired(self, current: Optional[State]) -> State:
        """Return the declared function; when it isn't to be published, C(live) stays as it is."""
        wanted = {key: self.params[key] for key in ("name", "comment", "runtime", "code")}
        unchanged = current is not None and all(current[key] == wanted[key] for key in wanted)
        live = self.params["publish"] or bool(unchanged and current and current["live"])
        return dict(wanted, live=live)

    def _arguments(self, desired: State) -> State:
        return {
            "Name": desired["name"],
            "FunctionConfig": {"Comment": desired["comment"], "Runtime": desired["runtime"]},
            "FunctionCode": desired["code"].encode(),
        }

    def _publish(self, desired: State) -> None:
        if desired["live"]:
            action = f"publish the function {desired['name']}"
            call(action, self.client.publish_function, Name=desired["name"], IfMatch=self.etag)

    def create(self, desired: State) -> None:
        """Create the function and publish it."""
        action = f"create the function {desired['name']}"
        answer = call(action, self.client.create_function, **self._arguments(desired)) or {}
        self.etag = answer["ETag"]
        self.arn = answer["FunctionSummary"]["FunctionMetadata"]["FunctionARN"]
        self._publish(desired)

    def update(self, current: State, desired: State) -> None:
        """Replace the function in development where it differs, and publish it."""
        if any(current[key] != desired[key] for key in ("comment", "runtime", "code")):
            action = f"update the function {desired['name']}"
            arguments = dict(self._arguments(desired), IfMatch=self.etag)
            call(action, self.client.update_function, **arguments)
            self._stage(
                "DEVELOPMENT"
            )  # its new ETag: the update's answer names it in a header of another name
        self._publish(desired)

    def delete(self, current: State) -> None:
        """Delete the function, which no distribution may use."""
        action = f"delete the function {current['name']}"
        arguments = {"Name": current["name"], "IfMatch": self.etag}
        call(action, self.client.delete_function, missing=NO_FUNCTION, **arguments)
        self.arn = ""

    def result(self) -> State:
        """Return the function's ARN, "" when there is none."""
        return {"function": {"name": self.params["name"], "arn": self.arn}}
