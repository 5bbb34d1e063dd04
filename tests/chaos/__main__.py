"""All storms in full, with a report: `make chaos`, or from the folder of the tests

python -m chaos [--seed N] [--short] [SCENE ...]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from durability.disk import NoDisk

from chaos.scenes import SCENES, Servers, stage
from fastsched.servers import PrivatePostgres, PrivateRedis


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__.splitlines()[0])
    parser.add_argument("scene", nargs="*", help=f"of: {', '.join(SCENES)}; all if none is named")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--short", action="store_true", help="as in the ordinary run of the tests")
    parser.add_argument("--keep", action="store_true", help="the folders of good runs too")
    given = parser.parse_args()
    if unknown := set(given.scene) - SCENES.keys():
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    print(f"seed {given.seed}, {revision()}", flush=True)
    failed = [name for name in given.scene or SCENES if not ran(name, given)]
    print(f"failed: {', '.join(failed)}" if failed else "all good")
    return len(failed)


def ran(name: str, given: argparse.Namespace) -> bool:
    """Whether a storm came to a good end; what it came to is printed."""
    scene = SCENES[name].short() if given.short else SCENES[name]
    folder = Path(tempfile.mkdtemp(prefix=f"fs-{name}-"))
    print(f"{name}:\n  ", end="", flush=True)
    with contextlib.ExitStack() as stack:
        servers = Servers(
            postgres=lambda: stack.enter_context(
                PrivatePostgres(settings={"max_connections": 300})
            ),
            redis=lambda: stack.enter_context(PrivateRedis()),
        )
        try:
            with stage(scene, folder, servers, given.seed) as chaos:
                print(chaos.run(), flush=True)
        except NoDisk as error:
            print(f"left out: {error}", flush=True)
        except Exception:
            print(f"failed, what is left is in {folder}", flush=True)
            traceback.print_exc()
            return False
    if given.keep:
        print(f"  kept: {folder}")
    else:
        subprocess.run(["rm", "-rf", folder], check=True)
    return True


def revision() -> str:
    """The commit under test."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return f"commit {told.stdout.strip() or 'unknown'}, Python {sys.version.split()[0]}"


if __name__ == "__main__":
    sys.exit(main())
