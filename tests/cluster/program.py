"""The program whose processes are the cluster: see `durability.program`."""

from __future__ import annotations

import sys

from durability.program import main

from cluster.jobs import ClusterJobs

if __name__ == "__main__":
    main(*sys.argv[1:], make=ClusterJobs)
