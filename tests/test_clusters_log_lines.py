"""What the logs of a real Kafka 4.2.1 tell; the lines are as it wrote them."""

from pathlib import Path

from loadgen.clusters.log_lines import LogIncident, parse_lines, parse_log, read_incidents

MS = 1_000_000


def test_the_controller_tells_when_it_fenced_a_broker():
    lines = [
        "1795479173949 [2026-11-24T00:12:53,949] INFO [QuorumController id=100] Fencing broker 2 at epoch 11 because its "
        "session has timed out. (ReplicationControlManager)\n",
        "1795479173952 [2026-11-24T00:12:53,952] INFO [QuorumController id=100] handleBrokerFenced: changing 12 "
        "partition(s) (ReplicationControlManager)\n",
        "1795479178052 [2026-11-24T00:12:58,052] INFO [QuorumController id=100] The request from broker 2 to unfence has "
        "been granted because it has caught up with the offset of its register broker record 103. "
        "(BrokerHeartbeatManager)\n",
    ]

    assert list(parse_lines(lines)) == [
        LogIncident(
            time_unix_ns=1795479173949 * MS,
            kind="fence",
            node=2,
            detail="epoch 11 because its session has timed out",
        ),
        LogIncident(
            time_unix_ns=1795479178052 * MS,
            kind="unfence",
            node=2,
            detail="unfence has been granted because it has caught up with the offset of its register broker record 103",
        ),
    ]


def test_a_new_leader_is_an_election_and_the_first_one_is_none():
    """A leader that stays tells in another way that the replicas in sync have changed."""
    lines = [
        "1795479153429 [2026-11-24T00:12:33,429] INFO [Broker id=1] Leader orders-4 with topic id "
        "Some(KWbtbjE7SxKSZbTqGEc8eg) starts at leader epoch 0 from offset 0 with partition epoch 0, high watermark 0, ISR "
        "[1,3,2], adding replicas [] and removing replicas [] . Previous leader None and previous leader epoch was -1. "
        "(logger)",
        "1795479174010 [2026-11-24T00:12:54,010] INFO [Broker id=1] Leader orders-3 with topic id "
        "Some(KWbtbjE7SxKSZbTqGEc8eg) starts at leader epoch 1 from offset 180 with partition epoch 1, high watermark 179, "
        "ISR [1,3], adding replicas [] and removing replicas [] . Previous leader Some(2) and previous leader epoch was 0. "
        "(logger)",
        "1795479174015 [2026-11-24T00:12:54,015] INFO [Broker id=1] Skipped the become-leader state change for orders-4 "
        "with topic id Some(KWbtbjE7SxKSZbTqGEc8eg), partition registration PartitionRegistration(isr=[1, 3], leader=1, "
        "leaderEpoch=0, partitionEpoch=1) since it is already the leader with leader epoch 0. (logger)",
        "1795479174015 [2026-11-24T00:12:54,015] INFO [Broker id=1] Follower orders-0 starts at leader epoch 1 from offset "
        "206 with partition epoch 1 and high watermark 206. Current leader is 3. Previous leader Some(2) and previous "
        "leader epoch was 0. (logger)",
    ]

    found, changed = parse_lines(lines)

    assert (changed.time_unix_ns, changed.kind, changed.node) == (1795479174015 * MS, "isr", 1)
    assert (changed.topic, changed.partition, changed.detail) == ("orders", 4, "isr=[1, 3]")
    assert (found.time_unix_ns, found.kind, found.node) == (1795479174010 * MS, "election", 1)
    assert (found.topic, found.partition) == ("orders", 3)
    assert found.detail.startswith("leader epoch 1 from offset 180 ")
    assert found.detail.endswith("Previous leader Some(2) and previous leader epoch was 0")


def test_topics_may_have_dashes_and_numbers_in_their_names():
    [found] = parse_lines(
        [
            "1795479178173 [2026-11-24T00:12:58,173] INFO [Partition eu-orders.v2-11 broker=1] ISR updated to 3,2,1  and "
            "version updated to 2 (Partition)"
        ]
    )

    assert (found.kind, found.node, found.topic, found.partition) == ("isr", 1, "eu-orders.v2", 11)
    assert found.detail == "to 3,2,1  and version updated to 2"


def test_a_classic_group_rebalances_and_loses_a_member():
    lines = [
        "1795479189052 [2026-11-24T00:13:09,052] INFO [GroupCoordinator id=3 topic=__consumer_offsets partition=1] Member "
        "rdkafka-6af1ac87-85b0-4687-a6c5-461d8c3d8173 in group classic-g has failed, removing it from the group. "
        "(GroupMetadataManager)",
        "1795479189052 [2026-11-24T00:13:09,052] INFO [GroupCoordinator id=3 topic=__consumer_offsets partition=1] "
        "Preparing to rebalance group classic-g in state PreparingRebalance with old generation 2 (reason: removing member "
        "rdkafka-6af1ac87-85b0-4687-a6c5-461d8c3d8173 on heartbeat expiration.). (GroupMetadataManager)",
        "1795479189059 [2026-11-24T00:13:09,059] INFO [GroupCoordinator id=3 topic=__consumer_offsets partition=1] "
        "Stabilized group classic-g generation 3 with 1 members. (GroupMetadataManager)",
    ]

    assert [(each.kind, each.node, each.group) for each in parse_lines(lines)] == [
        ("member_expired", 3, "classic-g"),
        ("rebalance_begin", 3, "classic-g"),
        ("rebalance_end", 3, "classic-g"),
    ]


def test_a_group_of_the_new_protocol_gets_epochs():
    lines = [
        "1795479187369 [2026-11-24T00:13:07,369] INFO [GroupCoordinator id=1 topic=__consumer_offsets partition=3] "
        "[GroupId new-g] Member eg1nRyq7QbuCVSBk75N/tg fenced from the group because the member session expired. "
        "(GroupMetadataManager)",
        "1795479187370 [2026-11-24T00:13:07,370] INFO [GroupCoordinator id=1 topic=__consumer_offsets partition=3] "
        "[GroupId new-g] Bumped group epoch to 5 with metadata hash -7000869205812372437. (GroupMetadataManager)",
        "1795479188069 [2026-11-24T00:13:08,069] INFO [GroupCoordinator id=1 topic=__consumer_offsets partition=3] "
        "[GroupId new-g] Computed a new target assignment for epoch 5 with 'uniform' assignor in 0ms. "
        "(GroupMetadataManager)",
    ]

    assert [(each.kind, each.group, each.detail) for each in parse_lines(lines)] == [
        (
            "member_expired",
            "new-g",
            "Member eg1nRyq7QbuCVSBk75N/tg fenced from the group because the member session expired",
        ),
        ("group_epoch", "new-g", "epoch to 5"),
        ("assignment", "new-g", "epoch 5"),
    ]


def test_orderly_leaving_coming_back_and_being_refused():
    lines = [
        "1795479193143 [2026-11-24T00:13:13,143] INFO [QuorumController id=100] enterControlledShutdown[3]: changing 12 "
        "partition(s) (ReplicationControlManager)",
        "1795479196549 [2026-11-24T00:13:16,549] INFO [QuorumController id=100] registerBroker: event failed with "
        "DuplicateBrokerRegistrationException in 185 microseconds. Exception message: Another broker is registered with "
        "that broker id. (QuorumController)",
        "1795479204568 [2026-11-24T00:13:24,568] INFO [QuorumController id=100] Registering a new incarnation of broker 3. "
        "Previous incarnation ID was yZa-SXYNTY2mRiwlUhMasA; new incarnation ID is LAe7YyU6Sbu6xfdt7faJzw. Generated 0 "
        "record(s) to clean up previous incarnations. Broker epoch will become 185. (ClusterControlManager)",
        "1795479204696 [2026-11-24T00:13:24,696] INFO [KafkaRaftServer nodeId=3] Kafka Server started (KafkaRaftServer)",
        "1795479277462 [2026-11-24T00:14:37,462] INFO [QuorumController id=3] Becoming the active controller at epoch 2, "
        "next write offset 193. (QuorumController)",
    ]

    assert [(each.kind, each.node) for each in parse_lines(lines)] == [
        ("controlled_shutdown", 3),
        ("register_refused", None),
        ("register", 3),
        ("started", 3),
        ("controller", 3),
    ]


def test_retention_deletes_a_segment():
    [found] = parse_lines(
        [
            "1795479182987 [2026-11-24T00:13:02,987] INFO [UnifiedLog partition=brief-0, dir=/dev/shm/eventdrill-x/n1] "
            "Deleting segment LogSegment(baseOffset=0, size=50767, lastModifiedTime=1795479157323, "
            "largestRecordTimestamp=1795479157316) due to log retention time 3000ms breach based on the largest record "
            "timestamp in the segment (UnifiedLog)"
        ]
    )

    assert (found.kind, found.node, found.topic, found.partition) == ("retention", 1, "brief", 0)
    assert "baseOffset=0" in found.detail


def test_logs_of_several_nodes_are_told_in_order_of_time(tmp_path: Path):
    """Lines that are cut off or tell something else are passed over."""
    fence = "INFO [QuorumController id=100] Fencing broker 2 at epoch 11 because its session has timed out. (Some)\n"
    leader = "INFO [Broker id=1] Leader orders-3 with topic id x starts at leader epoch 1 from offset 180. (logger)\n"
    (tmp_path / "n1.log").write_text(f"2000000000002 [at] {leader}java.lang.Exception: Fencing broker 3 at epoch 1\n")
    (tmp_path / "n100.log").write_text(f"2000000000001 [at] {fence}2000000000003 [at] {fence[:70]}")

    assert [(each.time_unix_ns, each.kind) for each in read_incidents(tmp_path)] == [
        (2000000000001 * MS, "fence"),
        (2000000000002 * MS, "election"),
    ]
    assert list(parse_log(tmp_path / "n100.log", since_unix_ns=2000000000002 * MS)) == []
