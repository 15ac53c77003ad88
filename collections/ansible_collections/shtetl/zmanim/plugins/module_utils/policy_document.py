# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy documents of IAM and S3 in a form in which two that mean the same are equal."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Union

Document = Dict[str, Any]


def normalised(document: Union[str, Mapping[str, Any]]) -> Document:
    """Return a policy document with every statement's lists sorted and single values as lists.

    AWS keeps or rewrites C("x") and C(["x"]) as it likes; both mean the same.
    """
    parsed = json.loads(document) if isinstance(document, str) else dict(document)
    statements = parsed.get("Statement") or []
    listed = [statements] if isinstance(statements, Mapping) else list(statements)
    return {
        "Version": parsed.get("Version", "2012-10-17"),
        "Statement": [normalised_statement(statement) for statement in listed],
    }


def normalised_statement(statement: Mapping[str, Any]) -> Document:
    """Return one statement with lists sorted and single values as lists."""
    return {key: _normalised_value(key, value) for key, value in statement.items()}


def _normalised_value(key: str, value: Any) -> Any:
    if key in ("Sid", "Effect"):
        return value
    if key in ("Principal", "NotPrincipal"):
        return {"AWS": ["*"]} if value == "*" else _each_sorted(value)
    if key == "Condition":
        return {operator: _each_sorted(operands) for operator, operands in value.items()}
    return _sorted_list(value)


def _each_sorted(mapping: Mapping[str, Any]) -> Document:
    return {name: _sorted_list(value) for name, value in mapping.items()}


def _sorted_list(value: Any) -> List[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return sorted(_as_text(item) for item in values)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def document_text(document: Mapping[str, Any]) -> str:
    """Return a policy document as JSON text, always the same for the same document."""
    return json.dumps(document, sort_keys=True)
