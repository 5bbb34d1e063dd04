"""Durable jobs for Python: enqueue now, run later, lose nothing."""

from fastsched.context import JobContext, current_job
from fastsched.errors import (
    ConfigurationError,
    EnqueueUnknown,
    FastschedError,
    JobCancelled,
    JobStopped,
    JobTimeout,
    PayloadError,
    SchedulerStopped,
    SchemaError,
    StoreError,
    StoreUnavailable,
)
from fastsched.events import Event, Transition
from fastsched.handle import JobFunction, JobHandle
from fastsched.job import Claim, Failure, Job, NewJob, State
from fastsched.outcomes import Cancel, Retry, Snooze
from fastsched.scheduler import Scheduler
from fastsched.stats import NodeStats, StoreStats
from fastsched.stores.base import Cancelled

__version__ = "0.1.0"

__all__ = [
    "Cancel",
    "Cancelled",
    "Claim",
    "ConfigurationError",
    "EnqueueUnknown",
    "Event",
    "Failure",
    "FastschedError",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobFunction",
    "JobHandle",
    "JobStopped",
    "JobTimeout",
    "NewJob",
    "NodeStats",
    "PayloadError",
    "Retry",
    "Scheduler",
    "SchedulerStopped",
    "SchemaError",
    "Snooze",
    "State",
    "StoreError",
    "StoreStats",
    "StoreUnavailable",
    "Transition",
    "current_job",
]
