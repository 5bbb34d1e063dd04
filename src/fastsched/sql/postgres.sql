-- The statements of the PostgreSQL store, each under the name of what runs it. Every name is
-- qualified, and the search path holds nothing but the system's own.

-- Plans must not hang on statistics, which are always stale in a queue: with those of an empty
-- table a claim sorted all ready rows, and a completion scanned the whole table. What is left to the
-- planner are index scans; and the statements name rows by arrays of ids, not by joins, which it
-- might turn round.
--
-- Until the search path is set, nothing is found by it: schemas of others may come first in it, with
-- functions and operators named like the system's own.
-- name: settings
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', :in_transaction),
       pg_catalog.set_config('enable_seqscan', 'off', :in_transaction),
       pg_catalog.set_config('enable_bitmapscan', 'off', :in_transaction),
       pg_catalog.set_config('enable_sort', 'off', :in_transaction),
       pg_catalog.set_config('jit', 'off', :in_transaction),
       pg_catalog.set_config('synchronous_commit', 'on', :in_transaction),
       pg_catalog.set_config('statement_timeout', :statement_timeout, :in_transaction),
       pg_catalog.set_config('lock_timeout', :lock_timeout, :in_transaction),
       pg_catalog.set_config('idle_in_transaction_session_timeout', :silence_timeout,
                             :in_transaction),
       -- That one does not count while the server waits for the rest of a pipeline; from 17 on:
       CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4
                 OPERATOR(pg_catalog.>=) 170000 AND :in_transaction
            THEN pg_catalog.set_config('transaction_timeout', :transaction_timeout, true) END;

-- For statements outside of transactions, on connections that are ours alone.
-- name: isolate
SELECT pg_catalog.set_config('default_transaction_isolation', 'read committed', false);

-- name: now
SELECT extract(epoch FROM clock_timestamp())::float8;

-- For the end of a handler's transaction, which is otherwise the handler's own.
-- name: ending
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('synchronous_commit', 'on', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', :silence_timeout, true);

-- For our statements in the middle of a user's transaction, and after them.
-- name: trust_no_path
SELECT pg_catalog.current_setting('search_path'),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: restore_path
SELECT pg_catalog.set_config('search_path', :path, true);

-- name: insert
INSERT INTO fastsched.jobs (id, kind, queue, state, priority, due_at, deadline, timeout,
                            max_attempts, payload)
SELECT j.id, j.kind, j.queue,
       CASE WHEN d.due_at > statement_timestamp() THEN 'scheduled' ELSE 'ready' END,
       j.priority, d.due_at,
       CASE WHEN coalesce(j.deadline_at, j.deadline) IS NOT NULL  -- `least` overlooks nulls
            THEN least(coalesce(to_timestamp(j.deadline_at),
                                d.due_at + j.deadline * interval '1 second'),
                       '9001-01-01 00:00Z') END,
       j.timeout, j.max_attempts, j.payload
FROM unnest(:ids::text[]::uuid[], :kinds::text[], :queues::text[], :priorities::int2[],
            :delays::float8[], :ats::float8[], :deadlines::float8[], :deadline_ats::float8[],
            :timeouts::float8[], :max_attempts::int4[], :payloads::bytea[])
     WITH ORDINALITY AS j (id, kind, queue, priority, delay, at, deadline, deadline_at, timeout,
                           max_attempts, payload, place)
     CROSS JOIN LATERAL (SELECT coalesce(to_timestamp(j.at),
                                         statement_timestamp() + j.delay * interval '1 second')
                         AS due_at) AS d
ORDER BY j.place;

-- The same for ids chosen by callers; what is known already is left alone.
-- name: insert_given
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (g.id) g.*
    FROM unnest(:ids::text[]::uuid[], :kinds::text[], :queues::text[], :priorities::int2[],
                :delays::float8[], :ats::float8[], :deadlines::float8[], :deadline_ats::float8[],
                :timeouts::float8[], :max_attempts::int4[], :payloads::bytea[])
         WITH ORDINALITY AS g (id, kind, queue, priority, delay, at, deadline, deadline_at, timeout,
                               max_attempts, payload, place)
    ORDER BY g.id, g.place
), fresh AS (
    INSERT INTO fastsched.given_ids (id)
    SELECT g.id FROM given AS g
    WHERE NOT EXISTS (SELECT FROM fastsched.jobs AS k WHERE k.id = g.id)
    ORDER BY g.id
    ON CONFLICT DO NOTHING
    RETURNING id
)
INSERT INTO fastsched.jobs (id, kind, queue, state, priority, due_at, deadline, timeout,
                            max_attempts, payload)
SELECT j.id, j.kind, j.queue,
       CASE WHEN d.due_at > statement_timestamp() THEN 'scheduled' ELSE 'ready' END,
       j.priority, d.due_at,
       CASE WHEN coalesce(j.deadline_at, j.deadline) IS NOT NULL  -- `least` overlooks nulls
            THEN least(coalesce(to_timestamp(j.deadline_at),
                                d.due_at + j.deadline * interval '1 second'),
                       '9001-01-01 00:00Z') END,
       j.timeout, j.max_attempts, j.payload
FROM given AS j JOIN fresh USING (id)
     CROSS JOIN LATERAL (SELECT coalesce(to_timestamp(j.at),
                                         statement_timestamp() + j.delay * interval '1 second')
                         AS due_at) AS d
ORDER BY j.place
RETURNING id::text;

-- Ready jobs without a delay or a deadline, which are most: the defaults say the rest.
-- name: copy
COPY fastsched.jobs (id, kind, queue, priority, timeout, max_attempts, payload)
FROM STDIN (FORMAT binary);

-- name: promote
WITH due AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE state = 'scheduled' AND due_at <= statement_timestamp()
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE fastsched.jobs SET state = 'ready' WHERE id = ANY (ARRAY (SELECT id FROM due));

-- The numbers of a row that was written by hand must not overflow: nothing could be claimed then.
-- Ready jobs first; then, ahead of time so that they start on time, jobs due soon.
-- name: claim
WITH me AS MATERIALIZED (
    SELECT no FROM fastsched.nodes WHERE no = :node FOR KEY SHARE
), ready AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE state = 'ready' AND priority >= :min_priority
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
      AND kind = ANY (:kinds::text[]) AND EXISTS (SELECT FROM me)
    ORDER BY priority DESC, due_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED
), soon AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE state = 'scheduled' AND priority >= :min_priority
      AND due_at <= statement_timestamp() + :horizon * interval '1 second'
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
      AND kind = ANY (:kinds::text[]) AND EXISTS (SELECT FROM me)
    ORDER BY due_at, priority DESC, seq LIMIT (SELECT :limit - count(*) FROM ready)
    FOR UPDATE SKIP LOCKED
)
UPDATE fastsched.jobs AS j
SET state = 'claimed', node = :node, claim_no = least(claim_no, 2147483646) + 1,
    attempt = least(attempt, 2147483646) + 1, claimed_at = statement_timestamp()
WHERE j.id = ANY (ARRAY (SELECT id FROM ready UNION ALL SELECT id FROM soon))
RETURNING j.id::text, j.kind, j.queue, j.priority, extract(epoch FROM j.due_at)::float8,
          extract(epoch FROM j.deadline)::float8, j.timeout, j.max_attempts, j.attempt, j.claim_no,
          j.suspect, j.payload, j.seq;

-- name: next_due
SELECT extract(epoch FROM min(due_at))::float8, extract(epoch FROM clock_timestamp())::float8
FROM fastsched.jobs
WHERE state = 'scheduled' AND due_at > statement_timestamp() + :horizon * interval '1 second';

-- Runs that succeeded; what comes back are the claims that did not hold. The arrays come as text
-- with commas: psycopg dumps lists item by item, in Python.
-- name: complete
WITH ended AS MATERIALIZED (
    SELECT * FROM unnest(string_to_array(:ids, ',')::uuid[],
                         string_to_array(:nodes, ',')::int4[],
                         string_to_array(:claim_nos, ',')::int4[]) AS e (id, node, claim_no)
), held AS MATERIALIZED (
    SELECT l.id FROM ended AS e CROSS JOIN LATERAL (
        SELECT j.id FROM fastsched.jobs AS j
        WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
), gone AS (
    DELETE FROM fastsched.jobs WHERE id = ANY (ARRAY (SELECT id FROM held))
)
SELECT e.id::text, e.claim_no FROM ended AS e
WHERE NOT EXISTS (SELECT FROM held WHERE held.id = e.id);

-- Runs that end their jobs.
-- name: end_jobs
WITH held AS MATERIALIZED (
    SELECT l.id, e.state, e.reason, e.failure
    FROM unnest(:ids::text[]::uuid[], :nodes::int4[], :claim_nos::int4[], :states::text[],
                :reasons::text[], :failures::text[])
             AS e (id, node, claim_no, state, reason, failure)
         CROSS JOIN LATERAL (
             SELECT j.id FROM fastsched.jobs AS j
             WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
)
UPDATE fastsched.jobs AS j
SET state = held.state, node = NULL, ended_at = statement_timestamp(), reason = held.reason,
    failure = coalesce(held.failure::json, j.failure), suspect = false
FROM held WHERE j.id = ANY (ARRAY (SELECT id FROM held)) AND j.id = held.id
RETURNING j.id::text, j.claim_no, j.state;

-- Runs after which their jobs come back, unless their cancellation was asked for meanwhile.
-- name: end_runs
WITH held AS MATERIALIZED (
    SELECT l.id, e.delay, e.attempt_back, e.reason, e.failure
    FROM unnest(:ids::text[]::uuid[], :nodes::int4[], :claim_nos::int4[], :delays::float8[],
                :attempts_back::int4[], :reasons::text[], :failures::text[])
             AS e (id, node, claim_no, delay, attempt_back, reason, failure)
         CROSS JOIN LATERAL (
             SELECT j.id FROM fastsched.jobs AS j
             WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
)
UPDATE fastsched.jobs AS j
SET state = CASE WHEN j.cancel_requested THEN 'cancelled'
                 WHEN held.delay > 0 THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN j.cancel_requested THEN statement_timestamp() END,
    node = NULL, due_at = statement_timestamp() + held.delay * interval '1 second',
    attempt = greatest(j.attempt - held.attempt_back, 0), reason = held.reason,
    failure = coalesce(held.failure::json, j.failure), suspect = false, crashes = 0
FROM held WHERE j.id = ANY (ARRAY (SELECT id FROM held)) AND j.id = held.id
RETURNING j.id::text, j.claim_no, j.state;

-- Jobs given back unused.
-- name: release
WITH held AS MATERIALIZED (
    SELECT l.id
    FROM unnest(:ids::text[]::uuid[], :nodes::int4[], :claim_nos::int4[])
             AS e (id, node, claim_no)
         CROSS JOIN LATERAL (
             SELECT j.id FROM fastsched.jobs AS j
             WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
)
UPDATE fastsched.jobs AS j
SET state = CASE WHEN j.cancel_requested THEN 'cancelled'
                 WHEN j.due_at > statement_timestamp() THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN j.cancel_requested THEN statement_timestamp() END,
    node = NULL, attempt = greatest(j.attempt - 1, 0)
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text, j.claim_no, j.state;

-- name: mark
INSERT INTO fastsched.flushes (writer, flush_no, counts)
VALUES (:writer::text::uuid, :flush_no, :counts::text::jsonb);

-- name: mark_unless_marked
INSERT INTO fastsched.flushes (writer, flush_no, counts)
VALUES (:writer::text::uuid, :flush_no, '{}')
ON CONFLICT DO NOTHING;

-- A hundred old marks or more become one, so that the sums stay.
-- name: fold_marks
WITH many AS MATERIALIZED (
    SELECT count(*) >= 100 AS enough
    FROM (SELECT FROM fastsched.flushes
          WHERE flushed_at < statement_timestamp() - interval '10 minutes' LIMIT 100) AS marks
), old AS (
    DELETE FROM fastsched.flushes
    WHERE flushed_at < statement_timestamp() - interval '10 minutes'
      AND (SELECT enough FROM many)
    RETURNING counts
), sums AS (
    SELECT c.key, sum(c.value::bigint) AS value
    FROM old CROSS JOIN LATERAL jsonb_each_text(
             CASE WHEN jsonb_typeof(old.counts) = 'object' THEN old.counts ELSE '{}' END) AS c
    WHERE c.value ~ '^-?[0-9]{1,12}$' GROUP BY c.key
)
INSERT INTO fastsched.flushes (writer, flush_no, counts)
SELECT :writer::text::uuid, :flush_no, jsonb_object_agg(key, value)
FROM sums HAVING count(*) > 0;

-- name: totals
SELECT c.key, sum(c.value::bigint)::bigint
FROM fastsched.flushes AS f CROSS JOIN LATERAL jsonb_each_text(
         CASE WHEN jsonb_typeof(f.counts) = 'object' THEN f.counts ELSE '{}' END) AS c
WHERE c.value ~ '^-?[0-9]{1,12}$' GROUP BY c.key;

-- name: states
SELECT state, count(*) FROM fastsched.jobs GROUP BY state;

-- name: busy
SELECT EXISTS (SELECT FROM fastsched.jobs WHERE state = 'ready')
    OR EXISTS (SELECT FROM fastsched.jobs WHERE state = 'claimed')
    OR EXISTS (SELECT FROM fastsched.jobs
               WHERE state = 'scheduled' AND (:ever OR due_at <= statement_timestamp()));

-- name: job
SELECT id::text, kind, queue, state, priority, extract(epoch FROM due_at)::float8,
       extract(epoch FROM deadline)::float8, timeout, attempt, max_attempts, crashes, claim_no,
       (SELECT n.id::text FROM fastsched.nodes AS n WHERE n.no = node),
       extract(epoch FROM created_at)::float8, extract(epoch FROM claimed_at)::float8,
       extract(epoch FROM ended_at)::float8, cancel_requested, reason, failure::text, payload
FROM fastsched.jobs WHERE id = :id::text::uuid;

-- name: jobs
SELECT id::text, kind, queue, state, priority, extract(epoch FROM due_at)::float8,
       extract(epoch FROM deadline)::float8, timeout, attempt, max_attempts, crashes, claim_no,
       (SELECT n.id::text FROM fastsched.nodes AS n WHERE n.no = node),
       extract(epoch FROM created_at)::float8, extract(epoch FROM claimed_at)::float8,
       extract(epoch FROM ended_at)::float8, cancel_requested, reason, failure::text, payload
FROM fastsched.jobs
WHERE (:state::text IS NULL OR state = :state::text)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:after::text IS NULL OR id > :after::text::uuid)
ORDER BY jobs.id LIMIT :limit;

-- The same for states of ended jobs, which have an index of their own.
-- name: ended_jobs
SELECT id::text, kind, queue, state, priority, extract(epoch FROM due_at)::float8,
       extract(epoch FROM deadline)::float8, timeout, attempt, max_attempts, crashes, claim_no,
       (SELECT n.id::text FROM fastsched.nodes AS n WHERE n.no = node),
       extract(epoch FROM created_at)::float8, extract(epoch FROM claimed_at)::float8,
       extract(epoch FROM ended_at)::float8, cancel_requested, reason, failure::text, payload
FROM fastsched.jobs
WHERE state IN ('done', 'dead', 'cancelled', 'expired') AND state = :state::text
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:after::text IS NULL OR id > :after::text::uuid)
ORDER BY jobs.id LIMIT :limit;

-- name: live
SELECT id::text, state FROM fastsched.jobs WHERE id = ANY (:ids::text[]::uuid[]);

-- name: cancel
WITH held AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE id = ANY (:ids::text[]::uuid[]) AND state IN ('waiting', 'scheduled', 'ready', 'claimed')
    ORDER BY id FOR UPDATE
)
UPDATE fastsched.jobs AS j
SET state = CASE WHEN j.state = 'claimed' THEN 'claimed' ELSE 'cancelled' END,
    cancel_requested = j.state = 'claimed',
    ended_at = CASE WHEN j.state <> 'claimed' THEN statement_timestamp() END,
    reason = CASE WHEN j.state <> 'claimed' THEN 'cancelled' ELSE j.reason END
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text, j.state;

-- name: requeue
WITH held AS MATERIALIZED (
    SELECT id FROM fastsched.jobs WHERE id = ANY (:ids::text[]::uuid[]) AND state = 'dead'
    ORDER BY id FOR UPDATE
)
UPDATE fastsched.jobs AS j
SET state = 'ready', due_at = statement_timestamp(), ended_at = NULL, attempt = 0, crashes = 0,
    suspect = false, deadline = NULL, cancel_requested = false, reason = 'requeued'
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text;

-- name: run_now
WITH held AS MATERIALIZED (
    SELECT id FROM fastsched.jobs WHERE id = ANY (:ids::text[]::uuid[]) AND state = 'scheduled'
    ORDER BY id FOR UPDATE
)
UPDATE fastsched.jobs AS j SET state = 'ready', due_at = statement_timestamp()
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text;

-- name: discard
WITH held AS MATERIALIZED (
    SELECT id FROM fastsched.jobs WHERE id = ANY (:ids::text[]::uuid[]) AND state = 'dead'
    ORDER BY id FOR UPDATE
)
DELETE FROM fastsched.jobs AS j WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text;

-- name: expire
WITH late AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE deadline IS NOT NULL AND deadline < statement_timestamp()
      AND state IN ('waiting', 'scheduled', 'ready')
    ORDER BY deadline LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE fastsched.jobs AS j
SET state = 'expired', ended_at = statement_timestamp(), reason = 'deadline passed'
WHERE j.id = ANY (ARRAY (SELECT id FROM late))
RETURNING j.id::text, j.kind, j.queue, j.attempt;

-- name: prune
WITH done AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE state = 'done' AND ended_at < statement_timestamp() - :done_for * interval '1 second'
    LIMIT :limit FOR UPDATE SKIP LOCKED
), ended AS MATERIALIZED (
    SELECT id FROM fastsched.jobs
    WHERE state IN ('dead', 'cancelled', 'expired')
      AND ended_at < statement_timestamp() - :ended_for * interval '1 second'
    LIMIT (SELECT :limit - count(*) FROM done) FOR UPDATE SKIP LOCKED
)
DELETE FROM fastsched.jobs
WHERE id = ANY (ARRAY (SELECT id FROM done UNION ALL SELECT id FROM ended));

-- name: prune_given_ids
DELETE FROM fastsched.given_ids
WHERE id IN (SELECT id FROM fastsched.given_ids
             WHERE given_at < statement_timestamp() - :age * interval '1 second'
             LIMIT :limit FOR UPDATE SKIP LOCKED);

-- name: next_number
SELECT nextval(pg_get_serial_sequence('fastsched.nodes', 'no'))::int4;

-- name: lock
SELECT pg_try_advisory_lock(:lock_class, :node);

-- name: lock_again
WITH lock AS MATERIALIZED (SELECT pg_try_advisory_lock(:lock_class, :node) AS held)
UPDATE fastsched.nodes SET locked = (SELECT held FROM lock) WHERE no = :node RETURNING locked;

-- The session in which a node writes bears its number too, so that others can end it.
-- name: sign
SELECT pg_advisory_lock_shared(:sign_class, :node);

-- A node that was frozen in a flush keeps locks on its row and its jobs, for which a rescue would
-- wait; and the timeouts of a session do not count while it cannot send its answer.
-- name: end_sessions
SELECT pg_terminate_backend(a.pid, 1000)
FROM fastsched.node_signs AS s
     JOIN pg_locks AS l ON l.locktype = 'advisory' AND l.classid = :sign_class
          AND l.objid = s.no::bigint AND l.objsubid = 2 AND l.granted
     JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datname = current_database()
          AND a.usename = current_user
WHERE s.lease_over AND l.database = a.datid AND a.pid <> pg_backend_pid();

-- name: register
INSERT INTO fastsched.nodes (no, id, host, pid, workers, lease_until, locked)
VALUES (:node, :id::text::uuid, :host, :pid, :workers,
        clock_timestamp() + :lease * interval '1 second', :locked);

-- name: number
SELECT no FROM fastsched.nodes WHERE id = :id::text::uuid;

-- name: nodes
SELECT n.id::text, n.host, n.pid, n.workers, extract(epoch FROM n.started_at)::float8,
       NOT (s.lease_over OR s.lock_free)
FROM fastsched.nodes AS n JOIN fastsched.node_signs AS s USING (no) ORDER BY n.id;

-- Renew the lease, look for dead nodes, for work, and for cancellations: one statement a second.
-- A free lock counts only if server and observer have both been up longer than the grace in which
-- nodes lock again after a restart.
-- name: tend
WITH me AS (
    UPDATE fastsched.nodes SET lease_until = clock_timestamp() + :lease * interval '1 second'
    WHERE no = :node RETURNING no
)
SELECT EXISTS (SELECT FROM me),
       EXISTS (SELECT FROM fastsched.node_signs AS s
               WHERE s.no <> :node
                 AND (s.lease_over
                      OR s.lock_free AND :may_judge
                         AND pg_postmaster_start_time()
                             < clock_timestamp() - :grace * interval '1 second')),
       EXISTS (SELECT FROM fastsched.jobs WHERE state = 'ready')
           OR EXISTS (SELECT FROM fastsched.jobs
                      WHERE state = 'scheduled'
                        AND due_at <= statement_timestamp() + :horizon * interval '1 second'),
       ARRAY (SELECT id::text FROM fastsched.jobs
              WHERE state = 'claimed' AND node = :node AND cancel_requested),
       extract(epoch FROM clock_timestamp())::float8;

-- It has crashed, rather than been frozen or cut off, if its lock is free. Behind a pooler there is
-- none, and every death counts as a crash: a job that kills its process must not do so for ever.
-- name: dead_nodes
SELECT n.no, n.id::text,
       -- By that same claim: one that it gave back, or ended, and holds again has not begun to run.
       (SELECT j.id::text FROM fastsched.jobs AS j
        WHERE j.id = n.alone AND j.node = n.no AND j.claim_no = n.alone_claim),
       s.lock_free OR NOT n.locked AS crashed
FROM fastsched.nodes AS n JOIN fastsched.node_signs AS s USING (no)
WHERE s.lease_over
   OR s.lock_free AND :may_judge
      AND pg_postmaster_start_time() < clock_timestamp() - :grace * interval '1 second'
ORDER BY n.no FOR UPDATE OF n SKIP LOCKED;

-- name: run_alone
UPDATE fastsched.nodes SET alone = :id::text::uuid, alone_claim = :claim_no WHERE no = :node;

-- name: forget_node
DELETE FROM fastsched.nodes WHERE no = :node;

-- name: owned
SELECT id::text, claim_no FROM fastsched.jobs WHERE state = 'claimed' AND node = :node;

-- The job that was running alone: the crash is its own.
-- name: charge
UPDATE fastsched.jobs SET suspect = true, crashes = least(crashes, 32766) + 1
WHERE id = :id::text::uuid AND state = 'claimed' AND node = :node AND suspect
RETURNING id::text, kind, queue, attempt, crashes;

-- Jobs that may have been running when their process died, and none is known to have run alone:
-- nobody is charged, and each runs alone the next time.
-- name: suspect_all
UPDATE fastsched.jobs SET suspect = true WHERE state = 'claimed' AND node = :node;

-- name: bury_crashed
UPDATE fastsched.jobs
SET state = 'dead', node = NULL, ended_at = statement_timestamp(),
    reason = 'crashed: its process died ' || crashes || ' times while it ran alone'
WHERE id = :id::text::uuid AND state = 'claimed' AND node = :node;

-- Everything that a node holds goes back, uncharged.
-- name: release_all
WITH held AS MATERIALIZED (
    SELECT id FROM fastsched.jobs WHERE state = 'claimed' AND node = :node ORDER BY id FOR UPDATE
)
UPDATE fastsched.jobs AS j
SET state = CASE WHEN j.cancel_requested THEN 'cancelled'
                 WHEN j.due_at > statement_timestamp() THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN j.cancel_requested THEN statement_timestamp() END,
    node = NULL, attempt = greatest(j.attempt - 1, 0)
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.state;

-- The same for claims of nodes that there are not: no program of ours leaves any.
-- name: release_orphans
WITH held AS MATERIALIZED (
    SELECT o.id FROM fastsched.jobs AS o
    WHERE o.state = 'claimed' AND NOT EXISTS (SELECT FROM fastsched.nodes AS n WHERE n.no = o.node)
    ORDER BY o.id FOR UPDATE OF o
)
UPDATE fastsched.jobs AS j
SET state = CASE WHEN j.cancel_requested THEN 'cancelled'
                 WHEN j.due_at > statement_timestamp() THEN 'scheduled' ELSE 'ready' END,
    ended_at = CASE WHEN j.cancel_requested THEN statement_timestamp() END,
    node = NULL, attempt = greatest(j.attempt - 1, 0)
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.state;

-- name: schema_version
SELECT max(version) FROM fastsched.schema;
