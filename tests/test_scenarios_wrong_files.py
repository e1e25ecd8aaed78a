"""Wrong scenario files: each gets every mistake named at once, with its place, the value and the way out."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

import pytest

from scenario_text import changed, complaints

WRONG: list[tuple[str, tuple[str, str], list[str]]] = [
    (
        "a negative length",
        ("for: 15s}", "for: -3s}"),
        ["small.yaml:43: faults[0].for is -3s; it lasts longer than 0 s"],
    ),
    (
        "a length of nothing",
        ("for: 15s}", "for: 0s}"),
        ["small.yaml:43: faults[0].for is 0s; it lasts longer than 0 s"],
    ),
    (
        "a bare number where a unit is due",
        ("duration: 60s", "duration: 60"),
        [
            "small.yaml:3: duration is 60 without a unit; a duration needs one of ns, us, ms, s, m, min, h, d: for example 250ms, 5s or 2m"
        ],
    ),
    (
        "a unit of something else",
        ("duration: 60s", "duration: 60MB"),
        [
            "small.yaml:3: duration is 60MB; 'MB' is no unit of a duration, which takes one of ns, us, ms, s, m, min, h, d"
        ],
    ),
    (
        "a share above everything",
        ("poison: 0.1%", "poison: 120%"),
        ["small.yaml:23: producers.shop.poison is 120%; a share is at most 100%"],
    ),
    (
        "a rate without a unit",
        ("{for: 40s, rate: 200/s}", "{for: 40s, rate: 200}"),
        [
            "small.yaml:19: producers.shop.arrivals[0].rate is 200 without a unit; a rate needs one of /s, /min, /m, /h, /d: for example 600/s or 10/min"
        ],
    ),
    (
        "a number beyond 64 bits",
        ("warm_up: 5s", "warm_up: 99999999999999d"),
        ["small.yaml:4: warm_up is 99999999999999d; that is more than can be counted in 64 bits"],
    ),
    (
        "a mistyped field",
        ("members: 3", "membrs: 3"),
        ["small.yaml:28: groups.fulfilment.membrs is no field here; did you mean 'members'?"],
    ),
    (
        "a mistyped field of the whole",
        ("warm_up:", "warmup:"),
        ["small.yaml:4: warmup is no field here; did you mean 'warm_up'?"],
    ),
    (
        "a field to come",
        ("members: 3", "members: 3\n    functions: 4"),
        [
            "small.yaml:29: groups.fulfilment.functions is part of the scenario format, and this version cannot do it yet; remove it"
        ],
    ),
    (
        "a section to come",
        ("faults:\n", "schemas: {}\nfaults:\n"),
        ["small.yaml:42: schemas is part of the scenario format, and this version cannot do it yet; remove it"],
    ),
    (
        "a missing field",
        ("duration: 60s\n", ""),
        ["small.yaml:1: duration is missing; it is how long the load runs, such as 3m"],
    ),
    (
        "a missing work time",
        ("    work: 1ms\n", ""),
        ["small.yaml:36: groups.analytics.work is missing; it is the time a handler needs, such as 2ms"],
    ),
    (
        "a mistyped fault",
        ("fault: broker_crash", "fault: broker_crsh"),
        [
            "small.yaml:43: faults[0].fault is 'broker_crsh', which is no fault; did you mean 'broker_crash'? There is broker_crash, broker_stop, broker_pause, rolling_restart, cut, slow_link, producer_crash, producer_pause, surge, member_crash, member_pause, member_leave, rolling_deploy, slow_work, failing_work, poll_stall, poison, duplicates, oversized, late, schema_change, leader_move, retention, delete_records, reassign, add_partitions, dependency_down, dependency_slow, throttle, disk_stall, disk_full, host_crash, clock_skew, hook"
        ],
    ),
    (
        "a fault to come",
        ("fault: broker_crash", "fault: access_denied"),
        [
            "small.yaml:43: faults[0].fault is 'access_denied', which is part of the scenario format, and this version cannot do it yet; there is broker_crash, broker_stop, broker_pause, rolling_restart, cut, slow_link, producer_crash, producer_pause, surge, member_crash, member_pause, member_leave, rolling_deploy, slow_work, failing_work, poll_stall, poison, duplicates, oversized, late, schema_change, leader_move, retention, delete_records, reassign, add_partitions, dependency_down, dependency_slow, throttle, disk_stall, disk_full, host_crash, clock_skew, hook"
        ],
    ),
    (
        "a fault without a kind",
        ("fault: broker_crash, ", ""),
        [
            "small.yaml:43: faults[0] has no `fault:`; it names one of broker_crash, broker_stop, broker_pause, rolling_restart, cut, slow_link, producer_crash, producer_pause, surge, member_crash, member_pause, member_leave, rolling_deploy, slow_work, failing_work, poll_stall, poison, duplicates, oversized, late, schema_change, leader_move, retention, delete_records, reassign, add_partitions, dependency_down, dependency_slow, throttle, disk_stall, disk_full, host_crash, clock_skew, hook"
        ],
    ),
    (
        "a fault without a time",
        ("at: 20s, ", ""),
        ["small.yaml:43: faults[0] has no time; a fault has one of `at: 60s`, `every: 10m` and `random: {...}`"],
    ),
    (
        "a fault with two times",
        ("at: 20s,", "at: 20s, every: 10s,"),
        [
            "small.yaml:43: faults[0] has `at` and `every`; a fault has one of `at: 60s`, `every: 10m` and `random: {...}`"
        ],
    ),
    (
        "a fault after the load",
        ("at: 20s", "at: 70s"),
        ["small.yaml:43: faults[0].at is 70s, and the load ends at 60s; a fault begins before that"],
    ),
    (
        "a broker that is not there",
        ("leader of orders/0", "4"),
        ["small.yaml:43: faults[0].broker is 4; brokers are numbered from 1 to 3"],
    ),
    (
        "a partition that is not there",
        ("leader of orders/0", "leader of orders/6"),
        ["small.yaml:43: faults[0].broker is 'leader of orders/6', and orders has the partitions 0 to 5"],
    ),
    (
        "a broker that is none",
        ("leader of orders/0", "the first"),
        [
            "small.yaml:43: faults[0].broker is 'the first'; a broker is a number from 1, `leader of TOPIC/PARTITION`, `follower of TOPIC/PARTITION` or `controller`"
        ],
    ),
    (
        "a group that is not there",
        ("group: fulfilment", "group: fulfillment"),
        ["small.yaml:44: faults[1].group is 'fulfillment', and there is no such group; did you mean 'fulfilment'?"],
    ),
    (
        "a member that is not there",
        ("fault: slow_work, group: fulfilment, factor: 4", "fault: member_crash, member: fulfilment/4"),
        [
            "small.yaml:44: faults[1].member is 'fulfilment/4', and fulfilment has the members 1 to 3",
            "small.yaml:52: expect[2] is 'drain_time[fulfilment, slow_work] < 20s', and no fault is called 'slow_work'; there is broker_crash, member_crash and before faults",
        ],
    ),
    (
        "a member without a number",
        ("fault: slow_work, group: fulfilment, factor: 4", "fault: member_crash, member: fulfilment"),
        ["small.yaml:44: faults[1].member is 'fulfilment'; a member is written GROUP/NUMBER, and numbers start at 1"],
    ),
    (
        "a producer that is not there",
        ("fault: slow_work, group: fulfilment,", "fault: surge, producer: shp,"),
        [
            "small.yaml:44: faults[1].producer is 'shp', and there is no such producer; did you mean 'shop'?",
            "small.yaml:52: expect[2] is 'drain_time[fulfilment, slow_work] < 20s', and no fault is called 'slow_work'; there is broker_crash, surge and before faults",
        ],
    ),
    (
        "a factor of zero",
        ("factor: 4", "factor: 0"),
        ["small.yaml:44: faults[1].factor is 0; it is above 0"],
    ),
    (
        "a topic that is not there",
        ("topic: orders", "topic: order"),
        ["small.yaml:15: producers.shop.topic is 'order', and there is no such topic; did you mean 'orders'?"],
    ),
    (
        "a topic read twice",
        ("topics: [orders]", "topics: [orders, orders]"),
        ["small.yaml:27: groups.fulfilment.topics[1] is 'orders' again; name each topic once"],
    ),
    (
        "a list that is a word",
        ("topics: [orders]", "topics: orders"),
        ["small.yaml:27: groups.fulfilment.topics is 'orders'; it is a list, such as [a, b]"],
    ),
    (
        "more replicas than nodes",
        ("partitions: 6, replication: 3", "partitions: 6, replication: 5"),
        [
            "small.yaml:10: topics.orders.replication is 5, and there are 3 nodes; a replica needs a broker of its own: at most 3"
        ],
    ),
    (
        "more in sync than replicas",
        ("min.insync.replicas: 2", "min.insync.replicas: 4"),
        [
            "small.yaml:10: topics.orders.settings['min.insync.replicas'] is 4, and topic orders has 3 replicas; acks=all could never be given: at most 3"
        ],
    ),
    (
        "racks for other nodes",
        ("nodes: 3}", "nodes: 3, racks: [a, b]}"),
        ["small.yaml:7: brokers.racks names 2 racks for 3 nodes; name the rack of each node, or leave racks out"],
    ),
    (
        "another broker",
        ("kind: kafka", "kind: nats"),
        [
            "small.yaml:7: brokers.kind is 'nats', which is part of the scenario format, and this version cannot do it yet; it is kafka"
        ],
    ),
    (
        "a broker that is no broker",
        ("kind: kafka", "kind: kafak"),
        ["small.yaml:7: brokers.kind is 'kafak'; it is kafka"],
    ),
    (
        "arrivals that are too short",
        ("{for: 40s", "{for: 30s"),
        [
            "small.yaml:18: producers.shop.arrivals adds up to 50s, which is 10s shorter than the duration of 60s; change a part's `for`, or the duration"
        ],
    ),
    (
        "arrivals that are too long",
        ("{for: 40s", "{for: 50s"),
        [
            "small.yaml:18: producers.shop.arrivals adds up to 70s, which is 10s longer than the duration of 60s; change a part's `for`, or the duration"
        ],
    ),
    (
        "a part without its length",
        ("{for: 40s, rate", "{rate"),
        ["small.yaml:19: producers.shop.arrivals[0] has no `for`; each part of a list says how long it lasts"],
    ),
    (
        "a ramp of three",
        ("[200/s, 300/s]", "[200/s, 300/s, 1/s]"),
        ["small.yaml:20: producers.shop.arrivals[1].rate is [200/s, 300/s, 1/s]; a ramp is written [600/s, 900/s]"],
    ),
    (
        "a spacing that is none",
        ("spacing: even", "spacing: evn"),
        [
            "small.yaml:20: producers.shop.arrivals[1].spacing is 'evn'; did you mean even? It is poisson, even or {bursts: 50}"
        ],
    ),
    (
        "keys that are none",
        ("key: {zipf: {values: 1000, exponent: 0.5}}", "key: random"),
        [
            "small.yaml:21: producers.shop.key is 'random'; it is none, sequence, {uniform: 1000}, {zipf: {values: 1000, exponent: 1.1}} or {hot: {share: 40%, values: 1000}}"
        ],
    ),
    (
        "keys of two kinds",
        ("key: {zipf: {values: 1000, exponent: 0.5}}", "key: {zipf: {values: 5, exponent: 1}, uniform: 3}"),
        [
            "small.yaml:21: producers.shop.key is {zipf: {values: 5, exponent: 1}, uniform: 3}; it is none, sequence, {uniform: 1000}, {zipf: {values: 1000, exponent: 1.1}} or {hot: {share: 40%, values: 1000}}"
        ],
    ),
    (
        "keys without an exponent",
        ("values: 1000, exponent: 0.5", "values: 1000"),
        ["small.yaml:21: producers.shop.key.zipf.exponent is missing; it is needed here"],
    ),
    (
        "a distribution that is none",
        ("{lognormal: {mean: 2ms, cv: 0.5}}", "{normal: {mean: 2ms, cv: 0.5}}"),
        [
            "small.yaml:29: groups.fulfilment.work names 'normal', which is no distribution; a duration that varies is a plain value, {exponential: V}, {lognormal: {mean: V, cv: 0.5}}, {gamma: {mean: V, cv: 0.5}}, {uniform: [V, V]}, {pareto: {min: V, shape: 2.5}}, {mix: [{share: 95%, of: V}, ...]} or {trace: FILE, column: NAME}"
        ],
    ),
    (
        "a distribution without its spread",
        ("{lognormal: {mean: 2ms, cv: 0.5}}", "{lognormal: {mean: 2ms}}"),
        ["small.yaml:29: groups.fulfilment.work is {mean: 2ms}; it is written {lognormal: {mean: V, cv: 0.5}}"],
    ),
    (
        "a warm-up of everything",
        ("warm_up: 5s", "warm_up: 60s"),
        ["small.yaml:4: warm_up is 60s of 60s, which leaves nothing to measure; it is shorter than the duration"],
    ),
    (
        "one name for two things",
        ("  analytics:", "  shop:"),
        [
            "small.yaml:36: groups.shop has the name of a producer; topics, producers, groups and dependencies share one name space, so rename one"
        ],
    ),
    (
        "a name that is none",
        ("  analytics:", "  the analytics:"),
        [
            "small.yaml:36: groups['the analytics'] is no name; a name begins with a letter or digit and holds letters, digits, `.`, `_` and `-`, 200 at most"
        ],
    ),
    (
        "a dead-letter topic that the group reads",
        ("dead_letter: orders.dlq", "dead_letter: orders"),
        [
            "small.yaml:35: groups.fulfilment.failures.dead_letter is 'orders', which the group itself reads: its dead letters would come back for ever; use another topic"
        ],
    ),
    (
        "a dead-letter topic that is not there",
        ("dead_letter: orders.dlq", "dead_letter: orders.dql"),
        [
            "small.yaml:35: groups.fulfilment.failures.dead_letter is 'orders.dql', and there is no such topic; did you mean 'orders.dlq'?"
        ],
    ),
    (
        "a dead letter without a topic",
        ("      dead_letter: orders.dlq\n", ""),
        [
            "small.yaml:31: groups.fulfilment.failures has `then: dead_letter` and no topic for it; add `dead_letter: TOPIC`"
        ],
    ),
    (
        "a restart for nothing",
        ("failures: {then: skip}", "failures: {then: skip, restart: {after: 1s}}"),
        [
            "small.yaml:40: groups.analytics.failures has `then: skip`, so `restart` is never used; write `then: crash`, or remove it"
        ],
    ),
    (
        "a restart that shrinks",
        ("failures: {then: skip}", "failures: {then: crash, restart: {after: 9m}}"),
        [
            "small.yaml:40: groups.analytics.failures.restart has `after` above `most`, up to which it grows; exchange them"
        ],
    ),
    (
        "a dead-letter topic for nothing",
        ("failures: {then: skip}", "failures: {then: skip, dead_letter: orders.dlq}"),
        [
            "small.yaml:40: groups.analytics.failures has `then: skip`, so `dead_letter: orders.dlq` is never used; remove one of them"
        ],
    ),
    (
        "a commit that is none",
        ("commit: {every: 1s}", "commit: {evry: 1s}"),
        [
            "small.yaml:30: groups.fulfilment.commit is {evry: 1s}; did you mean every? It is auto, after_event, after_batch, before_work, transaction or {every: 1s}"
        ],
    ),
    (
        "a way to read that is none",
        ("members: 2", "reads: pol\n    members: 2"),
        [
            "small.yaml:38: groups.analytics.reads is 'pol'; did you mean poll? It is poll or {collect: {events: 500, timeout: 100ms}}"
        ],
    ),
    (
        "members by half",
        ("members: 3", "members: 2.5"),
        ["small.yaml:28: groups.fulfilment.members is 2.5; it is a whole number"],
    ),
    (
        "yes is a word",
        ("members: 2", "busy: yes\n    members: 2"),
        ["small.yaml:38: groups.analytics.busy is 'yes'; it is true or false"],
    ),
    (
        "an indicator that is none",
        ("lost == 0", "lots == 0"),
        ["small.yaml:50: expect[0] names 'lots', which is no indicator; did you mean 'lost'?"],
    ),
    (
        "a statistic that is none",
        ("lost == 0", "latency.p98 < 1s"),
        [
            "small.yaml:50: expect[0] is 'latency.p98'; there is latency.p50, latency.p90, latency.p95, latency.p99, latency.p999, latency.max, latency.mean"
        ],
    ),
    (
        "an expectation without an operator",
        ("lost == 0", "lost is 0"),
        [
            "small.yaml:50: expect[0] is 'lost is 0'; an expectation is INDICATOR OP QUANTITY with < <= == != >= >, such as `lost == 0`"
        ],
    ),
    (
        "an expectation in the wrong unit",
        ("lost == 0", "lost == 0s"),
        ["small.yaml:50: expect[0] compares lost with 0s; it counts events, so the bound is a whole number"],
    ),
    (
        "an expectation about something else",
        ("gap[orders]", "gap[order]"),
        [
            "small.yaml:51: expect[1] is 'gap[order] < 13s', and there is no topic or group 'order'; did you mean 'orders'?"
        ],
    ),
    (
        "an expectation of the wrong scope",
        ("gap[orders]", "gap[shop]"),
        ["small.yaml:51: expect[1] is 'gap[shop] < 13s', and shop is a producer; gap is measured by topic or group"],
    ),
    (
        "an expectation about a fault that is not there",
        ("fulfilment, slow_work]", "fulfilment, slow]"),
        [
            "small.yaml:52: expect[2] is 'drain_time[fulfilment, slow] < 20s', and no fault is called 'slow'; did you mean 'slow_work'?"
        ],
    ),
    (
        "an expectation that is a mapping",
        ("  - lost == 0", "  - lost: 0"),
        [
            'small.yaml:50: expect[0] is {lost: 0}; an expectation is a text such as `gap[orders] < 12s` (in flow style, inside [...], quote it: "gap[orders] < 12s")'
        ],
    ),
    (
        "a flow list of expectations",
        (
            "expect:\n  - lost == 0\n  - gap[orders] < 13s\n  - drain_time[fulfilment, slow_work] < 20s",
            "expect: [gap[orders] < 13s]",
        ),
        ['small.yaml:49: inside [...] or {...} a text with brackets is quoted: "gap[orders] < 12s"'],
    ),
    (
        "an objective without a threshold",
        ("below: 500ms, ", ""),
        [
            "small.yaml:47: objectives.fast is about latency; `below: 500ms` belongs to latencies, and each latency needs it"
        ],
    ),
    (
        "an objective about nothing",
        ("of: fulfilment", "of: fulfilmnt"),
        [
            "small.yaml:47: objectives.fast.of is 'fulfilmnt', and there is no topic or group 'fulfilmnt'; did you mean 'fulfilment'?"
        ],
    ),
    (
        "a tolerance for nothing",
        ("latency[before faults].p50", "latncy.p50"),
        ["small.yaml:54: agreement['latncy.p50'] names 'latncy', which is no indicator; did you mean 'latency'?"],
    ),
    (
        "a setting that is none",
        ("linger.ms: 5", "lingr.ms: 5"),
        ["small.yaml:17: producers.shop.settings['lingr.ms'] is no setting of librdkafka; did you mean 'linger.ms'?"],
    ),
    (
        "a setting of the other client",
        ("linger.ms: 5}", "socket.timeout.ms: 5000}\n    client: java"),
        [
            "small.yaml:17: producers.shop.settings['socket.timeout.ms'] is a setting of librdkafka, which the Java client ignores; did you mean 'request.timeout.ms'?"
        ],
    ),
    (
        "a setting out of range",
        ("linger.ms: 5", "linger.ms: 1000000"),
        ["small.yaml:17: producers.shop.settings['linger.ms'] is 1000000; it is from 0 to 900000"],
    ),
    (
        "a setting of the wrong kind",
        ("linger.ms: 5", "linger.ms: fast"),
        ["small.yaml:17: producers.shop.settings['linger.ms'] is 'fast'; it is a number from 0 to 900000"],
    ),
    (
        "a setting that is a mapping",
        ("linger.ms: 5", "linger: {ms: 5}"),
        [
            "small.yaml:17: producers.shop.settings.linger is {ms: 5}; a setting is a word, a number, true or false (a dotted name is one name: linger.ms: 5)"
        ],
    ),
    (
        "a setting without a value",
        ("linger.ms: 5", "linger.ms:"),
        ["small.yaml:17: producers.shop.settings['linger.ms:'] is empty; a setting is a word, a number, true or false"],
    ),
    (
        "a setting that is ours",
        ("linger.ms: 5", "bootstrap.servers: localhost"),
        ["small.yaml:17: producers.shop.settings['bootstrap.servers'] is set by EventDrill itself; remove it"],
    ),
    (
        "a setting that a program sets",
        ("linger.ms: 5", "stats_cb: x"),
        ["small.yaml:17: producers.shop.settings.stats_cb is set by a program only, not in a file; remove it"],
    ),
    (
        "idempotence without acks",
        ("acks: all", "acks: 1"),
        ["small.yaml:17: producers.shop.settings.acks is 1 beside enable.idempotence: true, which needs acks: all"],
    ),
    (
        "transactions of events that may take longer",
        ("linger.ms: 5", "transactional.id: shop, delivery.timeout.ms: 90000"),
        [
            "small.yaml:17: producers.shop.settings['delivery.timeout.ms'] is 90000 beside transactional.id; librdkafka gives no event more time than its transaction has, transaction.timeout.ms, 60s: make it shorter, or that longer"
        ],
    ),
    (
        "idempotence with many in flight",
        ("linger.ms: 5", "max.in.flight: 9"),
        [
            "small.yaml:17: producers.shop.settings['max.in.flight'] is 9 beside enable.idempotence: true, which allows 5 at most"
        ],
    ),
    (
        "a partitioner of one's own",
        ("linger.ms: 5", "partitioner: murmur2"),
        [
            "small.yaml:17: producers.shop.settings.partitioner is 'murmur2'; the plan puts keys where the client's default partitioner does (librdkafka: crc32, java: murmur2), so remove it and choose by `client`"
        ],
    ),
    (
        "a setting that contradicts the commit",
        ("commit: {every: 1s}", "commit: after_batch\n    settings: {enable.auto.commit: true}"),
        [
            "small.yaml:31: groups.fulfilment.settings['enable.auto.commit'] is true beside `commit: after_batch`, which contradicts it; remove it, or write `commit: auto`"
        ],
    ),
    (
        "a session of the old protocol",
        ("members: 3", "members: 3\n    settings: {group.protocol: consumer, session.timeout.ms: 10000}"),
        [
            "small.yaml:29: groups.fulfilment.settings['session.timeout.ms'] belongs to group.protocol: classic, and the client refuses it beside consumer; set group.consumer.session.timeout.ms under brokers.settings"
        ],
    ),
    (
        "a session that brokers refuse",
        ("members: 3", "members: 3\n    settings: {session.timeout.ms: 5000}"),
        [
            "small.yaml:29: groups.fulfilment.settings['session.timeout.ms'] is 5s, and the brokers take 6s to 30m (group.min.session.timeout.ms and group.max.session.timeout.ms under brokers.settings)"
        ],
    ),
    (
        "a topic setting that is none",
        ("min.insync.replicas: 2", "min.insync.replica: 2"),
        [
            "small.yaml:10: topics.orders.settings['min.insync.replica'] is no setting of a Kafka topic; did you mean 'min.insync.replicas'?"
        ],
    ),
    (
        "a broker that is taken down twice",
        ("broker: leader of orders/0, at: 20s", "broker: 1, at: [20s, 30s]"),
        [
            "small.yaml:43: faults[0] takes broker 1 down at 30s, and faults[0] has it down until 35s; let it come back first"
        ],
    ),
    (
        "a tab",
        ("    members: 3", "\tmembers: 3"),
        ["small.yaml:28: a tab stands where spaces must; YAML indents with spaces only"],
    ),
    (
        "a field twice",
        ("    members: 3", "    members: 3\n    members: 4"),
        ["small.yaml:29: groups.fulfilment.members is there twice (first in line 28); keep one"],
    ),
    (
        "a list that is not closed",
        ("topics: [orders]", "topics: [orders"),
        ["small.yaml:28: a [ or { that begins in line 27 is not closed properly (expected ',' or ']', but got ':')"],
    ),
    (
        "a text with a colon",
        ("scenario: small", "scenario: small: one"),
        ["small.yaml:1: a second `:` stands in this line, or its indentation is off; quote a text that holds `: `"],
    ),
    (
        "an indentation that is off",
        ("    members: 3", "   members: 3"),
        ["small.yaml:28: this line does not fit those above: its indentation is off, or a `:` or `- ` is missing"],
    ),
    (
        "an anchor that is not there",
        ("members: 3", "members: *three"),
        ["small.yaml:28: the alias *three refers to no finished anchor"],
    ),
    (
        "a tag",
        ("members: 3", "members: !!python/name:os.system 3"),
        ["small.yaml:28: a value has the tag 'tag:yaml.org,2002:python/name:os.system'; tags are not used here"],
    ),
    (
        "merging",
        ("members: 3", "<<: {members: 3}"),
        ["small.yaml:28: groups.fulfilment has `<<`; YAML 1.2 has no merging, write the fields out"],
    ),
    (
        "a second document",
        ("topics:\n", "---\ntopics:\n"),
        ["small.yaml:9: a second document begins here (`---`); a file holds one"],
    ),
    (
        "a seed that is a word",
        ("seed: 1", "seed: one"),
        ["small.yaml:2: seed is 'one'; it is a whole number"],
    ),
    (
        "no topics",
        (
            "  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}\n  orders.dlq: {partitions: 1, replication: 3}\n",
            "",
        ),
        [
            "small.yaml:9: topics is empty; it is a mapping of names, such as {name: ...} (the topics, such as {orders: {partitions: 6}})"
        ],
    ),
]


@pytest.mark.parametrize(("change", "lines"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_file_says_what_is_wrong_where_and_what_would_be_right(
    change: tuple[str, str], lines: list[str]
) -> None:
    assert complaints(changed(change)) == lines


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file() -> None:
    """Schema mistakes and those across parts come together."""
    text = changed(
        ("warm_up: 5s", "warm_up: 5"),
        ("count: 2", "coumt: 2"),
        ("fault: slow_work, group: fulfilment", "fault: slow_work, group: fulfillment"),
        ("gap[orders]", "gap[order]"),
    )

    assert complaints(text) == [
        "small.yaml:4: warm_up is 5 without a unit; a duration needs one of ns, us, ms, s, m, min, h, d: "
        "for example 250ms, 5s or 2m",
        "small.yaml:16: producers.shop.coumt is no field here; did you mean 'count'?",
        "small.yaml:44: faults[1].group is 'fulfillment', and there is no such group; did you mean 'fulfilment'?",
        "small.yaml:51: expect[1] is 'gap[order] < 13s', and there is no topic or group 'order'; did you mean 'orders'?",
    ]


def test_what_hangs_on_a_mistake_is_not_blamed_too() -> None:
    """Member 4 may exist once the misspelt field is put right, and so may the sum once the part's length is."""
    text = changed(
        ("members: 3", "membrs: 4"),
        (
            "fault: slow_work, group: fulfilment, factor: 4",
            "fault: member_crash, name: slow_work, member: fulfilment/4",
        ),
        ("{for: 40s", "{for: 30"),
    )

    assert [line.split(" ")[1] for line in complaints(text)] == [
        "producers.shop.arrivals[0].for",
        "groups.fulfilment.membrs",
    ]


def test_more_mistakes_than_anyone_reads_are_counted() -> None:
    text = changed(("seed: 1", "\n".join(f"field{n}: 1" for n in range(250))))

    lines = complaints(text)

    assert len(lines) == 201
    assert "small.yaml:1: there are 50 more mistakes" in lines
