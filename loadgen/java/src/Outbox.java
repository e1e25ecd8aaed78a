package eventdrill;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What a member keeps of events that follow from its effects until a relay sends them: a file that outlives it. A frame holds one effect's
 * events, so that a member that is killed leaves all of them or none.
 */
final class Outbox {
    private static final String SUFFIX = ".outbox";
    private static final int HEAD_BYTES = 6; // bytes of the frame (4), how many events it holds (2)
    private static final int EVENT_BYTES = 44; // without key and value

    private final FileChannel file;

    /** One event that waits to be sent. */
    record Stored(long id, long root, long cause, long effect, int process, int emit, byte[] key, byte[] value) {
        private int bytes() {
            return EVENT_BYTES + (key == null ? 0 : key.length) + value.length;
        }

        private void write(ByteBuffer to) {
            to.putLong(id).putLong(root).putLong(cause).putLong(effect).putShort((short) process).putShort((short) emit);
            to.putInt(key == null ? -1 : key.length).putInt(value.length);
            if (key != null) {
                to.put(key);
            }
            to.put(value);
        }

        private static Stored read(ByteBuffer from) {
            long id = from.getLong();
            long root = from.getLong();
            long cause = from.getLong();
            long effect = from.getLong();
            int process = from.getShort();
            int emit = from.getShort();
            int keyBytes = from.getInt();
            byte[] value = new byte[from.getInt()];
            byte[] key = keyBytes < 0 ? null : new byte[keyBytes];
            if (key != null) {
                from.get(key);
            }
            from.get(value);
            return new Stored(id, root, cause, effect, process, emit, key, value);
        }
    }

    Outbox(Path path) throws IOException {
        file = FileChannel.open(path, StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    /** Keep what follows from one effect; from any thread. */
    synchronized void store(List<Stored> events) throws IOException {
        int body = events.stream().mapToInt(Stored::bytes).sum();
        ByteBuffer frame = ByteBuffer.allocate(HEAD_BYTES + body).order(ByteOrder.LITTLE_ENDIAN);
        frame.putInt(body).putShort((short) events.size());
        events.forEach(each -> each.write(frame));
        frame.flip();
        while (frame.hasRemaining()) {
            file.write(frame);
        }
    }

    /** All outboxes of a group's members, read as they grow. */
    static final class All {
        private final Path folder;
        private final String beginning;
        private final Map<Path, Long> readTo = new HashMap<>();

        All(Path folder, String beginning) {
            this.folder = folder;
            this.beginning = beginning;
        }

        /** Return what was stored since the last look, in whole frames. */
        List<Stored> fresh() throws IOException {
            List<Path> paths;
            try (Stream<Path> there = Files.list(folder)) {
                paths = there.filter(this::isOurs).sorted().toList();
            }
            List<Stored> found = new ArrayList<>();
            for (Path path : paths) {
                read(path, found);
            }
            return found;
        }

        private boolean isOurs(Path path) {
            String name = path.getFileName().toString();
            return name.startsWith(beginning) && name.endsWith(SUFFIX);
        }

        private void read(Path path, List<Stored> found) throws IOException {
            long from = readTo.getOrDefault(path, 0L);
            ByteBuffer raw = rest(path, from);
            while (raw.remaining() >= HEAD_BYTES && raw.remaining() - HEAD_BYTES >= raw.getInt(raw.position())) {
                raw.getInt();
                for (int left = raw.getShort(); left > 0; left--) {
                    found.add(Stored.read(raw));
                }
            }
            readTo.put(path, from + raw.position());
        }

        private static ByteBuffer rest(Path path, long from) throws IOException {
            try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ)) {
                ByteBuffer raw = ByteBuffer.allocate((int) (file.size() - from)).order(ByteOrder.LITTLE_ENDIAN);
                int more = 0;
                while (raw.hasRemaining() && more >= 0) {
                    more = file.read(raw, from + raw.position());
                }
                return raw.flip();
            }
        }
    }
}
