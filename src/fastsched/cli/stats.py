"""``fastsched stats``: what the store holds, and how fast it moves."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import click

from fastsched.cli.options import as_seconds, existing_store, json_option, store_option
from fastsched.cli.output import say, say_facts, say_json, say_table
from fastsched.cli.text import iso, when
from fastsched.stats import StoreStats

_LONGEST_WAIT = 86_400.0
_STATES = ("ready", "scheduled", "claimed", "waiting", "dead_letters")
_TOTALS = (
    "accepted", "done", "dead", "cancelled", "expired", "retried", "rescued", "crashed", "stale",
)  # fmt: skip


@click.command()
@click.option(
    "--watch",
    type=as_seconds(0.1),
    metavar="SECONDS",
    help="Look again every so many seconds, with rates, until Ctrl-C.",
)
@store_option
@json_option
def stats(watch: float | None, store_url: str | None, as_json: bool) -> None:
    """Jobs by state, totals, and the nodes."""
    with existing_store(store_url) as scheduler:
        name = scheduler.store_name
        look = scheduler.store_stats()
        _say(name, look, None, as_json=as_json, watching=watch is not None)
        if watch is None:
            return
        never = threading.Event()
        with contextlib.suppress(KeyboardInterrupt):
            while not never.wait(min(watch, _LONGEST_WAIT)):
                earlier, look = look, scheduler.store_stats()
                _say(name, look, earlier, as_json=as_json, watching=True)


def _say(
    name: str, look: StoreStats, earlier: StoreStats | None, *, as_json: bool, watching: bool
) -> None:
    if as_json:
        say_json(stats_record(name, look, earlier), lines=watching)
        return
    say(f"{name}  {when(look.at)} UTC", bold=True)
    say_facts((state.replace("_", " "), f"{getattr(look, state):,}") for state in _STATES)
    say("since the store was made")
    say_facts((total, f"{getattr(look, total):,}") for total in _TOTALS)
    if earlier is not None:
        say(f"over the last {look.at - earlier.at:.1f} s")
        say_facts(
            [
                ("accepted", f"{look.accepted_per_second(earlier):,.0f} jobs/s"),
                ("done", f"{look.done_per_second(earlier):,.0f} jobs/s"),
            ]
        )
    if look.nodes:
        say()
        say_table(
            ["node", "host", "pid", "workers", "started (UTC)", ""],
            [
                (n.id, n.host, n.pid, n.workers, when(n.started_at), "" if n.alive else "dead")
                for n in look.nodes
            ],
        )
    else:
        say("no nodes: nothing runs these jobs; start one with: fastsched worker MODULE:SCHEDULER")
    if watching:
        say()


def stats_record(name: str, look: StoreStats, earlier: StoreStats | None) -> dict[str, Any]:
    """The numbers for programs: these keys are stable."""
    return {
        "store": name,
        "at": iso(look.at),
        "states": {state: getattr(look, state) for state in _STATES},
        "live": look.live,
        "totals": {total: getattr(look, total) for total in _TOTALS},
        "rates": None
        if earlier is None
        else {
            "seconds": round(look.at - earlier.at, 3),
            "accepted_per_second": round(look.accepted_per_second(earlier), 1),
            "done_per_second": round(look.done_per_second(earlier), 1),
        },
        "nodes": [
            {
                "id": node.id,
                "host": node.host,
                "pid": node.pid,
                "workers": node.workers,
                "started_at": iso(node.started_at),
                "alive": node.alive,
            }
            for node in look.nodes
        ],
    }
