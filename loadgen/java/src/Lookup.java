package eventdrill;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What a member knows of events by their ids: the plan's columns for planned ones, and for emitted ones columns of their own, which have a
 * row for each event that the scenario can emit, in the order of their ids.
 */
final class Lookup {
    /** One of the places at which an effect of this group emits: its number among all, and which of the group's emits it is. */
    private record Place(long number, int emit) {}

    /** An event that an effect emits, and by which of the group's emits. */
    record Emitted(long id, int emit) {}

    private final Column key;
    private final Column producer;
    private final Column work;
    private final Column failingTries;
    private final Column undecodable;
    private final int[] types;
    /** Rows of the declared events that stand for those which the user's own programs send. */
    private final int[] declared;
    private final Chain chain;
    /** Ids of what follows from own programs' events; null where nothing can. */
    private final Following following;

    /** Columns of emitted events. */
    private static final class Chain {
        final Column ids;
        final Column key;
        final Column type;
        final Column size;
        final Column poison;
        final Column work;
        final Column failingTries;
        final long places;
        final List<Place> own = new ArrayList<>();

        Chain(Child child, Spec spec) throws IOException {
            ids = child.column("emitted_ids");
            key = child.column("emitted_key");
            type = child.column("emitted_type");
            size = child.column("emitted_size");
            poison = child.column("emitted_poison");
            work = child.column("emitted_work_ns");
            failingTries = child.column("emitted_failing_tries");
            places = spec.number("places");
            spec.parts("own").forEach(each -> own.add(new Place(each.number("number"), each.integer("emit"))));
        }

        /** Return an event's row, a negative number where nobody emits it. */
        int find(long id) {
            int low = 0;
            int high = ids.length - 1;
            while (low <= high) {
                int middle = (low + high) >>> 1;
                long there = ids.get(middle);
                if (there == id) {
                    return middle;
                }
                if (there < id) {
                    low = middle + 1;
                } else {
                    high = middle - 1;
                }
            }
            return -1;
        }

        int row(long id) {
            int found = find(id);
            if (found < 0) {
                throw new IllegalStateException("event " + id + " is one that nobody emits");
            }
            return found;
        }
    }

    Lookup(Child child) throws IOException {
        key = child.column("key");
        producer = child.column("producer");
        work = child.column("work_ns");
        failingTries = child.column("failing_tries");
        undecodable = child.columnOrNull("undecodable");
        List<Object> given = child.spec.part("codes").list("event_type_of_producer");
        types = given.stream().mapToInt(each -> ((Long) each).intValue()).toArray();
        List<Object> outside = child.spec.has("outside_producers") ? child.spec.list("outside_producers") : List.of();
        declared = declaredBy(outside);
        chain = child.spec.has("chain") ? new Chain(child, child.spec.part("chain")) : null;
        following = chain != null ? following(child.spec.part("chain")) : null;
    }

    private int[] declaredBy(List<Object> producers) {
        return producers.isEmpty()
                ? new int[0]
                : IntStream.range(0, key.length).filter(row -> producers.contains((long) producer.get(row))).toArray();
    }

    private Following following(Spec spec) {
        Spec outside = spec.part("outside");
        long[] codes = outside.list("codes").stream().mapToLong(each -> ((Long) each)).toArray();
        List<int[]> pools = new ArrayList<>();
        for (Object each : outside.list("pools")) {
            List<Object> producers = new ArrayList<>((List<?>) each);
            pools.add(declaredBy(producers));
        }
        return new Following(key.length, spec.number("places"), codes, pools);
    }

    /** Return an event's id, or that of the declared one that stands for it. */
    private long here(long event) {
        if (event >= Outside.FIRST && declared.length > 0) {
            return declared[Outside.standIn(event, declared.length)];
        }
        return following != null && Following.holds(event) ? following.like(event) : event;
    }

    private boolean planned(long event) {
        return event < key.length;
    }

    /** Return how long a try takes. */
    long work(long event) {
        long id = here(event);
        return planned(id) ? work.get((int) id) : chain.work.get(chain.row(id));
    }

    /** Return how many tries fail before one works, poison apart. */
    long failingTries(long event) {
        long id = here(event);
        return planned(id) ? failingTries.get((int) id) : chain.failingTries.get(chain.row(id));
    }

    /** Whether a handler of the first version cannot decode it. */
    boolean undecodable(long event) {
        long id = here(event);
        return undecodable != null && planned(id) && undecodable.get((int) id) != 0;
    }

    /** Return the number of its key. */
    long key(long event) {
        long id = here(event);
        return planned(id) ? key.get((int) id) : chain.key.get(chain.row(id));
    }

    /** Return the code of its type. */
    int type(long event) {
        long id = here(event);
        return planned(id) ? types[(int) producer.get((int) id)] : (int) chain.type.get(chain.row(id));
    }

    /** Return the size of an emitted event's value. */
    int size(long event) {
        return (int) chain.size.get(chain.row(here(event)));
    }

    /** Whether an emitted event is one that no handler can ever process. */
    boolean poison(long event) {
        return chain.poison.get(chain.row(here(event))) != 0;
    }

    /** Return what an effect of this group emits; the same whenever the effect is repeated. */
    List<Emitted> emittedBy(long cause) {
        List<Emitted> found = new ArrayList<>();
        long like = here(cause);
        for (Place each : chain.own) {
            long id = key.length + like * chain.places + each.number();
            if (chain.find(id) >= 0) {
                found.add(new Emitted(cause >= Following.FIRST ? following.child(cause, each.number()) : id, each.emit()));
            }
        }
        return found;
    }
}
