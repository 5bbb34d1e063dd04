"""``fastsched stats``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys


def test_numbers_add_up(jobs, run_json):
    jobs.ready()
    jobs.scheduled()
    jobs.dead()
    look = run_json("stats")
    totals = look["totals"]
    assert look["states"] == {
        "ready": 0, "scheduled": 1, "claimed": 0, "waiting": 0, "dead_letters": 1,
    }  # fmt: skip
    assert (totals["accepted"], totals["done"], totals["dead"]) == (3, 1, 1)
    assert totals["accepted"] == totals["done"] + totals["dead"] + look["live"]
    assert look["rates"] is None
    assert look["nodes"] == []


def test_a_running_node_is_listed(jobs, run_json, run):
    with jobs.scheduler:
        (node,) = run_json("stats")["nodes"]
        text = run("stats").stdout
    assert (node["pid"], node["workers"], node["alive"]) == (os.getpid(), 2, True)
    assert node["id"] in text


def test_without_nodes_it_says_how_to_start_one(jobs, run):
    jobs.ready()
    assert "fastsched worker" in run("stats").stdout


def test_watch_looks_again_with_rates_until_interrupted(jobs, store_url):
    jobs.ready()
    watching = subprocess.Popen(
        [sys.executable, "-m", "fastsched", "stats", "--watch", "0.1", "--json"],
        env={**os.environ, "FASTSCHED_URL": store_url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with watching:
        first = json.loads(watching.stdout.readline())
        jobs.ready()
        while (look := json.loads(watching.stdout.readline()))["totals"]["accepted"] < 2:
            pass
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate()
    assert first["rates"] is None
    assert look["rates"]["accepted_per_second"] > 0
    assert (watching.returncode, errors) == (0, "")
