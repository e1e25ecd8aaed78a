"""What effects emit: handed to the member's own client, sent like anything else, and what waits until it is there."""

from sim import world as at
from sim.compiled import compiled, entry
from sim.kernel.finishing import counts, flushed_if_all, part_done
from sim.kernel.producers import enqueue, forget_client
from sim.world import World, push


@compiled
def emit(w: World, m: int, row_number: int) -> None:
    """Send what follows from an effect that is recorded now."""
    s, row, member = w.scalars, w.rows[row_number], w.member[m]
    g, v, p, offset = row[at.O_GROUP], row[at.O_EVENT], row[at.O_PART], row[at.O_OFFSET]
    first, ownership = w.child_first[g, v], row[at.O_OWNERSHIP]
    for child in range(first, first + w.child_count[g, v]):
        i = w.relay[g, w.identity[child, at.V_EMIT]]
        is_stored = i != at.NONE
        if not is_stored:
            i = member[at.FIRST_EMITTER] + w.identity[child, at.V_EMIT]
        proc = w.proc[i]
        e = s[at.SENDINGS]
        s[at.SENDINGS] = e + 1
        n = proc[at.NEXT_EVENT]
        proc[at.NEXT_EVENT] = n + 1
        sending = w.event[e]
        sending[:] = at.NONE
        sending[at.INTENDED] = s[at.NOW]
        sending[at.SIZE] = w.identity[child, at.V_SIZE]
        sending[at.SENT_ENDED] = at.NEVER
        sending[at.GIVEN_UP] = 0
        sending[at.IDENTITY] = child
        sending[at.E_MEMBER] = m
        if is_stored:
            store(w, i, e)
            continue
        proc[at.LAST_NS] = max(s[at.NOW] + w.emit_send[i - s[at.FIRST_EMITTING], n], proc[at.LAST_NS])
        sending[at.HANDED] = proc[at.LAST_NS]
        sending[at.E_TXN] = member[at.TXN]
        sending[at.E_LIFE] = member[at.LIFE]
        sending[at.E_PART] = p
        sending[at.E_OFFSET] = offset
        sending[at.E_OWNERSHIP] = ownership
        s[at.OPEN] += 1
        member[at.EMITTING] += 1
        if counts(w, m, p, ownership):
            w.left[g, p, offset] += 1
        push(w, proc[at.LAST_NS], at.HAND_OVER, i, 0, at.ON_EMITTED, i, e, member[at.LIFE])
    member[at.EMITTING] -= 1
    part_done(w, m, p, offset, ownership)
    flushed_if_all(w, m)


@compiled
def store(w: World, i: int, e: int) -> None:
    """Put an event into an outbox, at which its relay looks the next time that it is due."""
    s, proc = w.scalars, w.proc[i]
    s[at.OPEN] += 1
    if proc[at.BOX_HEAD] == at.NONE:
        proc[at.BOX_HEAD] = e
    else:
        w.event[proc[at.BOX_TAIL], at.NEXT] = e
    proc[at.BOX_TAIL] = e
    proc[at.BOX_COUNT] += 1
    every, now = proc[at.LOOKS_EVERY], s[at.NOW]
    if proc[at.LOOKS_AT] == at.NONE:
        proc[at.LOOKS_AT] = (now + every - 1) // every * every
        push(w, proc[at.LOOKS_AT], at.HAND_OVER, i, 0, at.ON_RELAY, i, 0, 0)


@compiled
def relay(w: World, i: int) -> None:
    """Hand over what lies in an outbox."""
    s, proc = w.scalars, w.proc[i]
    proc[at.LOOKS_AT] = at.NONE
    while proc[at.BOX_HEAD] != at.NONE:
        e = proc[at.BOX_HEAD]
        proc[at.BOX_HEAD] = w.event[e, at.NEXT]
        proc[at.BOX_COUNT] -= 1
        proc[at.LAST_NS] = max(s[at.NOW] + w.emit_send[i - s[at.FIRST_EMITTING], proc[at.RELAYED]], proc[at.LAST_NS])
        proc[at.RELAYED] += 1
        w.event[e, at.HANDED] = proc[at.LAST_NS]
        push(w, proc[at.LAST_NS], at.HAND_OVER, i, 0, at.ON_RELAYED, i, e, 0)


@compiled
def relayed(w: World, i: int, e: int) -> None:
    """Let an event reach the client of a relay or a redrive."""
    proc = w.proc[i]
    w.event[e, at.CALLED_NS] = w.scalars[at.NOW]
    if w.event[e, at.E_MEMBER] != at.REDRIVER:
        w.event[e, at.PART] = partition_for(w, i, w.event[e, at.IDENTITY])
    proc[at.HELD_EVENTS] += 1
    proc[at.HELD_BYTES] += w.event[e, at.SIZE]
    enqueue(w, i, e)


@compiled
def partition_for(w: World, i: int, v: int) -> int:
    """Return where an emitted event goes by its key and the partitions that its client knows of; NONE where the client chooses."""
    proc, key_hash = w.proc[i], w.identity[v, at.V_HASH]
    if key_hash != at.NONE:
        return proc[at.FIRST_PART] + key_hash % proc[at.P_KNOWS]
    return proc[at.FIRST_PART] if proc[at.P_KNOWS] == 1 else at.NONE


@compiled
def emitted(w: World, i: int, e: int, life: int) -> None:
    """Let an emitted event reach the member's client, unless that died."""
    if w.member[w.event[e, at.E_MEMBER], at.LIFE] == life:
        relayed(w, i, e)
    else:
        w.scalars[at.OPEN] -= 1


@entry
def wait_for_emitted(w: World, m: int, goes_on: int) -> bool:
    """Whether a member must wait for what it emitted before it commits; it goes on so."""
    member = w.member[m]
    if member[at.EMITTING] == 0:
        return False
    member[at.STATE] = at.FLUSHING
    member[at.GOES_ON] = goes_on
    return True


@entry
def abandon(w: World, i: int) -> None:
    """Let a member's client die: what was not sent is gone, and nobody hears what becomes of the rest."""
    forget_client(w, i)
    proc = w.proc[i]
    for e in range(proc[at.FIRST_EVENT], w.scalars[at.SENDINGS]):
        sending = w.event[e]
        mine = (
            sending[at.E_MEMBER] == proc[at.P_MEMBER] and w.identity[sending[at.IDENTITY], at.V_EMIT] == proc[at.P_EMIT]
        )
        if (
            mine
            and sending[at.E_LIFE] != at.NONE
            and sending[at.SENT_PART] != at.NONE
            and sending[at.SENT_ENDED] == at.NEVER
            and not sending[at.GIVEN_UP]
        ):
            sending[at.GIVEN_UP] = at.ABANDONED
            w.scalars[at.OPEN] -= 1
