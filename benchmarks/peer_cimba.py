"""The load, members, poll loops, commits and looks at lag of bench_billion in Cimba's Python package; prints events a second of CPU."""

import time
import zlib

import cimba as cb
import numpy as np
from cimba import inputs

RATE_HZ, KEYS, PARTITIONS, MEMBERS, WORK_S = 32, 10_000, 12, 6, 0.020
MOST_AT_A_POLL = 500
ROOM = 1 << 14
BINS = 1 << 12


class Member(cb.Model):
    """A poll loop: all that is there, worked on one after another, and committed."""

    work: cb.Input[float] = inputs.dist.exponential(mean=WORK_S)
    queue: cb.Container
    times: cb.Array[float] = cb.Array(ROOM)
    bins: cb.Array[int] = cb.Array(BINS)
    came: int = 0
    done: int = 0
    committed: int = 0

    @cb.process
    def read(self):
        while True:
            self.queue.get(1)
            count = int(min(self.queue.level(), MOST_AT_A_POLL - 1))
            if count > 0:
                self.queue.get(count)
            for _ in range(count + 1):
                cb.hold(self.work.next())
                took_ms = int((cb.now() - self.times[self.done % ROOM]) * 1000)
                self.bins[min(took_ms, BINS - 1)] += 1
                self.done += 1
            self.committed = self.done


class Line(cb.Model):
    """Who sends, and who looks at lag."""

    gap: cb.Input[float] = inputs.dist.exponential(mean=1 / RATE_HZ)
    key: cb.Input[float] = inputs.dist.uniform(low=0, high=KEYS)
    partition_of: cb.Array[int] = cb.Array([zlib.crc32(b"shop-%d" % key) % PARTITIONS for key in range(KEYS)])
    members: list[Member]
    sent: int = 0
    lag: int = 0
    committed_lag: int = 0
    handled: cb.Output[float]

    @cb.process
    def produce(self):
        while True:
            cb.hold(self.gap.next())
            partition = self.partition_of[int(self.key.next())]
            member = self.members[partition % MEMBERS]
            member.times[member.came % ROOM] = cb.now()
            member.came += 1
            self.sent += 1
            member.queue.put(1)

    @cb.process
    def look(self):
        looks = 0
        while True:
            for number in range(MEMBERS):
                self.lag += self.members[number].came - self.members[number].done
            if looks % 10 == 0:
                for number in range(MEMBERS):
                    self.committed_lag += self.members[number].came - self.members[number].committed
            looks += 1
            cb.hold(0.1)

    @cb.on_end
    def tell(self):
        self.handled = self.sent


def main() -> None:
    model = Line()
    model.members = [Member() for _ in range(MEMBERS)]
    for seconds in (1_000, 100_000):
        began = time.process_time()
        results = cb.Experiment(model, replications=1, window=cb.Window(warmup=0, duration=seconds), seed=1).run()
        took_s = time.process_time() - began
    handled = float(np.asarray(results[model].handled.values).reshape(-1)[0])
    print(handled / took_s)


if __name__ == "__main__":
    main()
