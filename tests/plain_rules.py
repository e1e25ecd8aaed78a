"""The rules of the plain model that can be left out, one by one, to see that the comparison notices."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Rules that the mutation check leaves out in turn, to see that the comparison notices."""

    # Producers: calls, room, partitions
    producers_die: bool = True
    producers_hang: bool = True
    second_times_left_out: bool = True
    second_times_are_new: bool = True
    blocks_when_full: bool = True
    buffer_limit: bool = True
    size_limit: bool = True
    sticky_partitions: bool = True
    sticky_by_bytes: bool = True
    processes_ask: bool = True
    clients_ask: bool = True

    # Producers: batches, and when they go
    linger: bool = True
    sleeps_in_steps: bool = True
    oversleeping: bool = True
    first_event_wakes: bool = True
    answers_wake: bool = True
    full_by_events: bool = True
    full_by_bytes: bool = True
    in_flight_limit: bool = True
    events_in_flight: bool = True
    one_batch_of_each: bool = True
    request_limit: bool = True
    batch_limit: bool = True

    # Producers: service, answers, retries
    connection_queue: bool = True
    answers_in_order: bool = True
    visible_in_order: bool = True
    times_by_size: bool = True
    acks_0_at_once: bool = True
    acks_1_at_leader: bool = True
    acks_all_waits: bool = True
    request_timeout: bool = True
    request_scans: bool = True
    acks_timeout: bool = True
    delivery_timeout: bool = True
    given_up_leave_queues: bool = True
    retry_backoff: bool = True
    backoff_doubles: bool = True
    new_leader_without_backoff: bool = True
    java_asks_after_errors: bool = True
    one_at_a_time_after_errors: bool = True
    resend_after_loss: bool = True
    sent_again_in_order: bool = True
    dedupe_of_resent: bool = True

    # Producers: transactions
    producers_transactions: bool = True
    one_transaction_at_a_time: bool = True
    producers_coordinator: bool = True
    refusals_break_transactions: bool = True
    broken_takes_nothing: bool = True
    out_of_order: bool = True

    # Brokers that fail
    stall_of_survivors: bool = True
    early_followers: bool = True
    takeover: bool = True
    loss_with_acks_1: bool = True
    followers_have_some: bool = True
    fence_of_silent: bool = True
    stale_leader: bool = True
    hung_requests_wait: bool = True
    pauses_are_no_crashes: bool = True
    stalls_are_no_crashes: bool = True
    page_cache: bool = True
    racks: bool = True
    controlled_shutdown: bool = True
    registration_waits: bool = True
    catch_up: bool = True
    controller_lost: bool = True
    controller_resigns: bool = True
    sessions_begin_anew: bool = True

    # Brokers: replicas and leaders
    min_in_sync: bool = True
    not_enough_replicas: bool = True
    refused_after_append: bool = True
    mark_waits: bool = True
    eligible_leaders: bool = True
    crashed_not_eligible: bool = True
    unclean_elections: bool = True
    kept_by_replicas: bool = True
    shrink_of_in_sync: bool = True
    elected_in_order: bool = True
    preferred_leader: bool = True
    leader_moves: bool = True
    leaders_move_back: bool = True
    new_replicas_copy: bool = True
    old_replicas_leave: bool = True
    added_where_somebody_is_up: bool = True
    added_in_sync_if_up: bool = True

    # Links, quotas, clocks, cores
    cuts_between_brokers: bool = True
    cuts_off_the_controller: bool = True
    steps_down: bool = True
    cuts_off_clients: bool = True
    resets_break_connections: bool = True
    one_way_cuts: bool = True
    slow_links: bool = True
    jitter: bool = True
    narrow_links: bool = True
    slow_followers: bool = True
    quotas: bool = True
    quotas_of_groups: bool = True
    quotas_of_requests: bool = True
    answers_within_quotas: bool = True
    producer_clock: bool = True
    broker_clock: bool = True
    shared_cores: bool = True
    followers_fetch_together: bool = True
    work_in_proportion: bool = True
    leader_waits_its_share: bool = True
    answers_hold_cores: bool = True
    rest_of_brokers: bool = True
    rest_of_all: bool = True

    # Logs: what is deleted, and what compaction leaves
    retention: bool = True
    retention_changes: bool = True
    retention_by_bytes: bool = True
    segments_roll: bool = True
    whole_segments: bool = True
    last_segment_goes: bool = True
    deleted_by_hand: bool = True
    compaction: bool = True
    least_dirty: bool = True
    compaction_lag: bool = True
    last_segment_is_kept: bool = True
    overdue_is_compacted: bool = True
    aborted_records_go: bool = True

    # Consumers: fetches and calls
    fetch_limits: bool = True
    fetch_min_bytes: bool = True
    fetches_by_calls: bool = True
    no_fetch_beside_records: bool = True
    taken_first: bool = True
    offset_reset: bool = True
    no_reset: bool = True
    wakes_late: bool = True
    collects_until_full: bool = True
    calls_take_time: bool = True
    most_per_poll: bool = True

    # Consumers: work, and what fails
    least_work: bool = True
    overshoot_apart: bool = True
    recorded_in_order: bool = True
    slow_work: bool = True
    failing_work: bool = True
    poison_fails: bool = True
    first_tries_fail: bool = True
    backoff: bool = True
    letters_are_waited_for: bool = True
    javas_partitioner: bool = True
    retry_topics_wait: bool = True
    copies_go_around: bool = True
    dedupe: bool = True
    dedupe_window: bool = True
    own_memory_is_lost: bool = True
    restart_backoff: bool = True
    long_lives_count_anew: bool = True

    # Consumers: commits
    commits_are_waited_for: bool = True
    commits_in_order: bool = True
    commits_outlast_tries: bool = True
    commits_before_work: bool = True
    commits_before_duties: bool = True
    auto_commits_at_calls: bool = True
    one_auto_commit: bool = True
    collected_counts: bool = True
    finishes_what_it_collected: bool = True
    coordinator_down: bool = True
    positions_from_committed: bool = True
    final_commit: bool = True
    ends_with_empty_hands: bool = True
    emitted_before_commit: bool = True
    clients_die_with_members: bool = True
    commit_below_the_unfinished: bool = True

    # Consumers: transactions
    transactions_coordinator: bool = True
    offsets_then_end: bool = True
    stable_end: bool = True
    aborted_unseen: bool = True
    too_late_for_its_transaction: bool = True
    aborted_batches_again: bool = True
    transaction_timeout: bool = True
    successor_aborts: bool = True
    effects_with_the_commit: bool = True

    # Consumers: several workers
    order_in_pool: bool = True
    room_in_hand: bool = True
    pool_commits_first: bool = True
    drops_what_it_gives_up: bool = True
    stops_with_its_worker: bool = True

    # Groups: members, sessions, rebalances
    session_wait: bool = True
    poll_interval: bool = True
    fence_of_the_evicted: bool = True
    hangs: bool = True
    stalls: bool = True
    session_of_the_hung: bool = True
    seat_of_before: bool = True
    static_members: bool = True
    ids_are_released: bool = True
    coordinator_failover: bool = True
    initial_delay: bool = True
    range_assignor: bool = True
    round_robin_assignor: bool = True
    stickiness: bool = True
    order_of_joining: bool = True
    cooperative: bool = True
    second_round: bool = True
    begins_at_a_heartbeat: bool = True
    letters_ask: bool = True
    groups_ask: bool = True
    leaders_ask_at_rebalances: bool = True
    javas_leader_asks: bool = True
    reset_in_new_partitions: bool = True

    # Share groups
    lock_ends: bool = True
    delivery_limit: bool = True
    most_locks: bool = True
    one_run: bool = True
    most_acquired: bool = True
    late_answers_do_not_count: bool = True
    handlers_release: bool = True
    release_of_the_dead: bool = True
    release_with_the_leader: bool = True
    partitions_are_shared: bool = True
    deleted_given_up: bool = True
    gone_given_up: bool = True
    kept_by_offset: bool = True
    forgets_deliveries: bool = True

    # Dependencies
    dependency_down: bool = True
    dependency_slow: bool = True
    dependency_rate: bool = True
    full_bucket: bool = True
    dependency_places: bool = True
    refused_beyond: bool = True
    call_timeout: bool = True
    given_up_leave_the_line: bool = True
    call_chance: bool = True
    breaker: bool = True
    breaker_probes: bool = True
    open_breakers_fail: bool = True

    # What people do, and outboxes
    versions: bool = True
    one_by_one: bool = True
    canary_first: bool = True
    roll_back: bool = True
    offsets_set_back: bool = True
    empty_before_reset: bool = True
    last_ones_leave: bool = True
    scales_back: bool = True
    most_redrives: bool = True
    last_letter_counts: bool = True
    redrive_rate: bool = True
    replay_rate: bool = True
    replays_from_there: bool = True
    replays_up_to_then: bool = True
    replays_take_turns: bool = True
    cooldown: bool = True
    start_up: bool = True
    no_more_than_partitions: bool = True
    outbox: bool = True
