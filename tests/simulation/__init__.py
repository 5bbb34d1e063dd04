"""Nodes, clients and their store in one thread, on a clock of its own, under faults: by a seed."""
