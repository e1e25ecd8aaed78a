"""All producers of a quiet stretch, block by block.

What is kept from one block to the next, apart from the events under way (`ring`): the events that are not handed over, when the last
one that is known of each process will be, and the partition that its client chose; each of its queues of which something is not
answered (first and last event, how many, how large, how many are under way, whether it waits for an answer) and connections (requests
in line, when it is free, its last answer, how many are not answered); requests that are not answered; all that waits for its instant
(heap and timers); by partition how long its log is and when its last append was made and could be read; and of each random input what
is drawn and not used.
"""

from typing import Any

import numpy as np

from scenarios.plan import Plan
from sim import world as at
from sim.building import Builder
from sim.draws import Draws, Values
from sim.kernel.resting import LONG_AGO
from sim.stretches import sending_kernel as kernel
from sim.stretches.inputs import Inputs
from sim.stretches.ring import OF_EVENTS, Ring
from sim.world import NEVER, NONE, Ints

_LEAST_REQUESTS = _LEAST_QUEUES = 1 << 10


class TakesMoreError(Exception):
    """A stretch in which something is full, late or given up, so that it takes more than the rules of quiet ones."""


def nothing(_entity: int, _broker: int) -> Values:
    """Return times that nobody asks for."""
    return Values(None, lambda u: u.astype(np.int64))


class Senders:
    """Who sends, and what became of what they sent, up to an instant."""

    def __init__(self, plan: Plan, builder: Builder, draws: Draws, leads: Ints, ring: Ring) -> None:
        """Take a plan without events, and where events lie."""
        self._ring = ring
        profile = draws.profile
        processes, brokers, parts = builder.processes, range(1, builder.brokers + 1), builder.users
        counts = [producer.count for producer in plan.scenario.producers.values()]
        self._first_process = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        codes, proc = range(processes), builder._producers()[0]
        # When its leader has appended a request matters only to those who do not wait for the replicas.
        matters = bool((proc[:, at.ACKS] != at.ACKS_ALL).any())
        self._requests = Inputs(
            {
                name: [[draw(code, broker) for broker in brokers] for code in codes]
                for name, draw in (
                    ("produce", draws.produce),
                    ("leader", draws.leader if matters else nothing),
                    ("acknowledge", draws.acknowledge),
                )
            },
            with_brokers=True,
            last_is_enough=("leader", "acknowledge"),
        )
        self._sends = Inputs({"send": [[draws.send(code)] for code in codes]}, with_brokers=False)
        partitions = [
            plan.scenario.topics[producer.topic].partitions
            for producer in plan.scenario.producers.values()
            for _ in range(producer.count)
        ]
        sticky = [[draws.sticky(code, count)] for code, count in enumerate(partitions)]
        self._choices = Inputs({"sticky": sticky}, with_brokers=False)
        sender = np.zeros((processes, kernel.N_SENDER), np.int64)
        sender[:, kernel.T_UNTIL] = sender[:, kernel.T_HANDED] = -1
        sender[:, kernel.T_SERVED] = NONE
        link = np.zeros((processes, len(brokers) + 1, kernel.N_LINK), np.int64)
        link[:, :, [kernel.L_HEAD, kernel.L_TAIL]] = NONE
        scalars = np.zeros(kernel.N_SCALARS, np.int64)
        scalars[[kernel.S_FREE, kernel.S_FREE_QUEUE]], scalars[kernel.S_MASK] = NONE, ring.mask
        scalars[kernel.S_NOW_NS] = NEVER
        scalars[kernel.S_SLEEP_STEP] = round(1000 * profile.sleep_step_us)
        # Nothing puts more on the heap at once than an answer that all partitions of a topic have waited for, and that wakes its thread.
        scalars[kernel.S_SPARE] = 8 + 2 * int(proc[:, at.PARTS].max(initial=0))
        self._state = kernel.Sending(
            s=scalars,
            heap=np.zeros((_LEAST_REQUESTS, 2), np.int64),
            timer=np.zeros((_LEAST_REQUESTS, 2), np.int64),
            proc=proc,
            sender=sender,
            queue=np.zeros((0, kernel.N_FLOW_QUEUE), np.int64),
            bucket=np.zeros(0, np.int64),
            link=link,
            request=np.zeros((0, kernel.N_BATCH), np.int64),
            leads=leads,
            log_end=np.zeros(parts, np.int64),
            last_appended=np.zeros(parts, np.int64),
            last_visible=np.zeros(parts, np.int64),
            order=np.zeros(0, np.int64),
            appended=np.zeros(ring.room, np.int64),
            costs=np.array([profile.produce_us_per_kib, profile.produce_us_per_record, profile.oversleep]),
            rest=np.array(profile.rest.costs_ns, np.int64),
            asked=np.full(len(brokers) + 1, LONG_AGO, np.int64),
            **self._columns(),
            **self._sends.arrays(),
            **self._choices.arrays(),
            **self._requests.arrays(),
        )
        self._more_requests()
        self._more_queues()

    def _columns(self) -> dict[str, Any]:
        return {name: self._ring.column(name) for name in OF_EVENTS}

    @property
    def log_end(self) -> Ints:
        """By partition: how many records it has."""
        return self._state.log_end

    @property
    def appended(self) -> Ints:
        """The events that came into their logs in the last step, in this order."""
        return self._state.appended[: self._state.s[kernel.S_APPENDED]]

    def take(self, plan: Plan, first: int, *, has_grown: bool) -> None:
        """Take a block of events, the first of which has an id; `has_grown` says that the ring has."""
        state = self._state
        if has_grown:
            state.s[kernel.S_MASK] = self._ring.mask
            state = state._replace(**self._columns(), appended=np.zeros(self._ring.room, np.int64))
        process = self._first_process[plan.producer] + plan.process - 1
        self._ring.put("process", first, process)
        counts = np.bincount(process, minlength=len(state.sender))
        sends = state.sender[:, kernel.T_SENDS : kernel.T_SENDS + 1]
        if self._sends.supply(sends, int(counts.max(initial=1))):
            state = state._replace(**self._sends.arrays())
        events = np.append(state.order[state.s[kernel.S_NEXT] :], np.arange(first, first + len(plan)))
        whose = state.process[events & self._ring.mask]
        narrow = (
            np.uint16 if len(state.sender) < 1 << 16 else np.int64
        )  # the sort of which knows nothing faster than counting
        events = events[np.argsort(whose.astype(narrow), kind="stable")]
        kernel.line_up(state, events, plan.intended_ns, first)
        state.s[kernel.S_NEXT] = 0
        self._state = state._replace(order=events[_in_order(state.handed[events & self._ring.mask])])

    def go_on(self, until_ns: int) -> None:
        """Send everything until an instant."""
        scalars = self._state.s
        scalars[kernel.S_APPENDED] = 0
        while True:
            kernel.produce_all(self._state, until_ns)
            problem, scalars[kernel.S_PROBLEM] = int(scalars[kernel.S_PROBLEM]), 0
            if not problem:
                return
            if problem == kernel.SHORT:
                self._draw_on()
            elif problem == kernel.ROOM:
                self._more_room()
            else:
                raise TakesMoreError

    def _draw_on(self) -> None:
        state = self._state
        choices = state.sender[:, kernel.T_CHOICES : kernel.T_CHOICES + 1]
        for inputs, used in ((self._requests, state.link[:, :, kernel.L_SERVED]), (self._choices, choices)):
            if inputs.supply(used):
                state = state._replace(**inputs.arrays())
        self._state = state

    def _more_room(self) -> None:
        state = self._state
        if state.s[kernel.S_HEAP] + state.s[kernel.S_SPARE] > len(state.heap):
            self._state = state._replace(heap=np.concatenate([state.heap, np.zeros_like(state.heap)]))
        elif state.s[kernel.S_TIMERS] == len(state.timer):
            first = int(state.s[kernel.S_TIMER]) % len(state.timer)
            in_order = np.roll(state.timer, -first, axis=0)
            state.s[kernel.S_TIMER] = 0
            self._state = state._replace(timer=np.concatenate([in_order, np.zeros_like(in_order)]))
        elif state.s[kernel.S_FREE_QUEUE] == NONE:
            self._more_queues()
        else:
            self._more_requests()

    def _more_requests(self) -> None:
        """Have twice as many requests, of which the new ones are free."""
        known, scalars = self._state.request, self._state.s
        count = max(_LEAST_REQUESTS, 2 * len(known))
        request = np.zeros((count, kernel.N_BATCH), np.int64)
        request[: len(known)] = known
        request[len(known) :, kernel.B_NEXT] = np.append(np.arange(len(known) + 1, count), scalars[kernel.S_FREE])
        scalars[kernel.S_FREE] = len(known)
        scalars[kernel.S_FREE_COUNT] += count - len(known)
        self._state = self._state._replace(request=request)

    def _more_queues(self) -> None:
        """Have room for twice as many queues."""
        known = self._state.queue
        queue = np.zeros((max(_LEAST_QUEUES, 2 * len(known)), kernel.N_FLOW_QUEUE), np.int64)
        queue[: len(known)] = known
        self._state = self._state._replace(queue=queue, bucket=np.full(2 * len(queue), NONE, np.int64))
        kernel.fill_buckets(self._state)


def _in_order(times_ns: Ints) -> Ints:
    """Return the places of instants in their order, equal ones as they stand."""
    if not len(times_ns):
        return times_ns
    bits, since_ns = len(times_ns).bit_length(), times_ns - times_ns.min()
    if int(since_ns.max()) >= 1 << (62 - bits):
        return np.argsort(times_ns, kind="stable")
    # Numbers are sorted several times as fast as their places.
    return np.sort((since_ns << bits) | np.arange(len(times_ns))) & ((1 << bits) - 1)
