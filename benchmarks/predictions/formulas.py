"""What Kafka's rules and default settings say of each scenario beside this file, in words and as bounds; none of it comes from the simulator."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """What Kafka's rules say of an indicator, in words and as bounds."""

    indicator: str
    words: str
    low: float
    high: float


_FENCE = "fence after 9 s + U(0, 1.125) - U(0, 2)"
FORMULAS: dict[str, tuple[Formula, ...]] = {
    "01-leader-killed-java": (
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.1, 1.2)", 7.1, 11.3),
        Formula("lost", "none with acks=all", 0, 0),
        Formula("duplicate_deliveries.log", "none: idempotent", 0, 0),
    ),
    "02-leader-killed-and-restarted": (
        Formula("write_gap[orders]", f"{_FENCE}: a quick restart wins nothing", 7.0, 12.3),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "03-leader-killed-librdkafka-default": (
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.4, 2.2)", 7.0, 12.3),
        Formula("lost", "none with acks=all", 0, 0),
        Formula("duplicate_deliveries.log", "at most what was in flight", 0, 50),
    ),
    "04-leader-killed-acks-1": (
        Formula("lost", "at most the replication lag, some 0.1 s of 400/s", 0, 40),
        Formula("gap[work]", f"{_FENCE}, leader found after U(0.4, 2.2)", 7.0, 12.3),
    ),
    "05-follower-killed": (
        Formula("write_gap[orders]", f"{_FENCE}: the high watermark waits for it", 7.0, 10.7),
        Formula("gap[work]", "the same for consumers", 7.0, 10.7),
        Formula("lost", "none", 0, 0),
    ),
    "06-follower-killed-acks-1": (
        Formula("write_gap[orders]", "none: the leader answers alone", 0, 0.5),
        Formula("gap[work]", f"{_FENCE}: the high watermark waits for it", 7.0, 10.7),
    ),
    "07-leader-stopped": (
        Formula("write_gap[orders]", "leaders move first; clients look for 0.1 to 0.6 s", 0.02, 1.0),
        Formula("lost", "none", 0, 0),
    ),
    "08-member-killed-classic": (
        Formula("gap[work]", "45 s - U(0, 3) + U(0, 3), and a rebalance", 42, 49),
        Formula("lag.max", "a third of 300/s, as long as nobody reads it", 3600, 5700),
        Formula("duplicate_effects", "at most 5 s of a member's 100/s", 0, 520),
        Formula("lost", "none", 0, 0),
    ),
    "09-member-killed-consumer": (
        Formula("gap[work]", "45 s - U(0, 5) + U(0, 5)", 40, 50.5),
        Formula("lag.max", "a third of 300/s, as long as nobody reads it", 3400, 5900),
        Formula("duplicate_effects", "at most 5 s of a member's 100 to 120/s", 0, 600),
    ),
    "10-member-leaves-classic": (
        Formula("gap[work]", "heard of at the next heartbeat: U(0, 3), and a rebalance", 0, 4),
        Formula("duplicate_effects", "none: it commits first", 0, 0),
    ),
    "11-member-leaves-consumer": (
        Formula("gap[work]", "heard of at the next heartbeat: U(0, 5)", 0, 5.6),
        Formula("duplicate_effects", "none: it commits first", 0, 0),
    ),
    "12-drain": (
        Formula("drain_time[work]", "lambda (T - 1 s) / (mu - lambda), T 12 to 15.5 s, mu 480 to 500/s", 15.5, 25),
    ),
    "21-member-hangs-in-a-transaction": (
        Formula(
            "gap[committed]",
            "if a transaction is open when it hangs: transaction.timeout.ms, 60 s from its begin up to 1 s before, + U(0, 10)",
            0,
            72,
        ),
        Formula("gap[uncommitted]", "none: the other member goes on", 0, 3),
        Formula("lost", "none", 0, 0),
    ),
    "23-share-holder-hangs": (
        Formula(
            "latency[work].max", "if it holds a record when it hangs: the lock of 30 s, and what is under way", 0, 31.5
        ),
        Formula("passed", "none: 2 deliveries of 5", 0, 0),
    ),
    "24-share-holder-killed": (
        Formula("latency[work].max", "released when its connections close", 0, 0.8),
        Formula("passed", "none", 0, 0),
    ),
    "25-share-release-loop": (
        Formula("passed", "given up after the fifth delivery: the three poison events", 3, 3),
        Formula("duplicate_deliveries", "four more of each", 12, 12),
    ),
    "31-java-member-killed-classic": (
        Formula("gap[work]", "45 s - U(0, 3) + U(0, 3), and a rebalance", 42, 49),
        Formula("lag.max", "a third of 300/s, as long as nobody reads it", 3600, 5700),
        Formula("duplicate_effects", "at most 5 s of a member's 100/s, and a poll", 0, 520),
        Formula("passed", "none: auto commits what earlier calls handed over", 0, 0),
    ),
    "32-java-member-killed-consumer": (
        Formula("gap[work]", "45 s - U(0, 5) + U(0, 5)", 40, 50.5),
        Formula("lag.max", "a third of 300/s, as long as nobody reads it", 3400, 5900),
        Formula("duplicate_effects", "at most 5 s of a member's 100 to 120/s, and a poll", 0, 620),
        Formula("passed", "none: auto commits what earlier calls handed over", 0, 0),
    ),
    "33-java-auto-commit-killed-in-a-batch": (
        Formula("passed", "none: only a call commits, and only what earlier ones handed over", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "34-leader-hangs-java": (
        Formula("write_gap[orders]", "request.timeout.ms, 30 s, although others lead after 9 s", 29.5, 31.5),
        Formula("gap[work]", "the same for members", 29.5, 32),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "13-auto-commit-killed-in-a-batch": (
        Formula("passed", "at most one batch of 500", 0, 500),
        Formula("lost", "none: the log has them", 0, 0),
    ),
    "14-leader-hangs-5s": (
        Formula(
            "write_gap[orders]", "as long as it hangs, from the first event that waits: connections go on", 4.9, 5.4
        ),
        Formula("lost", "none", 0, 0),
    ),
    "15-leader-hangs-20s-acks-1": (
        Formula("write_gap[orders]", "as long as it hangs, and a look for the new leader", 19.9, 21.5),
        Formula("lost", "lambda T = 100/s * 20 s, and up to 0.4 s more: acknowledged in vain", 1850, 2250),
    ),
    "16-leader-hangs-80s-java": (
        Formula("write_gap[orders]", "request.timeout.ms = 30 s, and a look for the new leader", 30.0, 31.5),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "17-leader-hangs-80s-librdkafka": (
        Formula("write_gap[orders]", "socket.timeout.ms = 60 s, and a look for the new leader", 60.0, 72.0),
        Formula("gap[work]", "60 s and up to a fetch's wait, and a look for the new leader", 59.5, 73.0),
    ),
    "18-controller-killed": (
        Formula(
            "write_gap[orders]",
            "2.03 to 2.06 s for another controller, a session of 9 s, a look for the leader",
            11.0,
            13.7,
        ),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "19-follower-cut-off": (
        Formula(
            "write_gap[orders]", "replica.lag.time.max.ms = 30 s, and up to half of it to the next look", 29.9, 46.5
        ),
        Formula("lost", "none", 0, 0),
    ),
    "20-all-followers-cut-off": (
        Formula(
            "write_gap[orders]", "as long as the cut, up to 2 s into the in-sync set, 1.2 s to the next try", 49.9, 53.2
        ),
        Formula("lost", "none", 0, 0),
    ),
    "21-all-followers-cut-off-acks-1": (
        Formula("write_gap[orders]", "none: the leader answers alone", 0, 0.5),
        Formula("gap[work]", "as long as the cut, and up to 2 s into the in-sync set: nothing is visible", 49.9, 53.2),
    ),
    "22-leader-isolated-acks-1": (
        Formula("lost", "lambda (60 s - F) = 50/s * (49.9 to 53 s): acknowledged in vain", 2350, 2800),
        Formula("write_gap[orders]", "none: the old leader goes on answering", 0, 0.5),
    ),
    "23-leader-isolated-java": (
        Formula("write_gap[orders]", "request.timeout.ms = 30 s from the fence on", 29.9, 31.5),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "24-two-followers-killed": (
        Formula(
            "write_gap[orders]",
            "20 s, a start, 3 to 6 s into the in-sync set, and the wait for the next try",
            20.0,
            28.5,
        ),
        Formula("lost", "none", 0, 0),
    ),
    "25-records-deleted": (
        Formula("expired[work]", "lambda (15 s - 1 s) = 100/s * 14 s, deleted unread", 1250, 1560),
        Formula(
            "passed[work]",
            "lambda (6 s + U(0, 5)): there and skipped when the heartbeat brings the assignment",
            500,
            1250,
        ),
    ),
    "41-member-does-not-call": (
        Formula("gap[work]", "max.poll.interval.ms = 12 s, and U(0, 3) until the others hear of it", 11.9, 16.0),
        Formula("duplicate_effects", "at most what was not committed: 1 s of a member's 100/s, and a batch", 0, 250),
        Formula("lost", "none", 0, 0),
    ),
    "42-retry-topic": (
        Formula("latency[work].max", "back from the retry topic when its backoff of 2 s is over", 2.0, 2.3),
        Formula("latency[work].p50", "nobody is held up by it", 0, 0.05),
        Formula("dead_lettered", "none: the second try works", 0, 0),
    ),
    "43-leader-moved": (
        Formula("write_gap[orders]", "nobody waits for a session; clients look for 0.1 to 0.6 s", 0.02, 1.0),
        Formula("lost", "none", 0, 0),
    ),
    "44-producer-over-its-quota": (
        Formula(
            "write_gap[orders]",
            "what was kept back goes in one request: each wait is (rate - quota) / quota = 4 times the one before, the last one at most 5 * 30 s - 10 s",
            7,
            140,
        ),
        Formula("lost", "none: the connection waits, nothing is refused", 0, 0),
    ),
    "46-member-killed-in-a-transaction": (
        Formula(
            "gap[committed]",
            "if a transaction is open when it dies: 8 s until it is back and aborts it, a rebalance, and the batch again",
            0,
            16,
        ),
        Formula("duplicate_effects[committed]", "none: what was open is aborted", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "47-leader-killed-under-transactions": (
        Formula("gap[committed]", f"{_FENCE}, and the batch that waited for it, or once more", 0, 18),
        Formula("duplicate_effects[committed]", "none: a batch is committed whole or aborted", 0, 0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "27-leader-killed-acks-1-java": (
        Formula("lost", "at most the replication lag, some 0.1 s of 400/s", 0, 40),
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.1, 1.2)", 7.1, 11.3),
    ),
    "29-steady-by-linger": (
        Formula("ack_latency[orders].p50", "linger 0: T_commit, 0.4 to 5 ms", 0.0004, 0.006),
        Formula(
            "ack_latency[payments].p50",
            "n = 1 + 167/s * 5 ms = 1.8 events a batch: 1/n of them wait 5 ms, so the median does, and T_commit",
            0.0052,
            0.0105,
        ),
        Formula(
            "ack_latency[shipments].p50",
            "n = 1 + 167/s * 50 ms = 9.4: 1/n wait 50 ms, the others U(0, 50): n / (n - 1) * 25 ms, and T_commit",
            0.0265,
            0.035,
        ),
        Formula("ack_latency[shipments].p90", "1/n = 11 % wait the whole 50 ms, and T_commit", 0.049, 0.058),
    ),
    "30-steady-even": (
        Formula(
            "ack_latency[orders].p50", "of 5, 3 and 1 ms the middle one, and T_commit, 0.4 to 5 ms", 0.0033, 0.0085
        ),
        Formula("ack_latency[orders].p90", "5 ms, and T_commit, now and then longer", 0.0053, 0.013),
    ),
    "35-leader-hangs-20s-librdkafka-default": (
        Formula("write_gap[orders]", "as long as it hangs, and a look for the new leader", 19.9, 22.5),
        Formula("lost", "none with acks=all: what the old leader appends it does not acknowledge", 0, 0),
    ),
    "36-leader-hangs-short-timeouts": (
        Formula(
            "write_gap[orders]",
            "socket.timeout.ms = 12 s, looked at every second, and a look for the leader",
            11.9,
            15.0,
        ),
        Formula("gap[work]", "12 s and up to a fetch's wait of 0.5 s, and the same", 11.4, 16.0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "37-leader-hangs-short-timeouts-java": (
        Formula("write_gap[orders]", "request.timeout.ms = 12 s, and a look for the leader", 11.9, 13.5),
        Formula("gap[work]", "12 s from the last fetch on, up to 0.5 s before, and a look for the leader", 11.4, 14.0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "38-member-killed-cooperative": (
        Formula("gap[work]", "session.timeout.ms = 10 s - U(0, 3) + U(0, 3), and a rebalance", 7.0, 14.5),
        Formula("duplicate_effects", "at most 1 s of a member's 100/s, and a batch", 0, 180),
        Formula("lost", "none", 0, 0),
    ),
    "39-member-joins-classic": (
        Formula("gap[work]", "all stop when they hear of it, U(0, 3), and wait for the last one", 0, 3.6),
        Formula("duplicate_effects", "none: they commit before they give up", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "40-member-joins-consumer": (
        Formula("gap[work]", "what moves waits for the new member's next heartbeat: U(0, 5)", 0, 5.6),
        Formula("duplicate_effects", "none: they commit before they give up", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "48-all-brokers-killed": (
        Formula(
            "write_gap[orders]",
            f"{_FENCE}, up to 2 s to the next try to register, 1 to 4 s to recover and catch up, reconnect.backoff.max.ms = 1 s",
            7.5,
            18.0,
        ),
        Formula("lost", "none with acks=all: the last known leader has all of it, and its machine lives", 0, 0),
    ),
    "49-partitions-added": (
        Formula(
            "passed[work]",
            "half of lambda * (U(0, 12) - U(0, 1)) = 50/s * up to 12 s: written before the member asks for metadata, and a rebalance",
            0,
            720,
        ),
        Formula("lost", "none", 0, 0),
    ),
    "51-member-joins-behind-a-long-poll-loop": (
        Formula("gap[work]", "what moves is given up at the next call, after 10 s, and read U(0, 5) later", 9.9, 15.8),
        Formula("lost", "none", 0, 0),
    ),
    "52-zombie-in-a-transaction": (
        Formula(
            "gap[committed]",
            "if a transaction is open when it hangs: 14 s until it is back, the rest of its batch (0.6 s), and it is no member any more: abort",
            0,
            17.5,
        ),
        Formula("duplicate_effects[committed]", "none: its group's generation is over, so its commit is refused", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "53-input-leader-killed-under-transactions": (
        Formula(
            "gap[wrap]",
            f"{_FENCE}, leader found after U(0.4, 2.2); if the transactions' coordinator dies with it: reconnect.backoff.max.ms = 10 s",
            7.0,
            22.0,
        ),
        Formula("duplicate_effects[committed]", "none: offsets are part of the transaction", 0, 0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "54-coordinator-killed-under-transactions": (
        Formula(
            "gap[committed]",
            f"{_FENCE}: the transaction's end waits for another coordinator (over 15 s: for another client), and the batch, or once more",
            0,
            20,
        ),
        Formula("duplicate_effects[committed]", "none: a batch is committed whole or aborted", 0, 0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "55-coordinator-hangs-under-transactions": (
        Formula(
            "gap[committed]",
            "as long as it hangs, 12 s, another coordinator (over 15 s: another client), and the batch that waited, or once more",
            0,
            20,
        ),
        Formula("duplicate_effects[committed]", "none: a batch is committed whole or aborted", 0, 0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "26-saturated-producer": (
        Formula(
            "ack_latency[orders].max",
            "X = 16 events / (2 * 20 ms + T_commit, 0.5 to 8 ms) = 333 to 395/s: (600/s / X - 1) * 10 s for the last one",
            5.1,
            8.1,
        ),
        Formula("lost", "none", 0, 0),
    ),
    "28-requests-queue-up": (
        Formula(
            "ack_latency[orders].max",
            "one event a request, T_commit = 2 * 10 ms + 0.5 to 6 ms: latency grows by 1 - 1 / (160/s * T_commit) for 5 s",
            10.0,
            16.5,
        ),
        Formula(
            "ack_latency[payments].p99",
            "bounded: five events under way, what comes meanwhile is one request",
            0.02,
            0.3,
        ),
        Formula("lost", "none", 0, 0),
    ),
    "45-unclean-election": (
        Formula("lost", "lambda * 10 s = 100/s from the cut to the crash: no other replica has it", 950, 1020),
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.4, 2.2)", 7.0, 12.3),
    ),
    "56-all-followers-cut-off-one-suffices": (
        Formula(
            "write_gap[orders]", "replica.lag.time.max.ms = 10 s, and up to half of it to the next look", 9.5, 15.8
        ),
        Formula("gap[work]", "the same for members: the high watermark stands still until then", 9.5, 15.8),
        Formula("lost", "none", 0, 0),
    ),
    "50-preferred-leader-is-back": (
        Formula("write_gap[orders, broker_stop]", "leaders move first; clients look for 0.1 to 0.6 s", 0.005, 1.0),
        Formula(
            "write_gap[orders, broker_crash]",
            "none: the preferred replica leads again since the next look, every 10 s, and acks=1 needs no follower",
            0,
            0.5,
        ),
        Formula("gap[work, broker_crash]", f"{_FENCE}: the high watermark waits for the follower", 7.0, 10.7),
    ),
}
