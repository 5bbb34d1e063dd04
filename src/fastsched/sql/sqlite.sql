-- The statements of the SQLite store, each under the name of what runs it.

-- name: insert
INSERT INTO fastsched_jobs (id, kind, queue, state, priority, due_at, deadline, timeout,
                            max_attempts, payload, created_at)
VALUES (:id, :kind, :queue, :state, :priority, :due_at, :deadline, :timeout,
        :max_attempts, :payload, :created_at);

-- name: take_given_id
INSERT INTO fastsched_given_ids (id, given_at)
SELECT :id, :now WHERE NOT EXISTS (SELECT 1 FROM fastsched_jobs WHERE id = :id)
ON CONFLICT DO NOTHING;

-- name: promote
UPDATE fastsched_jobs SET state = 'ready'
WHERE seq IN (SELECT seq FROM fastsched_jobs
              WHERE state = 'scheduled' AND due_at <= :now ORDER BY due_at LIMIT :limit);

-- The numbers of a row that was written by hand must not overflow: nothing could be claimed then.
-- name: claim
UPDATE fastsched_jobs
SET state = 'claimed', node = :node, claim_no = min(claim_no, 2147483646) + 1,
    attempt = min(attempt, 2147483646) + 1, claimed_at = :now
WHERE seq IN (SELECT seq FROM fastsched_jobs
              WHERE state = 'ready' AND priority >= :min_priority
                AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
                AND kind IN (SELECT value FROM json_each(:kinds))
                AND EXISTS (SELECT 1 FROM fastsched_nodes WHERE id = :node)
              ORDER BY priority DESC, due_at, seq LIMIT :limit)
RETURNING id, kind, queue, priority, due_at, deadline, timeout, max_attempts, attempt, claim_no,
          suspect, payload, seq;

-- Jobs due soon, claimed ahead of time so that they start on time.
-- name: claim_ahead
UPDATE fastsched_jobs
SET state = 'claimed', node = :node, claim_no = min(claim_no, 2147483646) + 1,
    attempt = min(attempt, 2147483646) + 1, claimed_at = :now
WHERE seq IN (SELECT seq FROM fastsched_jobs
              WHERE state = 'scheduled' AND due_at <= :horizon AND priority >= :min_priority
                AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
                AND kind IN (SELECT value FROM json_each(:kinds))
                AND EXISTS (SELECT 1 FROM fastsched_nodes WHERE id = :node)
              ORDER BY due_at, priority DESC, seq LIMIT :limit)
RETURNING id, kind, queue, priority, due_at, deadline, timeout, max_attempts, attempt, claim_no,
          suspect, payload, seq;

-- name: next_due
SELECT min(due_at) FROM fastsched_jobs WHERE state = 'scheduled' AND due_at > :after;

-- Runs that succeeded, in one statement: a third of the time of one statement for each.
-- name: complete_all
DELETE FROM fastsched_jobs
WHERE seq IN (SELECT j.seq
              FROM json_each(:claims)
                   CROSS JOIN fastsched_jobs AS j ON j.id = json_extract(value, '$[0]')
              WHERE j.node = json_extract(value, '$[1]')
                AND j.claim_no = json_extract(value, '$[2]'));

-- name: complete
DELETE FROM fastsched_jobs WHERE id = :id AND node = :node AND claim_no = :claim_no;

-- A run that ends the job.
-- name: end_job
UPDATE fastsched_jobs
SET state = :state, node = NULL, ended_at = :now, reason = :reason,
    failure = coalesce(:failure, failure), suspect = 0
WHERE id = :id AND node = :node AND claim_no = :claim_no
RETURNING state;

-- A run after which the job comes back, unless its cancellation was asked for meanwhile.
-- name: end_run
UPDATE fastsched_jobs
SET state = CASE WHEN cancel_requested THEN 'cancelled'
                 WHEN :due_at > :now THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN cancel_requested THEN :now END,
    node = NULL, due_at = :due_at, attempt = max(attempt - :attempt_back, 0),
    reason = :reason, failure = coalesce(:failure, failure), suspect = 0, crashes = 0
WHERE id = :id AND node = :node AND claim_no = :claim_no
RETURNING state;

-- A job given back unused.
-- name: release
UPDATE fastsched_jobs
SET state = CASE WHEN cancel_requested THEN 'cancelled'
                 WHEN due_at > :now THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN cancel_requested THEN :now END,
    node = NULL, attempt = max(attempt - 1, 0)
WHERE id = :id AND node = :node AND claim_no = :claim_no
RETURNING state;

-- name: count
INSERT INTO fastsched_totals (name, value) VALUES (:name, :by)
ON CONFLICT (name) DO UPDATE SET value = min(value, 1 << 60) + excluded.value;

-- name: totals
SELECT name, value FROM fastsched_totals;

-- name: states
SELECT 'ready', count(*) FROM fastsched_jobs WHERE state = 'ready'
UNION ALL SELECT 'scheduled', count(*) FROM fastsched_jobs WHERE state = 'scheduled'
UNION ALL SELECT 'claimed', count(*) FROM fastsched_jobs WHERE state = 'claimed'
UNION ALL SELECT state, count(*) FROM fastsched_jobs
          WHERE state IN ('done', 'dead', 'cancelled', 'expired') GROUP BY state;

-- name: busy
SELECT EXISTS (SELECT 1 FROM fastsched_jobs WHERE state = 'ready')
    OR EXISTS (SELECT 1 FROM fastsched_jobs WHERE state = 'claimed')
    OR EXISTS (SELECT 1 FROM fastsched_jobs WHERE state = 'scheduled' AND due_at <= :until);

-- name: job
SELECT id, kind, queue, state, priority, due_at, deadline, timeout, attempt, max_attempts, crashes,
       claim_no, node, created_at, claimed_at, ended_at, cancel_requested, reason, failure, payload
FROM fastsched_jobs WHERE id = :id;

-- name: jobs
SELECT id, kind, queue, state, priority, due_at, deadline, timeout, attempt, max_attempts, crashes,
       claim_no, node, created_at, claimed_at, ended_at, cancel_requested, reason, failure, payload
FROM fastsched_jobs
WHERE (:state IS NULL OR state = :state) AND (:kind IS NULL OR kind = :kind)
  AND (:queue IS NULL OR queue = :queue) AND (:after IS NULL OR id > :after)
ORDER BY id LIMIT :limit;

-- The same for states of ended jobs, which have an index of their own.
-- name: ended_jobs
SELECT id, kind, queue, state, priority, due_at, deadline, timeout, attempt, max_attempts, crashes,
       claim_no, node, created_at, claimed_at, ended_at, cancel_requested, reason, failure, payload
FROM fastsched_jobs
WHERE state IN ('done', 'dead', 'cancelled', 'expired') AND state = :state
  AND (:kind IS NULL OR kind = :kind)
  AND (:queue IS NULL OR queue = :queue) AND (:after IS NULL OR id > :after)
ORDER BY id LIMIT :limit;

-- name: live
SELECT id, state FROM fastsched_jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: cancel
UPDATE fastsched_jobs SET state = 'cancelled', ended_at = :now, reason = 'cancelled'
WHERE id = :id AND state IN ('waiting', 'scheduled', 'ready');

-- name: request_cancel
UPDATE fastsched_jobs SET cancel_requested = 1 WHERE id = :id AND state = 'claimed';

-- name: cancel_requests
SELECT id FROM fastsched_jobs WHERE state = 'claimed' AND node = :node AND cancel_requested = 1;

-- name: requeue
UPDATE fastsched_jobs
SET state = 'ready', due_at = :now, ended_at = NULL, attempt = 0, crashes = 0, suspect = 0,
    deadline = NULL, cancel_requested = 0, reason = 'requeued'
WHERE id = :id AND state = 'dead';

-- name: run_now
UPDATE fastsched_jobs SET state = 'ready', due_at = :now WHERE id = :id AND state = 'scheduled';

-- name: discard
DELETE FROM fastsched_jobs WHERE id = :id AND state = 'dead';

-- name: expire
UPDATE fastsched_jobs SET state = 'expired', ended_at = :now, reason = 'deadline passed'
WHERE seq IN (SELECT seq FROM fastsched_jobs
              WHERE deadline < :now AND deadline IS NOT NULL
                AND state IN ('waiting', 'scheduled', 'ready')
              ORDER BY deadline LIMIT :limit)
RETURNING id, kind, queue, attempt;

-- The list of states is that of the index, word for word: else the whole table is read.
-- name: prune
DELETE FROM fastsched_jobs
WHERE seq IN (SELECT seq FROM fastsched_jobs
              WHERE state IN ('done', 'dead', 'cancelled', 'expired')
                AND state = 'done' AND ended_at < :done_before
              UNION ALL
              SELECT seq FROM fastsched_jobs
              WHERE state IN ('done', 'dead', 'cancelled', 'expired')
                AND state IN ('dead', 'cancelled', 'expired') AND ended_at < :ended_before
              LIMIT :limit);

-- name: prune_given_ids
DELETE FROM fastsched_given_ids
WHERE id IN (SELECT id FROM fastsched_given_ids WHERE given_at < :before LIMIT :limit);

-- name: register
INSERT INTO fastsched_nodes (id, host, pid, workers, started_at)
VALUES (:id, :host, :pid, :workers, :now);

-- name: nodes
SELECT id, host, pid, workers, started_at FROM fastsched_nodes ORDER BY id;

-- name: forget_node
DELETE FROM fastsched_nodes WHERE id = :id;

-- name: owned
SELECT id, claim_no FROM fastsched_jobs WHERE state = 'claimed' AND node = :node;

-- Jobs that were running when their process died, more than one: nobody is charged, and each runs
-- alone the next time.
-- name: suspect
UPDATE fastsched_jobs SET suspect = 1 WHERE id = :id AND state = 'claimed' AND node = :node;

-- The job that was running alone: the crash is its own.
-- name: charge
UPDATE fastsched_jobs SET suspect = 1, crashes = min(crashes, 32766) + 1
WHERE id = :id AND state = 'claimed' AND node = :node
RETURNING id, kind, queue, attempt, crashes;

-- name: bury_crashed
UPDATE fastsched_jobs
SET state = 'dead', node = NULL, ended_at = :now,
    reason = 'crashed: its process died ' || crashes || ' times while it ran alone'
WHERE id = :id AND state = 'claimed' AND node = :node;

-- Everything that a node holds goes back, uncharged.
-- name: release_all
UPDATE fastsched_jobs
SET state = CASE WHEN cancel_requested THEN 'cancelled'
                 WHEN due_at > :now THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN cancel_requested THEN :now END,
    node = NULL, attempt = max(attempt - 1, 0)
WHERE state = 'claimed' AND node = :node
RETURNING state;

-- Nodes that are none of ours, by their names.
-- name: forget_strange_nodes
DELETE FROM fastsched_nodes WHERE length(id) <> 36 OR id GLOB '*[^0-9a-f-]*';

-- The same for claims of nodes that there are not: no program of ours leaves any.
-- name: release_orphans
UPDATE fastsched_jobs
SET state = CASE WHEN cancel_requested THEN 'cancelled'
                 WHEN due_at > :now THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN cancel_requested THEN :now END,
    node = NULL, attempt = max(attempt - 1, 0)
WHERE state = 'claimed' AND node NOT IN (SELECT id FROM fastsched_nodes)
RETURNING state;

-- A job that cannot be run as it is written: somebody else has written it.
-- name: bury_strange
UPDATE fastsched_jobs
SET state = 'dead', node = NULL, ended_at = :now, reason = 'its id is not the id of a job'
WHERE seq = :seq;
