"""Every storm in short; `make chaos` runs them in full."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from durability.disk import NoDisk

from chaos.scenes import SCENES, Servers, stage

SEED = os.environ.get("FASTSCHED_CHAOS_SEED")
SHORT = {name: scene.short() for name, scene in SCENES.items() if scene.in_short}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_and_every_duplicate_is_explained_in(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scene = SHORT[name]
    seed = int(SEED or random.randrange(1 << 32))
    print(f"FASTSCHED_CHAOS_SEED={seed}")
    servers = Servers(
        postgres=lambda: request.getfixturevalue("breakable_pg"),
        redis=lambda: request.getfixturevalue("breakable_redis"),
    )
    try:
        with stage(scene, tmp_path, servers, seed) as chaos:
            report = chaos.run()
    except NoDisk as error:
        pytest.skip(str(error))
    print(report)
    assert report.accepted >= scene.storm.jobs
    for fault, times in scene.storm.faults.items():
        assert report.done[fault] == times, fault
