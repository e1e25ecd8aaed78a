package eventdrill;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Rows that this process appends and the driver reads meanwhile: the driver's row log, in segments allocated before they are used. */
final class RowLog {
    private static final int HEADER_BYTES = 64;
    private static final long MAGIC = 0x3130_5357_4f52_4445L; // "EDROWS01"
    private static final int COUNT_AT = 24;
    private static final String SUFFIX = ".rows";
    private static final VarHandle WORD =
            MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final Path path;
    private final int capacity;
    private int segment = -1;
    private int count;
    private ByteBuffer buffer;

    RowLog(Path path, int capacity) throws IOException {
        this.path = path;
        this.capacity = capacity;
        openSegment();
    }

    /** Append a row; from any thread. */
    synchronized void append(Row row) {
        if (count == capacity) {
            try {
                openSegment();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
        row.write(buffer, HEADER_BYTES + count * Row.BYTES);
        count++;
        // One aligned word, written after the row, so that a reader never sees half a row.
        WORD.setRelease(buffer, COUNT_AT, (long) count);
    }

    private void openSegment() throws IOException {
        segment++;
        int size = HEADER_BYTES + capacity * Row.BYTES;
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
        buffer.putLong(8, Row.BYTES).putLong(16, capacity).putLong(COUNT_AT, 0);
        WORD.setRelease(buffer, 0, MAGIC);
    }

    private Path segmentPath() {
        String name = path.getFileName().toString();
        String stem = name.substring(0, name.length() - SUFFIX.length());
        return segment == 0 ? path : path.resolveSibling(stem + "+" + segment + SUFFIX);
    }
}
