#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write each role's README from its argument specification; `--check` says which are out of date instead."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "collections/ansible_collections/shtetl/zmanim/roles"


MARKUP = re.compile(r"\b[BCEIOPV]\(([^()]*)\)")


def plain(text: Any) -> str:
    """Ansible's markup, such as C(code) and O(option), as Markdown's code style."""
    return MARKUP.sub(r"`\1`", str(text).strip())


def one_line(text: Any) -> str:
    """A description (string or list of paragraphs) as one table cell."""
    parts = text if isinstance(text, list) else [text]
    return " ".join(plain(part) for part in parts if part).replace("\n", " ").replace("|", "\\|")


def cell(value: Any) -> str:
    """A default as it is written in YAML, in code style; empty for none."""
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    return f"`{text}`".replace("|", "\\|")


def option_rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    """Table rows of the options, those of a dictionary's keys after it."""
    rows = []
    for name, option in sorted(options.items()):
        kind = option.get("type", "str")
        kind = f"{kind} of {option['elements']}" if "elements" in option else kind
        choices = (
            f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
            if "choices" in option
            else ""
        )
        default = "required" if option.get("required") else cell(option.get("default"))
        rows.append(
            f"| `{prefix}{name}` | {kind} | {default} | {one_line(option.get('description', ''))}{choices} |"
        )
        rows.extend(option_rows(option.get("options", {}), f"{prefix}{name}."))
    return rows


def readme(role: str, specification: dict[str, Any]) -> str:
    """The README of one role: what it does, each entry point and its options."""
    lines = [f"# {role}", "", "<!-- Written from meta/argument_specs.yml by `make docs`. -->", ""]
    for entry, content in specification["argument_specs"].items():
        if entry != "main":
            lines += [f"## Entry point `{entry}`", ""]
        lines += [one_line(content.get("short_description", "")) + ".", ""]
        description = content.get("description", [])
        for paragraph in description if isinstance(description, list) else [description]:
            lines += [plain(paragraph), ""]
        rows = option_rows(content.get("options", {}))
        if rows:
            lines += ["| variable | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).replace("..\n", ".\n").rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the READMEs, or with --check exit 1 and name those that differ."""
    stale = []
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parent.parent
        text = readme(role.name, yaml.safe_load(path.read_text()))
        target = role / "README.md"
        if target.exists() and target.read_text() == text:
            continue
        stale.append(role.name)
        if "--check" not in arguments:
            target.write_text(text)
    if stale and "--check" in arguments:
        print(f"docs: out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
