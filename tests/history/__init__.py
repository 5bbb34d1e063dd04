"""Histories of real processes: written while they run, checked after they have been healed."""

from history.checker import Final, Row, Violation, check
from history.journal import Journal
from history.record import Fault, History, Offer, Run

__all__ = [
    "Fault",
    "Final",
    "History",
    "Journal",
    "Offer",
    "Row",
    "Run",
    "Violation",
    "check",
]
