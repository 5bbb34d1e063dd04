-- Jobs: one row from enqueue to end. Times are seconds since the epoch.

CREATE TABLE fastsched_jobs (
    seq              INTEGER PRIMARY KEY,             -- insertion order
    id               TEXT    NOT NULL UNIQUE,
    kind             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('waiting', 'scheduled', 'ready', 'claimed',
                                                       'done', 'dead', 'cancelled', 'expired')),
    priority         INTEGER NOT NULL CHECK (priority BETWEEN -32768 AND 32767),
    due_at           REAL    NOT NULL CHECK (due_at BETWEEN 0 AND 221845392000),  -- year 9000
    deadline         REAL             CHECK (deadline BETWEEN 0 AND 221845392000),
    timeout          REAL             CHECK (timeout > 0 AND timeout < 9e999),  -- infinity
    max_attempts     INTEGER NOT NULL CHECK (max_attempts > 0),
    attempt          INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    claim_no         INTEGER NOT NULL DEFAULT 0,      -- only grows: the fence
    crashes          INTEGER NOT NULL DEFAULT 0,      -- processes that died while it ran alone
    suspect          INTEGER NOT NULL DEFAULT 0,      -- ran in a process that died: runs alone next
    node             TEXT             CHECK ((node IS NOT NULL) = (state = 'claimed')),
    payload          BLOB    NOT NULL,
    created_at       REAL    NOT NULL,
    claimed_at       REAL,
    ended_at         REAL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    waits_for        INTEGER NOT NULL DEFAULT 0,      -- parents that have not ended
    unique_key       TEXT,
    reason           TEXT,
    failure          TEXT                             -- JSON: type, message, traceback
) STRICT;

-- What a claim scans, in the order in which ready jobs run; queue and kind are filtered inside it.
CREATE INDEX fastsched_ready ON fastsched_jobs (priority DESC, due_at, seq, queue, kind)
    WHERE state = 'ready';
CREATE INDEX fastsched_scheduled ON fastsched_jobs (due_at) WHERE state = 'scheduled';
CREATE INDEX fastsched_claimed ON fastsched_jobs (node) WHERE state = 'claimed';
CREATE INDEX fastsched_ended ON fastsched_jobs (state, ended_at)
    WHERE state IN ('done', 'dead', 'cancelled', 'expired');
CREATE INDEX fastsched_ended_ids ON fastsched_jobs (state, id)
    WHERE state IN ('done', 'dead', 'cancelled', 'expired');
CREATE INDEX fastsched_deadlines ON fastsched_jobs (deadline)
    WHERE deadline IS NOT NULL AND state IN ('waiting', 'scheduled', 'ready');
CREATE UNIQUE INDEX fastsched_unique ON fastsched_jobs (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('waiting', 'scheduled', 'ready', 'claimed');

-- Ids chosen by callers, kept past the end of the job so that repeating an enqueue is a no-op.
CREATE TABLE fastsched_given_ids (
    id       TEXT PRIMARY KEY,
    given_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX fastsched_given_at ON fastsched_given_ids (given_at);

CREATE TABLE fastsched_nodes (
    id         TEXT PRIMARY KEY,
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    workers    INTEGER NOT NULL,
    started_at REAL    NOT NULL
) STRICT, WITHOUT ROWID;

-- accepted = done + dead + cancelled + expired + the rows still live, always.
CREATE TABLE fastsched_totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
