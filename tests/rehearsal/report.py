# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two reports: ``rehearsal.json`` for scripts, ``rehearsal.html`` (self-contained) for people."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from tests.rehearsal.timeline import Figures, Outage, Request, Window, account, outages

TEMPLATE = Path(__file__).with_name("report.html.j2")
DOTS = (("read", "#1f77b4", "o", 4), ("write", "#2ca02c", "o", 4), ("failed", "#d62728", "x", 24))
RELEASE_WINDOWS = ("release", "release-broken")


@dataclass(frozen=True)
class Outcome:
    """A step as the reports show it; times in seconds."""

    name: str
    title: str
    started: float
    seconds: float
    ok: bool
    complaint: str = ""


@dataclass(frozen=True)
class Sources:
    """Everything the reports are made of; ``stored`` is None when the database was not asked."""

    profile: str
    facts: dict[str, Any]
    outcomes: Sequence[Outcome]
    windows: Sequence[Window]
    requests: Sequence[Request]
    stored: set[str] | None


def empty_facts() -> dict[str, Any]:
    """Return what the steps fill in; what no step filled in stays null in the report."""
    return {
        "bake": {"seconds": None, "ami_id": None},
        "site": {
            "first": {"changed": None, "seconds": None},
            "again": {"changed": None, "seconds": None},
            "check": {"changed": None},
        },
        "boot": {"launch_to_health_s": None},
        "health": {"cloudfront": None, "api_gateway": None, "origin": None},
        "swaps": {},
        "backup": {"snapshot_id": None, "rows": None, "rows_equal": None},
        "leftovers": None,
    }


def figures(sources: Sources, window: Window) -> Figures:
    """Add up one window; ``writes_lost`` means nothing before the database was asked."""
    return account(sources.requests, window, sources.stored or ())


def release_figures(sources: Sources) -> dict[str, int | None]:
    """Both releases together: the good one, and the broken one that rolled itself back."""
    found = [figures(sources, window) for window in sources.windows if window.name in RELEASE_WINDOWS]
    if not found:
        return {"requests": None, "failed": None, "max_latency_ms": None}
    return {
        "requests": sum(f.requests for f in found),
        "failed": sum(f.failed for f in found),
        "max_latency_ms": max(f.max_latency_ms for f in found),
    }


def swap_figures(sources: Sources) -> list[dict[str, Any]]:
    """One entry for each swap in its order; ``swaps`` of the facts has result and handover by step."""
    entries = []
    for window in sources.windows:
        fact = sources.facts["swaps"].get(window.name)
        if fact is None:
            continue
        found = figures(sources, window)
        measured = fact.get("handover_ms")
        entries.append(
            {
                "result": fact["result"],
                "requests": found.requests,
                "failed": found.failed,
                "max_latency_ms": found.max_latency_ms,
                "handover_ms": found.longest_gap_ms if measured is None else measured,
                "writes_acknowledged": found.writes_acknowledged,
                "writes_lost": None if sources.stored is None else found.writes_lost,
                "profile": sources.profile,
            }
        )
    return entries


def document(sources: Sources) -> dict[str, Any]:
    """Return the content of rehearsal.json."""
    facts = sources.facts
    steps = [{"name": o.name, "seconds": round(o.seconds, 1), "ok": o.ok} for o in sources.outcomes]
    return {
        "steps": steps,
        "bake": facts["bake"],
        "site": facts["site"],
        "boot": facts["boot"],
        "health": facts["health"],
        "release": release_figures(sources),
        "swap": swap_figures(sources),
        "backup": facts["backup"],
        "leftovers": facts["leftovers"],
    }


def loaded(requests: Sequence[Request]) -> tuple[float, float]:
    """When the first request started and the last one ended, in seconds; raises ValueError without any."""
    return min(r.started for r in requests), max(r.ended for r in requests)


def shaded(sources: Sources) -> list[Outcome]:
    """Steps that ran under load and took long enough to be seen in a plot."""
    first, last = loaded(sources.requests)
    return [
        o for o in sources.outcomes if o.seconds >= 1 and first < o.started + o.seconds and o.started < last
    ]


def step_at(sources: Sources, moment: float) -> str:
    """Name the step that ran at a moment; empty between two steps."""
    names = [o.name for o in sources.outcomes if o.started <= moment <= o.started + o.seconds]
    return names[0] if names else ""


def latency_plot(sources: Sources) -> str:
    """Return an SVG of latency over time, with the steps shaded and failures marked."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zmanim", "font.family": "sans-serif"}):
        figure, axes = pyplot.subplots(figsize=(12, 5))
        _shade(axes, sources)
        _dots(axes, sources.requests)
        axes.set_xlim(*loaded(sources.requests))
        axes.set(yscale="log", xlabel="seconds since the start", ylabel="latency, ms")
        axes.legend(loc="lower left", bbox_to_anchor=(0, -0.2), ncols=3, frameon=False, markerscale=2)
        axes.grid(visible=True, which="major", alpha=0.3)
        figure.tight_layout()
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    text = sink.getvalue()
    return text[text.index("<svg") :]


def _dots(axes: Any, requests: Sequence[Request]) -> None:
    groups: dict[str, list[Request]] = {"read": [], "write": [], "failed": []}
    for request in requests:
        groups[request.kind if request.ok else "failed"].append(request)
    for label, colour, marker, size in DOTS:
        # The axis is logarithmic: a refusal within the same millisecond must be seen too.
        milliseconds = [max(request.seconds, 0.001) * 1000 for request in groups[label]]
        started = [request.started for request in groups[label]]
        axes.scatter(started, milliseconds, s=size, c=colour, marker=marker, label=label)


def _shade(axes: Any, sources: Sources) -> None:
    first, _last = loaded(sources.requests)
    for number, outcome in enumerate(shaded(sources)):
        end = outcome.started + outcome.seconds
        axes.axvspan(outcome.started, end, color="#999999", alpha=0.18 if number % 2 else 0.07, lw=0)
        axes.text(
            max(outcome.started, first), 1.01, outcome.name, transform=axes.get_xaxis_transform(),
            rotation=35, ha="left", va="bottom", fontsize=8, color="#555555", clip_on=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One bar of the timeline, in percent of its width."""

    left: float
    width: float
    label: str
    kind: str

    @property
    def caption(self) -> str:
        """What fits into the bar: the step's name in a wide one."""
        return self.label.split(":")[0] if self.kind in ("step", "wrong") and self.width > 3.5 else ""


def bars(sources: Sources, held: Sequence[Outage]) -> list[Bar]:
    """Place steps and outages on a common axis."""
    total = max((o.started + o.seconds for o in sources.outcomes), default=0.0) or 1.0

    def placed(started: float, ended: float, label: str, kind: str) -> Bar:
        width = max((ended - started) / total * 100, 0.12)
        return Bar(round(started / total * 100, 3), round(width, 3), label, kind)

    steps = [
        placed(o.started, o.started + o.seconds, f"{o.name}: {o.seconds:.1f} s", "step" if o.ok else "wrong")
        for o in sources.outcomes
    ]
    waits = [
        placed(
            outage.started,
            outage.ended,
            f"{outage.ended - outage.started:.1f} s: {outage.requests} waited, {outage.failed} failed",
            "failed" if outage.failed else "held",
        )
        for outage in held
    ]
    return steps + waits


def page(sources: Sources) -> str:
    """Return the content of rehearsal.html."""
    held = outages(sources.requests)
    names = {window.name: figures(sources, window) for window in sources.windows}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text()).render(
        profile=sources.profile,
        document=document(sources),
        outcomes=sources.outcomes,
        total=sum(o.seconds for o in sources.outcomes),
        good=all(o.ok for o in sources.outcomes),
        windows=names,
        swaps=sources.facts["swaps"],
        bars=bars(sources, held),
        outages=[(outage, step_at(sources, outage.started)) for outage in held],
        asked=sources.stored is not None,
        requests=len(sources.requests),
        failed=sum(not r.ok for r in sources.requests),
        plot=latency_plot(sources) if sources.requests else "",
    )


def write(directory: Path, sources: Sources) -> None:
    """Write rehearsal.json and rehearsal.html into ``directory``."""
    (directory / "rehearsal.json").write_text(json.dumps(document(sources), indent=2) + "\n")
    (directory / "rehearsal.html").write_text(page(sources))
