package eventdrill;

import java.util.List;

/**
 * Ids of what effects of events emit that the user's own programs send, and of what follows from that: they say where the chain began and by
 * which places it went on. What such an event holds is what the declared chain holds that stands for it.
 */
final class Following {
    /** Ids of such events begin here, and end where those of the programs' own events begin. */
    static final long FIRST = 1L << 61;

    private static final int PATH_AT = 46;
    private static final long MOST_PATHS = 1L << 15;
    private static final long ROOT = (1L << PATH_AT) - 1;
    private static final long NUMBERED = 1L << 45;
    private static final int RANK_AT = 42;
    private static final long MOST_RANKS = 1L << 3;
    private static final int PARTITION_AT = 32;
    private static final long MOST_PARTITIONS = 1L << (RANK_AT - PARTITION_AT);
    private static final long MOST_OFFSETS = 1L << PARTITION_AT;

    private final long planned;
    private final long places;
    /** Numbers of the topics that own programs write to, rising. */
    private final long[] codes;
    /** By place: rows of the declared events that stand for those whose effects emit there. */
    private final List<int[]> pools;

    Following(long planned, long places, long[] codes, List<int[]> pools) {
        this.planned = planned;
        this.places = places;
        this.codes = codes;
        this.pools = pools;
    }

    /** Whether an event follows from one of the user's own programs. */
    static boolean holds(long event) {
        return event >= FIRST && event < Outside.FIRST;
    }

    /** Return the id of what an effect of an event emits at a place; the event is of an own program, or follows from one. */
    long child(long cause, long place) {
        boolean later = cause < Outside.FIRST;
        long before = later ? (cause >>> PATH_AT) & (MOST_PATHS - 1) : 0;
        long path = before * (places + 1) + place + 1;
        if (path >= MOST_PATHS) {
            throw new IllegalStateException("event " + cause + " has too many emissions behind it for another id beside own programs");
        }
        return FIRST | path << PATH_AT | (later ? cause & ROOT : brief(cause));
    }

    private long brief(long event) {
        if (Outside.isNumbered(event)) {
            long number = Outside.number(event);
            if (number >= NUMBERED) {
                throw new IllegalStateException(
                        "the number " + number + " of an event of your own program is too large where a group emits: below " + NUMBERED);
            }
            return NUMBERED | number;
        }
        long partition = Outside.partition(event);
        long offset = Outside.offset(event);
        if (partition >= MOST_PARTITIONS || offset >= MOST_OFFSETS) {
            throw new IllegalStateException(
                    "events of your own program lie at partition " + partition + ", offset " + offset
                            + ", which is too far where a group emits: below " + MOST_PARTITIONS + " and " + MOST_OFFSETS
                            + "; number them (header eventdrill-id)");
        }
        return rank(Outside.topic(event)) << RANK_AT | partition << PARTITION_AT | offset;
    }

    private long rank(long topic) {
        int rank = 0;
        while (codes[rank] != topic) {
            rank++;
        }
        return rank;
    }

    private long root(long event) {
        long brief = event & ROOT;
        if ((brief & NUMBERED) != 0) {
            return Outside.ofNumber(brief & (NUMBERED - 1));
        }
        long topic = codes[(int) ((brief >>> RANK_AT) & (MOST_RANKS - 1))];
        return Outside.ofPlace(topic, (brief >>> PARTITION_AT) & (MOST_PARTITIONS - 1), brief & (MOST_OFFSETS - 1));
    }

    /** Return the id of the declared chain's event that stands for one. */
    long like(long event) {
        return like(root(event), (event >>> PATH_AT) & (MOST_PATHS - 1));
    }

    private long like(long root, long path) {
        long place = path % (places + 1) - 1;
        long before = path / (places + 1);
        long cause = before > 0 ? like(root, before) : standIn(root, pools.get((int) place));
        return planned + cause * places + place;
    }

    private static long standIn(long root, int[] pool) {
        return pool[Outside.standIn(root, pool.length)];
    }
}
