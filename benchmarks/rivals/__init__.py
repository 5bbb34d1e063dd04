"""fastsched and other job libraries, side by side: the same empty job, the same servers, in turn.

    cd benchmarks && python -m rivals [--rounds 3] [--only NAME] [--envs FOLDER]

Every library lives in a virtual environment of its own, with a program there that enqueues and one
that works. See `entries` for who takes part, `rounds` for what is measured, `libraries` for how
each is set up.
"""
