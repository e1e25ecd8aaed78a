package eventdrill;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Rows that this process appends and the driver reads meanwhile: the driver's row log, in segments allocated before they are used. */
final class RowLog {
    private static final int HEADER_BYTES = 64;
    private static final String ROWS_MAGIC = "EDROWS01";
    private static final String SENDS_MAGIC = "EDSENDS1";
    private static final int COUNT_AT = 24;
    private static final int CODES_AT = 32;
    private static final String SUFFIX = ".rows";
    private static final VarHandle WORD =
            MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    /** Something that fills one row's bytes. */
    interface Writable {
        void write(ByteBuffer to, int at);
    }

    private final Path path;
    private final int capacity;
    private final long magic;
    private final int rowBytes;
    private final int[] codes;
    private int segment = -1;
    private int count;
    private ByteBuffer buffer;

    private RowLog(Path path, int capacity, String magic, int rowBytes, int... codes) throws IOException {
        this.path = path;
        this.capacity = capacity;
        this.magic = ByteBuffer.wrap(magic.getBytes(StandardCharsets.US_ASCII)).order(ByteOrder.LITTLE_ENDIAN).getLong();
        this.rowBytes = rowBytes;
        this.codes = codes;
        openSegment();
    }

    /** Create a log of whole rows. */
    static RowLog ofRows(Path path, int capacity) throws IOException {
        return new RowLog(path, capacity, ROWS_MAGIC, Row.BYTES);
    }

    /** Create a log of one process's sends, which share their process, topic and event type. */
    static RowLog ofSends(Path path, int capacity, int process, int topic, int eventType) throws IOException {
        return new RowLog(path, capacity, SENDS_MAGIC, Send.BYTES, process, topic, eventType);
    }

    /** Append a row; from any thread. */
    synchronized void append(Writable row) {
        if (count == capacity) {
            try {
                openSegment();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
        row.write(buffer, HEADER_BYTES + count * rowBytes);
        count++;
        // One aligned word, written after the row, so that a reader never sees half a row.
        WORD.setRelease(buffer, COUNT_AT, (long) count);
    }

    private void openSegment() throws IOException {
        segment++;
        int size = HEADER_BYTES + capacity * rowBytes;
        try (FileChannel file = FileChannel.open(
                segmentPath(), StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
            // Written, not only stretched: a full disk shows here as an error and not later as a crash.
            ByteBuffer zeros = ByteBuffer.allocateDirect(size);
            while (zeros.hasRemaining()) {
                file.write(zeros);
            }
            buffer = file.map(MapMode.READ_WRITE, 0, size).order(ByteOrder.LITTLE_ENDIAN);
        }
        count = 0;
        buffer.putLong(8, rowBytes).putLong(16, capacity).putLong(COUNT_AT, 0);
        for (int i = 0; i < codes.length; i++) {
            buffer.putLong(CODES_AT + 8 * i, codes[i]);
        }
        WORD.setRelease(buffer, 0, magic);
    }

    private Path segmentPath() {
        String name = path.getFileName().toString();
        String stem = name.substring(0, name.length() - SUFFIX.length());
        return segment == 0 ? path : path.resolveSibling(stem + "+" + segment + SUFFIX);
    }
}
