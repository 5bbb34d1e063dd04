"""The storms that there are, and what stands on the stage of each."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from cluster.proxy import Proxy
from durability.disk import Ballast, small_disk

from chaos.labs import ChaosLab, PostgresLab, SqliteLab
from chaos.storm import Chaos, Gear, Storm
from fastsched.servers import PrivatePostgres, PrivateRedis

_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A storm, and what it needs."""

    storm: Storm
    postgres: bool = False
    redis: bool = False
    proxies: int = 0
    disk: int = 0
    """Megabytes of the disk that the store is on; 0: a large one."""
    share: float = 0.04
    """How much of the storm the short form is; 0: there is none, because other tests are that."""

    @property
    def in_short(self) -> bool:
        return self.share > 0

    def short(self) -> Scene:
        """The same, so small that it belongs in every run of the tests."""
        storm = self.storm
        few = {name: max(math.ceil(n * self.share), 1) for name, n in storm.faults.items()}
        return replace(
            self,
            storm=replace(
                storm,
                jobs=int(storm.jobs * self.share),
                seconds=storm.seconds * self.share,
                faults=few,
                bad=dict.fromkeys(storm.bad, 1),
                workers=min(storm.workers, 3),
            ),
        )


SCENES = {
    "sqlite": Scene(
        storm=Storm(
            jobs=10_000,
            seconds=60,
            faults={"kill": 200, "freeze": 40, "kill_producer": 20},
        )
    ),
    "sqlite-stops": Scene(
        storm=Storm(jobs=4_000, seconds=25, faults={"terminate": 100, "kill": 25}),
    ),
    "sqlite-full-disk": Scene(
        disk=16,
        storm=Storm(jobs=3_000, seconds=30, faults={"fill_disk": 6, "kill": 20}),
        share=0.1,
    ),
    "sqlite-bad-jobs": Scene(
        storm=Storm(
            jobs=2_000,
            seconds=20,
            faults={},
            bad={"exit": 2, "segfault": 2, "kill": 2, "hog": 6, "glutton": 4},
        ),
        share=0.1,
    ),
    "sqlite-recovery": Scene(
        storm=Storm(jobs=3_000, seconds=40, faults={"kill": 20}, workers=3, anchors=2, spares=True),
        share=0,
    ),
    "postgres": Scene(
        postgres=True,
        storm=Storm(
            jobs=10_000,
            seconds=75,
            faults={"kill": 200, "freeze": 40, "kill_producer": 10},
        ),
    ),
    "postgres-crashes": Scene(
        postgres=True,
        storm=Storm(
            jobs=10_000,
            seconds=75,
            faults={"kill": 100, "stop_postgres": 5, "kill_postgres": 5, "kill_producer": 5},
        ),
    ),
    "postgres-restarts": Scene(
        postgres=True,
        storm=Storm(jobs=4_000, seconds=30, faults={"restart_postgres": 10}, lease=30.0, workers=3),
        share=0.1,
    ),
    "postgres-full-disk": Scene(
        postgres=True,
        disk=192,
        storm=Storm(jobs=3_000, seconds=30, faults={"fill_disk": 6, "kill": 10}),
        share=0.1,
    ),
    "postgres-bad-jobs": Scene(
        postgres=True,
        storm=Storm(
            jobs=2_000,
            seconds=20,
            faults={"terminate": 10},
            bad={"exit": 2, "segfault": 2, "kill": 2, "hog": 6, "glutton": 4},
        ),
        share=0.1,
    ),
    "postgres-recovery": Scene(
        postgres=True,
        redis=True,
        storm=Storm(
            jobs=3_000,
            seconds=70,
            calm=6,  # from then on the anchors may judge by locks
            most_ms=120,
            faults={"kill": 40},
            workers=3,
            anchors=2,
            spares=True,
            lease=30.0,
        ),
        share=0,
    ),
    "postgres-zombies": Scene(
        postgres=True,
        redis=True,
        storm=Storm(
            jobs=3_000,
            seconds=50,
            most_ms=120,
            faults={"freeze": 20},
            workers=3,
            anchors=2,
            spares=True,
        ),
        share=0.1,
    ),
    "cluster": Scene(
        postgres=True,
        redis=True,
        proxies=2,
        storm=Storm(
            jobs=6_000,
            seconds=60,
            faults={
                "kill": 30,
                "terminate": 20,
                "freeze": 6,
                "kill_producer": 6,
                "stop_postgres": 2,
                "kill_redis": 6,
                "flush_redis": 6,
                "stall_redis": 6,
                "cut_redis": 6,
                "cut": 30,
                "swallow": 6,
                "drag": 6,
            },
            bad={"hog": 4},
            skewed=True,
        ),
        share=0.07,
    ),
}


@dataclass(frozen=True)
class Servers:
    """Where a scene gets its servers: started when asked for."""

    postgres: Callable[[], PrivatePostgres]
    redis: Callable[[], PrivateRedis]


@contextlib.contextmanager
def stage(scene: Scene, folder: Path, servers: Servers, seed: int) -> Iterator[Chaos]:
    """Everything that a storm needs, for as long as it lasts; its folder is `folder`."""
    with contextlib.ExitStack() as stack:
        gear = Gear()
        lab: ChaosLab
        if not scene.postgres:
            if scene.disk:
                disk = stack.enter_context(small_disk(folder / "store", scene.disk))
                gear = Gear(ballast=Ballast(disk))
            lab = SqliteLab(folder)
        else:
            gear = _servers(scene, servers, stack)
            lab = _on_postgres(scene, folder, gear, stack)
        stack.callback(lab.close)
        yield Chaos(lab, scene.storm, gear, seed)


def _servers(scene: Scene, servers: Servers, stack: contextlib.ExitStack) -> Gear:
    redis = servers.redis() if scene.redis else None
    if not scene.disk:
        return Gear(postgres=servers.postgres(), redis=redis)
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fs-chaos-")))
    home.chmod(0o711)  # the server may be another user
    disk = stack.enter_context(small_disk(home / "disk", scene.disk))
    settings: dict[str, str | int] = {"wal_recycle": "off", "max_wal_size": "64MB"}
    server = PrivatePostgres(directory=disk, settings=settings)
    return Gear(postgres=stack.enter_context(server), redis=redis, ballast=Ballast(disk))


def _on_postgres(
    scene: Scene, folder: Path, gear: Gear, stack: contextlib.ExitStack
) -> PostgresLab:
    postgres = gear.postgres
    assert postgres is not None
    name = f"chaos_{next(_numbers)}"
    url = postgres.create_database(name)
    if not scene.disk:
        stack.callback(_drop, postgres, name)
    for _ in range(scene.proxies):
        proxy = Proxy(f"{postgres.folder}/.s.PGSQL.5432")
        stack.callback(proxy.close)
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?connect_timeout=2"
        gear.proxies.append((proxy, through))
    settings: dict[str, float | str] = {"lease": scene.storm.lease}
    if gear.redis is not None:
        settings["redis"] = gear.redis.url
    return PostgresLab(folder, url, **settings)


def _drop(postgres: PrivatePostgres, name: str) -> None:
    postgres.resume()
    postgres.start()
    postgres.drop_database(name)
