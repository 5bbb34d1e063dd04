"""Every defect that the tests must notice, grouped by what it breaks.

A defect is a small, plausible mistake: the kind that a tidy-up could make, or that other queues had
in production. `old` stands exactly once in its file; when the file changes, so must the defect.
"""

from __future__ import annotations

from teeth.trial import Defect

FENCE = "a run whose claim does not hold changes nothing, and is told so"
DURABLE = "what was accepted outlives any crash"
STARTED = "every accepted job is started, or visibly ended"
COUNTED = "accepted = done + dead + cancelled + expired + live, always"
ONCE = "effects in a transaction of the store: once or not at all"
HINTS = "nothing hangs on hints: without them a job is found by looking"
RESCUE = "jobs of a dead or frozen node run elsewhere; those of a living one do not"
POISON = "a job that kills its process is set aside; a bystander is never charged"
UNIQUE = "an id given by the caller is one job"
STORE_TIME = "due times and leases are judged by the store's clock"
ORDER = "priority, then due time, then insertion; a future job blocks nothing"
DATA = "arguments come back as they went in, or are refused"
HANDLER = "no interrupt ever reaches the scheduler's own code"
SECRETS = "no password is shown"

DEFECTS: tuple[Defect, ...] = (
    # The fence -----------------------------------------------------------------------------------
    Defect(
        name="SQLite: a job is completed by whoever says so",
        promise=FENCE,
        file="sql/sqlite.sql",
        old="DELETE FROM fastsched_jobs WHERE id = :id AND node = :node AND claim_no = :claim_no;",
        new="DELETE FROM fastsched_jobs WHERE id = :id AND coalesce(:node, :claim_no) <> '';",
        tests=("store/test_ends.py::test_who_does_not_hold_the_claim_changes_nothing_and_is_told",),
    ),
    Defect(
        name="SQLite: jobs are completed by whoever says so, if all at once",
        promise=FENCE,
        file="sql/sqlite.sql",
        old="""\
              WHERE j.node = json_extract(value, '$[1]')
                AND j.claim_no = json_extract(value, '$[2]'));""",
        new="""\
              WHERE json_extract(value, '$[1]') <> '');""",
        tests=("store/test_ends.py::test_who_does_not_hold_the_claim_changes_nothing_and_is_told",),
    ),
    Defect(
        name="PostgreSQL: a job is completed by whoever says so",
        promise=FENCE,
        file="sql/postgres.sql",
        old="""\
        WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
), gone AS (""",
        new="""\
        WHERE j.id = e.id FOR UPDATE) AS l
), gone AS (""",
        tests=("store/test_ends.py::test_who_does_not_hold_the_claim_changes_nothing_and_is_told",),
    ),
    Defect(
        name="PostgreSQL: the node is enough to end a run, whatever its claim number",
        promise=FENCE,
        file="sql/postgres.sql",
        old="""\
        WHERE j.id = e.id AND j.node = e.node AND j.claim_no = e.claim_no FOR UPDATE) AS l
), gone AS (""",
        new="""\
        WHERE j.id = e.id AND j.node = e.node FOR UPDATE) AS l
), gone AS (""",
        tests=("store/test_ends.py::test_an_older_claim_of_the_same_node_is_stale",),
    ),
    Defect(
        name="SQLite: a batch of completions does not look at what did not hold",
        promise=FENCE,
        file="stores/sqlite_ends.py",
        old='all_held = run(db, "complete_all", claims=json.dumps(done)).rowcount == len(done)',
        new='all_held = run(db, "complete_all", claims=json.dumps(done)).rowcount >= 0',
        tests=("store/test_ends.py::test_a_flush_ends_what_it_can_and_tells_the_rest",),
    ),
    Defect(
        name="PostgreSQL: a batch of completions does not look at what did not hold",
        promise=FENCE,
        file="stores/postgres_flush.py",
        old="lost = {(job_id, claim_no) for job_id, claim_no in cursor}",
        new="lost: set[tuple[str, int]] = set()",
        tests=("store/test_ends.py::test_a_flush_ends_what_it_can_and_tells_the_rest",),
    ),
    Defect(
        name="SQLite: effects are committed though the claim does not hold",
        promise=ONCE,
        file="stores/sqlite.py",
        old="if not complete_one(db, claim, self.clock.now(), keep_done=self._keep_done):",
        new="if complete_one(db, claim, self.clock.now(), keep_done=self._keep_done) is None:",
        tests=("store/test_effects.py",),
    ),
    Defect(
        name="PostgreSQL: effects are committed though the claim does not hold",
        promise=ONCE,
        file="stores/postgres_users.py",
        old="if not self._complete(db, claim):",
        new="if self._complete(db, claim) is None:",
        tests=(
            "transactions/test_ends.py::test_a_run_whose_job_was_taken_meanwhile_commits_nothing",
        ),
    ),
    Defect(
        name="a run that was written off may still say what it came to",
        promise=FENCE,
        file="executor.py",
        old="""\
        except IndexError:
            return False
        self.duration""",
        new="""\
        except IndexError:
            pass
        self.duration""",
        tests=(
            "scheduler/test_stopping.py::"
            "test_a_run_that_takes_too_long_ends_in_time_whatever_it_does",
        ),
    ),
    # What was accepted ----------------------------------------------------------------------------
    Defect(
        name="SQLite: a job is deleted when it is claimed, before it has run",
        promise=STARTED,
        file="sql/sqlite.sql",
        old="""\
-- name: claim
UPDATE fastsched_jobs
SET state = 'claimed', node = :node, claim_no = min(claim_no, 2147483646) + 1,
    attempt = min(attempt, 2147483646) + 1, claimed_at = :now
WHERE""",
        new="""\
-- name: claim
DELETE FROM fastsched_jobs
WHERE""",
        tests=("durability/test_kills.py::test_a_thousand_jobs_survive_thirty_kills_of_workers",),
    ),
    Defect(
        name="PostgreSQL: a commit is answered before it is written",
        promise=DURABLE,
        file="sql/postgres.sql",
        old="set_config('synchronous_commit', 'on', :in_transaction)",
        new="set_config('synchronous_commit', 'off', :in_transaction)",
        tests=("cluster/test_accepted.py",),
    ),
    Defect(
        name="SQLite: commits are not synced to the disk",
        promise=DURABLE,
        file="stores/sqlite_file.py",
        old='connection.execute("PRAGMA synchronous = FULL")',
        new='connection.execute("PRAGMA synchronous = OFF")',
        tests=("durability/test_syncs.py",),
    ),
    Defect(
        name="SQLite: transactions are written without the lock that all processes share",
        promise=DURABLE,
        file="stores/sqlite_file.py",
        old="""\
            with self.locked():
                db = self._connected_writer()
                db.execute("BEGIN IMMEDIATE")""",
        new="""\
            with self._locking:
                db = self._connected_writer()
                db.execute("BEGIN IMMEDIATE")""",
        tests=("durability/test_write_lock.py",),
    ),
    Defect(
        name="SQLite: the last checkpoint is made without the lock that all processes share",
        promise=DURABLE,
        file="stores/sqlite_file.py",
        old="""\
        with self.locked(), self._reading:
            self._opened = False""",
        new="""\
        with self._reading:
            self._opened = False""",
        tests=("durability/test_write_lock.py",),
    ),
    Defect(
        name="SQLite: connections stay open while the process forks",
        promise=DURABLE,
        file="stores/sqlite_forks.py",
        old="os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)",
        new="",
        tests=("durability/test_forks.py",),
    ),
    Defect(
        name="ends of runs are dropped while the store is unavailable",
        promise=DURABLE,
        file="writer.py",
        old="            self._ends[:0] = ends\n",
        new="",
        tests=("unit/test_writer.py::test_ended_runs_are_kept_until_the_store_takes_them",),
    ),
    Defect(
        name="one job that cannot be stored fails all that are written with it",
        promise=DURABLE,
        file="writer.py",
        old="if len(inserts) + len(ends) + (claim is not None) == 1:",
        new="if len(inserts) + len(ends) + (claim is not None) >= 1:",
        tests=("unit/test_writer.py::test_a_job_that_cannot_be_stored_fails_its_caller_only",),
    ),
    Defect(
        name="a job given twice is counted twice",
        promise=COUNTED,
        file="stores/postgres_flush.py",
        old='tally["accepted"] = len(plain) + len(others) + len(taken)',
        new='tally["accepted"] = len(plain) + len(others) + len(given)',
        tests=("store/test_claims.py::test_a_given_id_is_stored_once",),
    ),
    Defect(
        name="after a lost reply a commit counts as undone, unasked",
        promise=DURABLE,
        file="stores/postgres_flush.py",
        old="committed = not marked",
        new="committed = False",
        tests=(
            "cluster/test_network.py::test_a_cut_anywhere_in_an_enqueue_leaves_one_job_or_none",
        ),
    ),
    Defect(
        name="after an unknown commit nobody looks for claims of which the reply was lost",
        promise=STARTED,
        file="stores/postgres_flush.py",
        old="""\
            self.doubt = True
""",
        new="",
        tests=(
            "cluster/test_network.py::"
            "test_a_claim_of_which_the_answer_was_lost_is_doubted_and_given_back",
        ),
    ),
    Defect(
        name="SQLite: a node that leaves forgets what it holds",
        promise=STARTED,
        file="stores/sqlite.py",
        old="""\
            self._release_all(db, node)
        self._give_up_place(node)""",
        new="""\
            run(db, "forget_node", id=node)
        self._give_up_place(node)""",
        tests=("store/test_nodes.py::test_a_node_that_leaves_gives_its_jobs_back_uncharged",),
    ),
    Defect(
        name="PostgreSQL: a node that leaves forgets what it holds",
        promise=STARTED,
        file="stores/postgres.py",
        old="""\
            run(db, "forget_node", node=number)
            self._release_all(db, number)
        self._places""",
        new="""\
            run(db, "forget_node", node=number)
        self._places""",
        tests=("store/test_nodes.py::test_a_node_that_leaves_gives_its_jobs_back_uncharged",),
    ),
    Defect(
        name="a node that stops keeps what waits in its backlog until its last run has ended",
        promise=STARTED,
        file="node.py",
        old="""\
        for job in self.backlog.close():
            self._writer.end(self._unstarted(job), RELEASE)
        self._keeper.join()""",
        new="""\
        self.backlog.close()
        self._keeper.join()""",
        tests=(
            "scheduler/test_stopping.py::"
            "test_jobs_that_wait_are_given_back_at_once_and_not_when_the_running_ones_end",
        ),
    ),
    Defect(
        name="SQLite: what is left after a claim up to its limit counts as drained",
        promise=STARTED,
        file="stores/sqlite.py",
        old="drained = len(rows) < want.limit and promoted < _PROMOTE_AT_ONCE",
        new="drained = len(rows) <= want.limit and promoted < _PROMOTE_AT_ONCE",
        tests=(
            "store/test_claims.py::test_a_claim_takes_no_more_than_its_limit_and_says_whether_that_was_all",
        ),
    ),
    Defect(
        name="PostgreSQL: what is left after a claim up to its limit counts as drained",
        promise=STARTED,
        file="stores/postgres_flush.py",
        old='"drained": len(claimed) < want.limit',
        new='"drained": len(claimed) <= want.limit',
        tests=(
            "store/test_claims.py::test_a_claim_takes_no_more_than_its_limit_and_says_whether_that_was_all",
        ),
    ),
    Defect(
        name="a payload that cannot be read ends the worker that meets it",
        promise=STARTED,
        file="executor.py",
        old="except PayloadError as error:",
        new="except ZeroDivisionError as error:",
        tests=("scheduler/test_unreadable.py",),
    ),
    Defect(
        name="a job past its deadline is started",
        promise=STARTED,
        file="executor.py",
        old="if job.deadline is not None and self._clock.now() > job.deadline:",
        new="if job.deadline is not None and self._clock.now() < 0:",
        tests=("scheduler/test_runs.py::test_a_job_that_would_start_after_its_deadline_expires",),
    ),
    Defect(
        name="SQLite: a released job is charged with an attempt",
        promise=STARTED,
        file="sql/sqlite.sql",
        old="""\
    node = NULL, attempt = max(attempt - 1, 0)
WHERE id = :id AND node = :node AND claim_no = :claim_no""",
        new="""\
    node = NULL
WHERE id = :id AND node = :node AND claim_no = :claim_no""",
        tests=(
            "store/test_ends.py::"
            "test_snooze_and_release_give_the_attempt_back_but_not_the_claim_number",
        ),
    ),
    Defect(
        name="PostgreSQL: a released job is charged with an attempt",
        promise=STARTED,
        file="sql/postgres.sql",
        old="""\
    node = NULL, attempt = greatest(j.attempt - 1, 0)
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text, j.claim_no, j.state;""",
        new="""\
    node = NULL
WHERE j.id = ANY (ARRAY (SELECT id FROM held))
RETURNING j.id::text, j.claim_no, j.state;""",
        tests=(
            "store/test_ends.py::"
            "test_snooze_and_release_give_the_attempt_back_but_not_the_claim_number",
        ),
    ),
    Defect(
        name="a job asked to stop comes back after a retry",
        promise=STARTED,
        file="sql/sqlite.sql",
        old="""\
SET state = CASE WHEN cancel_requested THEN 'cancelled'
                 WHEN :due_at > :now THEN 'scheduled' ELSE 'ready' END,""",
        new="""\
SET state = CASE WHEN :due_at > :now THEN 'scheduled' ELSE 'ready' END,""",
        tests=("store/test_ends.py::test_a_job_asked_to_stop_never_comes_back",),
    ),
    # Claims ---------------------------------------------------------------------------------------
    Defect(
        name="a claim chooses its rows first and locks them later",
        promise=FENCE,
        file="sql/postgres.sql",
        old="ORDER BY priority DESC, due_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED",
        new="ORDER BY priority DESC, due_at, seq LIMIT :limit",
        tests=(
            "store/test_claims.py::test_nodes_of_many_processes_share_the_jobs_and_none_gets_one_twice",
        ),
    ),
    Defect(
        name="the rows of a claim are a subquery that the planner may run again for each row",
        promise=STARTED,
        file="sql/postgres.sql",
        old="WHERE j.id = ANY (ARRAY (SELECT id FROM ready UNION ALL SELECT id FROM soon))",
        new="""\
WHERE j.state = 'ready' AND j.id IN (
    SELECT id FROM fastsched.jobs
    WHERE state = 'ready' AND priority >= :min_priority
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
      AND kind = ANY (:kinds::text[]) AND EXISTS (SELECT FROM me)
    ORDER BY priority DESC, due_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED)""",
        tests=("cluster/test_plans.py",),
    ),
    Defect(
        name="the ends of a batch are locked in the order in which they came",
        promise=STARTED,
        file="stores/postgres_batches.py",
        old="for end in sorted(first.values(), key=lambda end: end[0].id):",
        new="for end in first.values():",
        tests=("cluster/test_deadlocks.py",),
    ),
    Defect(
        name="callers are told of deadlocks of which they know nothing",
        promise=STARTED,
        file="stores/postgres.py",
        old="        return again(lambda: self._cancel(ids))",
        new="        return self._cancel(ids)",
        tests=("cluster/test_deadlocks.py",),
    ),
    Defect(
        name="an id given by two callers at once is looked up, then inserted",
        promise=UNIQUE,
        file="sql/postgres.sql",
        old="""\
    ORDER BY g.id
    ON CONFLICT DO NOTHING
    RETURNING id""",
        new="""\
      AND NOT EXISTS (SELECT FROM fastsched.given_ids AS k WHERE k.id = g.id)
    ORDER BY g.id
    RETURNING id""",
        tests=("store/test_claims.py::test_processes_that_give_one_id_at_once_store_it_once",),
    ),
    Defect(
        name="a given id is forgotten once its job is gone",
        promise=UNIQUE,
        file="sql/sqlite.sql",
        old="ON CONFLICT DO NOTHING;",
        new="ON CONFLICT DO UPDATE SET given_at = excluded.given_at;",
        tests=("store/test_claims.py::test_a_given_id_is_known_after_the_job_is_done_and_gone",),
    ),
    # Hints ----------------------------------------------------------------------------------------
    Defect(
        name="nodes wait for wake-ups and never look by themselves",
        promise=HINTS,
        file="stores/postgres_nodes.py",
        old="dead_nodes=dead_nodes, news=news,",
        new="dead_nodes=dead_nodes, news=False,",
        tests=(
            "cluster/test_redis.py::test_without_redis_jobs_run_at_the_pace_of_a_look_a_second",
        ),
    ),
    Defect(
        name="a job that comes back is not looked for",
        promise=HINTS,
        file="node.py",
        old="""\
        if flush.claim is None and any(type(o) in _COMES_BACK for _, o in ends):
            self.hint()
""",
        new="",
        tests=(
            "scheduler/test_order.py::test_a_retry_starts_after_its_delay_and_not_at_the_next_poll",
        ),
    ),
    Defect(
        name="a hint that a job has ended is believed",
        promise=HINTS,
        file="engine.py",
        old="""\
        if hint.ended is None or hint.ended:
            self.waiters.tell(hint.ended)""",
        new="""\
        if hint.ended is None or hint.ended:
            ask = self.ended
            self.ended = lambda id: State.DONE if id in (hint.ended or ()) else ask(id)
            self.waiters.tell(hint.ended)""",
        tests=("cluster/test_lies.py::test_a_lie_about_the_end_of_a_job_is_not_believed",),
    ),
    Defect(
        name="a snapshot in Redis is believed whatever job it is of",
        promise=HINTS,
        file="redis_cache.py",
        old="return job if job.id == job_id and job.state.ended else None",
        new="return job",
        tests=("cluster/test_redis_faults.py::test_a_snapshot_of_another_job_is_not_believed",),
    ),
    # Life and death of nodes ----------------------------------------------------------------------
    Defect(
        name="a node's identity is the name of its machine",
        promise=RESCUE,
        file="node.py",
        old="self.id = new_id()",
        new='self.id = str(__import__("uuid").uuid5(__import__("uuid").NAMESPACE_DNS, "here"))',
        tests=(
            "cluster/test_postgres.py::test_a_node_that_others_count_as_dead_takes_a_new_identity",
        ),
    ),
    Defect(
        name="the lease is never renewed in the store",
        promise=RESCUE,
        file="sql/postgres.sql",
        old="""\
    UPDATE fastsched.nodes SET lease_until = clock_timestamp() + :lease * interval '1 second'
    WHERE no = :node RETURNING no""",
        new="""\
    UPDATE fastsched.nodes SET lease_until = lease_until + 0 * :lease * interval '1 second'
    WHERE no = :node RETURNING no""",
        tests=("cluster/test_leases.py::test_a_node_that_tends_its_place_outlives_its_lease",),
    ),
    Defect(
        name="a node does not notice that its lease was renewed",
        promise=RESCUE,
        file="stores/postgres.py",
        old="""\
        if tended.stands:
            place.renewed(sent_at)
        else:""",
        new="""\
        if not tended.stands:""",
        tests=("cluster/test_leases.py::test_a_node_that_tends_its_place_outlives_its_lease",),
    ),
    Defect(
        name="a lease counts from the answer to its renewal, which may be late",
        promise=RESCUE,
        file="stores/postgres.py",
        old="place.renewed(sent_at)",
        new="place.renewed(boot_seconds())",
        tests=("cluster/test_leases.py::test_a_lease_counts_from_before_its_renewal_was_sent",),
    ),
    Defect(
        name="a node whose lease is over goes on starting jobs",
        promise=RESCUE,
        file="pool.py",
        old="""\
        if not self._presence.holds():  # asked last: this process may have been frozen meanwhile
            self._presence.leave(slot)
            return RELEASE
""",
        new="",
        tests=(
            "unit/test_pool.py::"
            "test_a_job_is_not_started_when_the_place_was_lost_while_its_start_was_written",
        ),
    ),
    Defect(
        name="a node that lost its place goes on under its old identity",
        promise=RESCUE,
        file="node.py",
        old="""\
            self._lose_place()
            return""",
        new="""\
            return""",
        tests=(
            "cluster/test_postgres.py::test_a_node_that_others_count_as_dead_takes_a_new_identity",
        ),
    ),
    Defect(
        name="a node that was counted out is given jobs",
        promise=RESCUE,
        file="sql/sqlite.sql",
        old="""\
                AND EXISTS (SELECT 1 FROM fastsched_nodes WHERE id = :node)
              ORDER BY priority DESC""",
        new="""\
              ORDER BY priority DESC""",
        tests=("store/test_claims.py::test_only_a_registered_node_is_given_jobs",),
    ),
    Defect(
        name="the sessions of a frozen node are left open, with their locks",
        promise=RESCUE,
        file="stores/postgres.py",
        old="""\
            end_sessions(db)
            judge""",
        new="""\
            judge""",
        tests=("cluster/test_frozen.py",),
    ),
    Defect(
        name="a free lock counts as death at once after the database has restarted",
        promise=RESCUE,
        file="stores/postgres_nodes.py",
        old="RELOCK_GRACE = 5.0",
        new="RELOCK_GRACE = 0.0",
        tests=("cluster/test_servers.py::test_a_server_that_goes_down_under_load_loses_nothing",),
    ),
    Defect(
        name="a node that lost its connection does not lock again",
        promise=RESCUE,
        file="stores/postgres.py",
        old="self._keeps = Link(url, self.clock, self._deadlines, on_connect=self._lock_again)",
        new="self._keeps = Link(url, self.clock, self._deadlines)",
        tests=("cluster/test_links.py::test_a_node_that_lost_its_connection_locks_again",),
    ),
    Defect(
        name="a node that did not get its lock back does not try again",
        promise=RESCUE,
        file="stores/postgres.py",
        old="if not place.locked and not self._keeps.pooled:",
        new="if not self._places:",
        tests=("cluster/test_links.py::test_a_lock_that_a_lost_session_still_has_does_not_count",),
    ),
    Defect(
        name="SQLite: the child of a fork inherits the lock of its parent's node",
        promise=RESCUE,
        file="stores/sqlite.py",
        old="            presence.forsake()\n",
        new="            presence.stands()\n",
        tests=(
            "durability/test_forks.py::"
            "test_a_child_that_outlives_its_killed_parent_does_not_hold_its_jobs",
        ),
    ),
    Defect(
        name="PostgreSQL: the child of a fork inherits the session of its parent's node",
        promise=RESCUE,
        file="stores/postgres_link.py",
        old="            os.close(db.fileno())\n",
        new="",
        tests=("cluster/test_forks.py",),
    ),
    Defect(
        name="PostgreSQL: the child of a fork inherits the calls of its parent's threads",
        promise=RESCUE,
        file="stores/deadlines.py",
        old="""\
        for duplicate in self._duplicates:
            os.close(duplicate)""",
        new="""\
        self._duplicates.clear()""",
        tests=("cluster/test_forks.py",),
    ),
    # Poison ---------------------------------------------------------------------------------------
    Defect(
        name="SQLite: a crash is charged to nobody",
        promise=POISON,
        file="stores/sqlite.py",
        old="if len(running) == 1:",
        new="if len(running) == 0:",
        tests=(
            "store/test_nodes.py::test_a_job_that_kills_its_process_is_buried_after_three_crashes",
        ),
    ),
    Defect(
        name="PostgreSQL: a crash is charged to nobody",
        promise=POISON,
        file="stores/postgres.py",
        old="rows = [] if alone is None else",
        new="rows = [] if alone is not None else",
        tests=(
            "store/test_nodes.py::test_a_job_that_kills_its_process_is_buried_after_three_crashes",
        ),
    ),
    Defect(
        name="SQLite: of jobs that ran together the first is charged",
        promise=POISON,
        file="stores/sqlite.py",
        old="if len(running) == 1:",
        new="if len(running) >= 1:",
        tests=(
            "store/test_nodes.py::"
            "test_of_jobs_that_ran_together_nobody_is_charged_and_each_runs_alone_next",
        ),
    ),
    Defect(
        name="SQLite: what ran when the machine went down is charged with a crash",
        promise=POISON,
        file="stores/presence.py",
        old="if content[1 : 1 + len(boot)] != boot:",
        new="if not content:",
        tests=("store/test_power_cuts.py",),
    ),
    Defect(
        name="PostgreSQL: the start of a suspect is not written down",
        promise=POISON,
        file="stores/postgres_nodes.py",
        old="if job.suspect:",
        new="if job.suspect is None:",
        tests=(
            "store/test_nodes.py::test_a_job_that_kills_its_process_is_buried_after_three_crashes",
        ),
    ),
    Defect(
        name="a run that ends in order leaves the crashes before it counted",
        promise=POISON,
        file="sql/postgres.sql",
        old="failure = coalesce(held.failure::json, j.failure), suspect = false, crashes = 0",
        new="failure = coalesce(held.failure::json, j.failure), suspect = false",
        tests=("store/test_nodes.py::test_an_orderly_failure_clears_the_crashes",),
    ),
    Defect(
        name="PostgreSQL: a job is charged with a crash because it ran alone once",
        promise=POISON,
        file="sql/postgres.sql",
        old="WHERE id = :id::text::uuid AND state = 'claimed' AND node = :node AND suspect",
        new="WHERE id = :id::text::uuid AND state = 'claimed' AND node = :node",
        tests=("store/test_nodes.py::test_who_was_cleared_is_not_charged_with_a_later_crash",),
    ),
    Defect(
        name="suspects run beside others",
        promise=POISON,
        file="backlog.py",
        old="if self._running == 0:",
        new="if self._running >= 0:",
        tests=("unit/test_backlog.py::test_a_suspect_runs_alone",),
    ),
    # Time -----------------------------------------------------------------------------------------
    Defect(
        name="a node tells the store's time by its own clock",
        promise=STORE_TIME,
        file="clock.py",
        old="self._offsets.append(store_time - time.monotonic())",
        new="self._offsets.append(time.time() - time.monotonic())",
        tests=("cluster/test_wrong_clocks.py",),
    ),
    Defect(
        name="leases are counted by the wall clock, which may be set back",
        promise=STORE_TIME,
        file="clock.py",
        old="return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()",
        new="return time.time()",
        tests=("cluster/test_leases.py::test_a_wall_clock_that_is_set_back_makes_no_lease_longer",),
    ),
    Defect(
        name="due times are reckoned by the clock of who enqueues",
        promise=STORE_TIME,
        file="stores/postgres_batches.py",
        old='"ats": [_float(j.at) for j in jobs],',
        new="""\
        "ats": [
            __import__("fastsched").clock.SystemClock().now() + j.delay if j.at is None else j.at
            for j in jobs
        ],""",
        tests=("cluster/test_wrong_clocks.py",),
    ),
    # Order ----------------------------------------------------------------------------------------
    Defect(
        name="PostgreSQL: a claim takes the lowest priority first",
        promise=ORDER,
        file="sql/postgres.sql",
        old="ORDER BY priority DESC, due_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED",
        new="ORDER BY priority, due_at, seq LIMIT :limit FOR UPDATE SKIP LOCKED",
        tests=("store/test_claims.py::test_claims_take_by_priority_then_due_time_then_insertion",),
    ),
    Defect(
        name="SQLite: a claim takes the lowest priority first",
        promise=ORDER,
        file="sql/sqlite.sql",
        old="ORDER BY priority DESC, due_at, seq LIMIT :limit)",
        new="ORDER BY priority, due_at, seq LIMIT :limit)",
        tests=("store/test_claims.py::test_claims_take_by_priority_then_due_time_then_insertion",),
    ),
    Defect(
        name="jobs claimed ahead of time are started at once",
        promise=ORDER,
        file="backlog.py",
        old="if job.due_at > now:",
        new="if job.due_at > now + 1e9:",
        tests=(
            "scheduler/test_order.py::test_a_future_job_starts_on_time_and_blocks_nothing_before",
        ),
    ),
    Defect(
        name="jobs claimed ahead of time are not started when they are due",
        promise=ORDER,
        file="backlog.py",
        old="due = self._timers.pop_due(self._clock.now(), _TIMERS_AT_ONCE)",
        new="due = self._timers.pop_due(0.0, _TIMERS_AT_ONCE)",
        tests=("unit/test_backlog.py::test_a_future_job_never_blocks_a_ready_one",),
    ),
    Defect(
        name="SQLite: due jobs are not promoted to ready ones",
        promise=ORDER,
        file="sql/sqlite.sql",
        old="WHERE state = 'scheduled' AND due_at <= :now ORDER BY due_at LIMIT :limit);",
        new="WHERE state = 'scheduled' AND due_at <= :now - 1e9 ORDER BY due_at LIMIT :limit);",
        tests=(
            "store/test_claims.py::test_due_jobs_take_their_turn_though_ready_ones_fill_the_claim",
        ),
    ),
    Defect(
        name="PostgreSQL: due jobs are not promoted to ready ones",
        promise=ORDER,
        file="sql/postgres.sql",
        old="""\
    WHERE state = 'scheduled' AND due_at <= statement_timestamp()
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED""",
        new="""\
    WHERE state = 'scheduled' AND due_at <= 'epoch'
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED""",
        tests=(
            "store/test_claims.py::test_due_jobs_take_their_turn_though_ready_ones_fill_the_claim",
        ),
    ),
    Defect(
        name="the heap in Python: sinking overlooks the last child",
        promise=ORDER,
        file="_heap_py.py",
        old="if index + 1 < end and",
        new="if index + 2 < end and",
        tests=("heap/test_contract.py",),
    ),
    Defect(
        name="the heap in Cython: sinking overlooks the last child",
        promise=ORDER,
        file="_heap.pyx",
        old="            if child + 1 < self._count:\n",
        new="            if child + 2 < self._count:\n",
        tests=("heap/test_contract.py",),
    ),
    # Data -----------------------------------------------------------------------------------------
    Defect(
        name="NaN is accepted, and comes back as None",
        promise=DATA,
        file="codec.py",
        old="_PLAIN = frozenset({str, int, bool, type(None)})",
        new="_PLAIN = frozenset({str, int, bool, float, type(None)})",
        tests=(
            "unit/test_codec.py::test_an_argument_itself_is_looked_at_as_closely_as_what_is_inside_one",
        ),
    ),
    Defect(
        name="the heap takes NaN for a due time, which comes before and after nothing",
        promise=ORDER,
        file="_heap_py.py",
        old="if not math.isfinite(value):",
        new="if math.isinf(value):",
        tests=("heap/test_contract.py::test_a_due_time_is_finite",),
    ),
    # Interrupts, secrets --------------------------------------------------------------------------
    Defect(
        name="an interrupt is thrown into a call of the scheduler",
        promise=HANDLER,
        file="context.py",
        old="            if self._shields:\n",
        new="            if self._shields < 0:\n",
        tests=("unit/test_context.py::test_nothing_is_thrown_into_the_scheduler_s_own_code",),
    ),
    Defect(
        name="a call of the scheduler is not shielded from interrupts",
        promise=HANDLER,
        file="scheduler.py",
        old="""\
    @unbroken
    def state(""",
        new="""\
    def state(""",
        tests=("scheduler/test_stopping.py::test_no_call_of_the_scheduler_is_broken_into",),
    ),
    Defect(
        name="a handler that returns does not wait for the interrupt that is on its way",
        promise=HANDLER,
        file="interrupt.py",
        old="            self._thrown.acquire()\n            _clear",
        new="            _clear",
        tests=("unit/test_interrupt.py",),
    ),
    Defect(
        name="errors show the password of the database",
        promise=SECRETS,
        file="stores/postgres_link.py",
        old="""user = f"{given['user']}@" if given.get("user") else \"\"""",
        new="""user = f"{given['user']}:{given.get('password')}@" if given.get("user") else \"\"""",
        tests=("cluster/test_links.py::test_no_error_of_a_connection_shows_its_password",),
    ),
)
