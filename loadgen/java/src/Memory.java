package eventdrill;

import java.io.IOException;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/** Remembers event ids for a while, so that an effect comes once: of one member, lost with it, or shared by a group's members. */
interface Memory {
    /** Whether the event took effect within the window. */
    boolean knows(long event, long now);

    /** Note the effect of an event. */
    void remember(long event, long at) throws IOException;

    /** Return the memory that a member is told to have, null where it has none. */
    static Memory of(Spec spec) throws IOException {
        if (!spec.has("dedupe")) {
            return null;
        }
        Spec dedupe = spec.part("dedupe");
        long window = dedupe.number("window_ns");
        return dedupe.text("store").equals("member") ? new Own(window) : new Shared(Path.of(dedupe.text("file")), window);
    }

    /** In this process; a crash takes it along. */
    final class Own implements Memory {
        private final long window;
        private final Map<Long, Long> effects = new LinkedHashMap<>();

        Own(long window) {
            this.window = window;
        }

        @Override
        public synchronized boolean knows(long event, long now) {
            Long at = effects.get(event);
            return at != null && now - at <= window;
        }

        @Override
        public synchronized void remember(long event, long at) {
            effects.remove(event);
            effects.put(event, at);
            Iterator<Long> oldest = effects.values().iterator();
            while (oldest.hasNext() && oldest.next() < at - window) {
                oldest.remove();
            }
        }
    }

    /** A table in a file that all members of a group map: found without a lock, written under one, and still there when a member dies. */
    final class Shared implements Memory {
        private static final long SPREAD = 0x9E3779B97F4A7C15L;
        private static final int ROW_BYTES = 16; // event id + 1, and the effect's instant

        private final long window;
        private final FileChannel file;
        private final ByteBuffer table;
        private final int rows;

        Shared(Path path, long window) throws IOException {
            this.window = window;
            this.file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
            this.table = file.map(FileChannel.MapMode.READ_WRITE, 0, file.size()).order(ByteOrder.LITTLE_ENDIAN);
            this.rows = (int) (file.size() / ROW_BYTES);
        }

        @Override
        public boolean knows(long event, long now) {
            int row = row(event);
            return table.getLong(row) == event + 1 && now - table.getLong(row + 8) <= window;
        }

        @Override
        public synchronized void remember(long event, long at) throws IOException { // one lock a JVM: two threads may not ask for it
            try (FileLock lock = file.lock()) {
                int row = row(event);
                table.putLong(row + 8, at); // before the id, so that a reader never finds the id with an old instant
                VarHandle.releaseFence();
                table.putLong(row, event + 1);
            }
        }

        private int row(long event) {
            int at = (int) Long.remainderUnsigned(event * SPREAD, rows);
            for (int tries = 0; tries < rows; tries++) {
                long found = table.getLong(at * ROW_BYTES);
                if (found == 0 || found == event + 1) {
                    return at * ROW_BYTES;
                }
                at = (at + 1) % rows;
            }
            throw new IllegalStateException("the group's memory of event ids is full");
        }
    }
}
