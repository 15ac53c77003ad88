# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CloudFront distribution as one normalised document: read, compare, write."""

from __future__ import annotations

import uuid
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import listed, quantity
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    DeclaredResourceError,
    State,
    call,
    changed_keys,
    conceal,
    desired_tags,
    tag_changes,
    tag_dict,
    tag_list,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import distributions, the_only

NOT_FOUND = ("NoSuchDistribution",)
POLL_SECONDS = 2.0

# --- AWS's configuration -> document -------------------------------------------------------------------


def origin_of(origin: Mapping[str, Any]) -> State:
    """Return one origin."""
    shield = origin.get("OriginShield") or {}
    state = {
        "domain_name": origin["DomainName"],
        "path": origin.get("OriginPath", ""),
        "connection_attempts": int(origin.get("ConnectionAttempts", 3)),
        "connection_timeout": int(origin.get("ConnectionTimeout", 10)),
        "custom_headers": {
            item["HeaderName"].lower(): item["HeaderValue"] for item in listed(origin.get("CustomHeaders"))
        },
        "origin_shield_region": shield.get("OriginShieldRegion", "") if shield.get("Enabled") else "",
        "origin_access_control_id": origin.get("OriginAccessControlId", ""),
        "custom": custom_origin_of(origin.get("CustomOriginConfig")),
    }
    identity = (origin.get("S3OriginConfig") or {}).get("OriginAccessIdentity", "")
    if identity:  # the predecessor of origin access controls: shown, and removed by an update
        state["origin_access_identity"] = identity
    return state


def custom_origin_of(custom: Optional[Mapping[str, Any]]) -> State:
    """Return how a web origin is reached, {} for an S3 origin."""
    if not custom:
        return {}
    return {
        "http_port": int(custom["HTTPPort"]),
        "https_port": int(custom["HTTPSPort"]),
        "protocol_policy": custom["OriginProtocolPolicy"],
        "ssl_protocols": sorted(listed(custom.get("OriginSslProtocols"))),
        "read_timeout": int(custom.get("OriginReadTimeout", 30)),
        "keepalive_timeout": int(custom.get("OriginKeepaliveTimeout", 5)),
    }


def behavior_of(behavior: Mapping[str, Any]) -> State:
    """Return one cache behavior."""
    methods = behavior.get("AllowedMethods") or {}
    state = {
        "origin": behavior["TargetOriginId"],
        "viewer_protocol_policy": behavior["ViewerProtocolPolicy"],
        "allowed_methods": sorted(listed(methods)) or ["GET", "HEAD"],
        "cached_methods": sorted(listed(methods.get("CachedMethods"))) or ["GET", "HEAD"],
        "compress": bool(behavior.get("Compress", False)),
        "cache_policy_id": behavior.get("CachePolicyId", ""),
        "origin_request_policy_id": behavior.get("OriginRequestPolicyId", ""),
        "response_headers_policy_id": behavior.get("ResponseHeadersPolicyId", ""),
        "functions": {
            item["EventType"]: item["FunctionARN"] for item in listed(behavior.get("FunctionAssociations"))
        },
    }
    if "PathPattern" in behavior:
        state["path_pattern"] = behavior["PathPattern"]
    edge_functions = listed(behavior.get("LambdaFunctionAssociations"))
    if edge_functions:  # not declarable here: shown, and removed by an update
        state["lambda_functions"] = {item["EventType"]: item["LambdaFunctionARN"] for item in edge_functions}
    return state


def error_response_of(item: Mapping[str, Any]) -> State:
    """Return one custom error response."""
    return {
        "error_code": int(item["ErrorCode"]),
        "response_code": int(item.get("ResponseCode") or 0),
        "response_page_path": item.get("ResponsePagePath", ""),
        "caching_min_ttl": int(item.get("ErrorCachingMinTTL", 10)),
    }


def certificate_of(certificate: Optional[Mapping[str, Any]]) -> State:
    """Return the viewer certificate; the default one speaks whatever CloudFront decides."""
    certificate = certificate or {}
    arn = certificate.get("ACMCertificateArn", "")
    if not arn:
        return {"acm_certificate_arn": "", "minimum_protocol_version": ""}
    return {
        "acm_certificate_arn": arn,
        "minimum_protocol_version": certificate.get("MinimumProtocolVersion", ""),
    }


def logging_of(logging: Optional[Mapping[str, Any]]) -> State:
    """Return the standard log's place, {} when nothing is logged."""
    if not logging or not logging.get("Enabled"):
        return {}
    return {
        "bucket": logging["Bucket"],
        "prefix": logging.get("Prefix", ""),
        "include_cookies": bool(logging.get("IncludeCookies", False)),
    }


def document_of(config: Mapping[str, Any]) -> State:
    """Return a distribution's configuration."""
    return {
        "comment": config["Comment"],
        "enabled": bool(config["Enabled"]),
        "aliases": sorted(name.lower() for name in listed(config.get("Aliases"))),
        "default_root_object": config.get("DefaultRootObject", ""),
        "price_class": config.get("PriceClass", "PriceClass_All"),
        "http_version": config.get("HttpVersion", "http2").lower(),
        "ipv6": bool(config.get("IsIPV6Enabled", False)),
        "web_acl_id": config.get("WebACLId", ""),
        "certificate": certificate_of(config.get("ViewerCertificate")),
        "origins": {item["Id"]: origin_of(item) for item in listed(config["Origins"])},
        "default_behavior": behavior_of(config["DefaultCacheBehavior"]),
        "behaviors": [behavior_of(item) for item in listed(config.get("CacheBehaviors"))],
        "error_responses": sorted(
            (error_response_of(item) for item in listed(config.get("CustomErrorResponses"))),
            key=lambda item: item["error_code"],
        ),
        "logging": logging_of(config.get("Logging")),
    }


# --- options -> document -------------------------------------------------------------------------------


def wanted_origin(option: Mapping[str, Any]) -> State:
    """Return a declared origin."""
    custom_keys = ("http_port", "https_port", "protocol_policy", "read_timeout", "keepalive_timeout")
    custom = {key: option[key] for key in custom_keys}
    keys = ("domain_name", "path", "connection_attempts", "connection_timeout", "origin_access_control_id")
    return dict(
        {key: option[key] for key in keys},
        custom_headers={name.lower(): str(value) for name, value in option["custom_headers"].items()},
        origin_shield_region=option["origin_shield_region"],
        custom=dict(custom, ssl_protocols=sorted(option["ssl_protocols"]))
        if option["type"] == "custom"
        else {},
    )


def wanted_behavior(option: Mapping[str, Any]) -> State:
    """Return a declared cache behavior."""
    keys = (
        "origin",
        "viewer_protocol_policy",
        "compress",
        "cache_policy_id",
        "origin_request_policy_id",
        "response_headers_policy_id",
    )
    state = dict(
        {key: option[key] for key in keys},
        allowed_methods=sorted(option["allowed_methods"]),
        cached_methods=sorted(option["cached_methods"]),
        functions={item["event_type"]: item["arn"] for item in option["functions"]},
    )
    if "path_pattern" in option:
        state["path_pattern"] = option["path_pattern"]
    return state


def wanted_certificate(params: Mapping[str, Any]) -> State:
    """Return the declared viewer certificate."""
    arn = params["acm_certificate_arn"]
    return {
        "acm_certificate_arn": arn,
        "minimum_protocol_version": params["minimum_protocol_version"] if arn else "",
    }


def wanted_document(params: Mapping[str, Any]) -> State:
    """Return the declared distribution, without its tags."""
    keys = ("comment", "enabled", "default_root_object", "price_class", "http_version", "ipv6", "web_acl_id")
    return dict(
        {key: params[key] for key in keys},
        aliases=sorted(name.lower() for name in params["aliases"]),
        certificate=wanted_certificate(params),
        origins={option["id"]: wanted_origin(option) for option in params["origins"]},
        default_behavior=wanted_behavior(params["default_behavior"]),
        behaviors=[wanted_behavior(option) for option in params["behaviors"]],
        error_responses=sorted(
            (dict(option) for option in params["error_responses"]), key=lambda item: int(item["error_code"])
        ),
        logging=dict(params["logging"] or {}),
    )


def problems(document: Mapping[str, Any]) -> List[str]:
    """Return what is wrong with a declared distribution, one sentence each."""
    found = []
    for behavior in [document["default_behavior"], *document["behaviors"]]:
        place = f"behavior {behavior.get('path_pattern', 'default')!r}"
        if behavior["origin"] not in document["origins"]:
            found.append(f"{place} names the undeclared origin {behavior['origin']!r}")
        if not set(behavior["cached_methods"]) <= set(behavior["allowed_methods"]):
            found.append(f"{place} caches a method that it does not allow")
    patterns = [behavior["path_pattern"] for behavior in document["behaviors"]]
    found.extend(
        f"path pattern {name!r} is declared twice"
        for name in sorted(set(patterns))
        if patterns.count(name) > 1
    )
    return found


# --- document -> AWS's configuration -------------------------------------------------------------------


def origin_call(origin_id: str, origin: Mapping[str, Any]) -> State:
    """Return one origin's configuration."""
    region = origin["origin_shield_region"]
    config: State = {
        "Id": origin_id,
        "DomainName": origin["domain_name"],
        "OriginPath": origin["path"],
        "ConnectionAttempts": origin["connection_attempts"],
        "ConnectionTimeout": origin["connection_timeout"],
        "CustomHeaders": quantity(
            {"HeaderName": name, "HeaderValue": value}
            for name, value in sorted(origin["custom_headers"].items())
        ),
        "OriginShield": {"Enabled": True, "OriginShieldRegion": region} if region else {"Enabled": False},
        "OriginAccessControlId": origin["origin_access_control_id"],
    }
    if origin["custom"]:
        config["CustomOriginConfig"] = custom_origin_call(origin["custom"])
    else:
        config["S3OriginConfig"] = {"OriginAccessIdentity": ""}
    return config


def custom_origin_call(custom: Mapping[str, Any]) -> State:
    """Return how a web origin is reached."""
    return {
        "HTTPPort": custom["http_port"],
        "HTTPSPort": custom["https_port"],
        "OriginProtocolPolicy": custom["protocol_policy"],
        "OriginSslProtocols": quantity(custom["ssl_protocols"]),
        "OriginReadTimeout": custom["read_timeout"],
        "OriginKeepaliveTimeout": custom["keepalive_timeout"],
    }


def behavior_call(behavior: Mapping[str, Any]) -> State:
    """Return one cache behavior's configuration; what it can't declare is off, which AWS wants said."""
    config: State = {
        "TargetOriginId": behavior["origin"],
        "ViewerProtocolPolicy": behavior["viewer_protocol_policy"],
        "AllowedMethods": dict(
            quantity(behavior["allowed_methods"]), CachedMethods=quantity(behavior["cached_methods"])
        ),
        "Compress": behavior["compress"],
        "SmoothStreaming": False,
        "FieldLevelEncryptionId": "",
        "TrustedSigners": {"Enabled": False, "Quantity": 0},
        "TrustedKeyGroups": {"Enabled": False, "Quantity": 0},
        "LambdaFunctionAssociations": {"Quantity": 0},
        "FunctionAssociations": quantity(
            {"EventType": event, "FunctionARN": arn} for event, arn in sorted(behavior["functions"].items())
        ),
    }
    optional = (
        ("path_pattern", "PathPattern"),
        ("cache_policy_id", "CachePolicyId"),
        ("origin_request_policy_id", "OriginRequestPolicyId"),
        ("response_headers_policy_id", "ResponseHeadersPolicyId"),
    )
    config.update({name: behavior[key] for key, name in optional if behavior.get(key)})
    return config


def error_response_call(item: Mapping[str, Any]) -> State:
    """Return one custom error response's configuration."""
    config: State = {"ErrorCode": item["error_code"], "ErrorCachingMinTTL": item["caching_min_ttl"]}
    if item["response_page_path"]:
        config["ResponsePagePath"] = item["response_page_path"]
        config["ResponseCode"] = str(item["response_code"])
    return config


def certificate_call(certificate: Mapping[str, Any]) -> State:
    """Return the viewer certificate's configuration."""
    if not certificate["acm_certificate_arn"]:
        return {"CloudFrontDefaultCertificate": True}
    return {
        "ACMCertificateArn": certificate["acm_certificate_arn"],
        "SSLSupportMethod": "sni-only",
        "MinimumProtocolVersion": certificate["minimum_protocol_version"],
    }


def logging_call(logging: Mapping[str, Any]) -> State:
    """Return the standard log's configuration."""
    if not logging:
        return {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""}
    return {
        "Enabled": True,
        "IncludeCookies": logging["include_cookies"],
        "Bucket": logging["bucket"],
        "Prefix": logging["prefix"],
    }


def config_of(document: Mapping[str, Any], present: Mapping[str, Any]) -> State:
    """Return the configuration of C(document); what it does not cover is kept from C(present)."""
    return dict(
        present,
        Comment=document["comment"],
        Enabled=document["enabled"],
        Aliases=quantity(document["aliases"]),
        DefaultRootObject=document["default_root_object"],
        PriceClass=document["price_class"],
        HttpVersion=document["http_version"],
        IsIPV6Enabled=document["ipv6"],
        WebACLId=document["web_acl_id"],
        ViewerCertificate=certificate_call(document["certificate"]),
        Origins=quantity(origin_call(key, value) for key, value in sorted(document["origins"].items())),
        DefaultCacheBehavior=behavior_call(document["default_behavior"]),
        CacheBehaviors=quantity(behavior_call(item) for item in document["behaviors"]),
        CustomErrorResponses=quantity(error_response_call(item) for item in document["error_responses"]),
        Logging=logging_call(document["logging"]),
    )


# --- the resource --------------------------------------------------------------------------------------


class Distribution(DeclaredResource):
    """The distribution whose comment is the declared one."""

    kind = "CloudFront distribution"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.client = module.client("cloudfront")
        self.found: Dict[str, Any] = {}
        self.config: Dict[str, Any] = {}
        self.etag = ""

    def _find(self) -> Optional[Dict[str, Any]]:
        comment = self.params["comment"]
        found = distributions(self.client, comment)
        return the_only("distributions", comment, found, "Id", "change the comment of the others")

    def _read(self, distribution_id: str) -> Optional[Dict[str, Any]]:
        answer: Optional[Dict[str, Any]] = call(
            "read the distribution", self.client.get_distribution, missing=NOT_FOUND, Id=distribution_id
        )
        if answer is None:
            self.found = {}
            return None
        self.found, self.etag = answer["Distribution"], answer["ETag"]
        self.config = self.found["DistributionConfig"]
        return self.found

    def current(self) -> Optional[State]:
        """Read the distribution with its tags."""
        item = self._find()
        if item is None or self._read(item["Id"]) is None:
            return None
        tags = call("read the tags", self.client.list_tags_for_resource, Resource=self.found["ARN"]) or {}
        return dict(document_of(self.config), tags=tag_dict((tags.get("Tags") or {}).get("Items")))

    def desired(self, current: Optional[State]) -> State:
        """Return the declared document; raises DeclaredResourceError when it contradicts itself."""
        document = wanted_document(self.params)
        found = problems(document)
        if found:
            raise DeclaredResourceError("the declared distribution contradicts itself: " + "; ".join(found))
        tags = desired_tags((current or {}).get("tags"), self.params["tags"], self.params["purge_tags"])
        return dict(document, tags=tags)

    def create(self, desired: State) -> None:
        """Create the distribution with its tags."""
        config = config_of(desired, {"CallerReference": str(uuid.uuid4())})
        answer = call(
            "create the distribution",
            self.client.create_distribution_with_tags,
            DistributionConfigWithTags={
                "DistributionConfig": config,
                "Tags": {"Items": tag_list(desired["tags"])},
            },
        )
        self.found, self.etag = (answer or {})["Distribution"], (answer or {})["ETag"]
        if self.params["wait"]:
            self._wait_deployed()

    def update(self, current: State, desired: State) -> None:
        """Replace the configuration where it differs; a change since it was read is an error."""
        if changed_keys(current, desired) != ["tags"]:
            self._put(config_of(desired, self.config))
            if self.params["wait"]:
                self._wait_deployed()
        to_set, to_remove = tag_changes(current["tags"], desired["tags"])
        arn = {"Resource": self.found["ARN"]}
        if to_set:
            call("tag", self.client.tag_resource, Tags={"Items": tag_list(to_set)}, **arn)
        if to_remove:
            call("untag", self.client.untag_resource, TagKeys={"Items": to_remove}, **arn)

    def _put(self, config: State) -> None:
        answer = call(
            "update the distribution",
            self.client.update_distribution,
            Id=self.found["Id"],
            IfMatch=self.etag,
            DistributionConfig=config,
        )
        self.etag = (answer or {})["ETag"]

    def _wait_deployed(self) -> None:
        wait_until(
            f"the deployment of the distribution {self.params['comment']!r}",
            lambda: (self._read(self.found["Id"]) or {}).get("Status"),
            lambda status: status == "Deployed",
            deadline=float(self.params["wait_timeout"]),
            interval=POLL_SECONDS,
        )

    def delete(self, current: State) -> None:
        """Disable the distribution, wait until that has reached the edge, delete it."""
        if current["enabled"]:
            self._put(dict(self.config, Enabled=False))
        self._wait_deployed()
        call(
            "delete the distribution",
            self.client.delete_distribution,
            missing=NOT_FOUND,
            Id=self.found["Id"],
            IfMatch=self.etag,
        )
        self.found = {}

    def result(self) -> State:
        """Return the distribution's identifiers, "" when there is none."""
        return {
            "distribution": {
                "id": self.found.get("Id", ""),
                "arn": self.found.get("ARN", ""),
                "domain_name": self.found.get("DomainName", ""),
                "status": self.found.get("Status", ""),
            }
        }

    def conceal(self, before: State, after: State) -> None:
        """Hide the values of the origins' custom headers, which often are secrets."""
        for state in (before, after):
            for origin_id, origin in state.get("origins", {}).items():
                for name in origin["custom_headers"]:
                    conceal(before, after, ("origins", origin_id, "custom_headers", name))
