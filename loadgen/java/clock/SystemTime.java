package org.apache.kafka.common.utils;

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
import java.util.function.Supplier;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * Stands before the library's class of this name in brokers whose clock a fault may set wrong: what they take for the time of day is the
 * machine's, and as many milliseconds more as a file says. Elapsed time is nobody's to change.
 */
class SystemTime implements Time {
    /** Names the file: one number of eight bytes, the lowest first. */
    private static final String FILE = "eventdrill.clock";

    private static final VarHandle NUMBER = MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final SystemTime INSTANCE = new SystemTime(System.getProperty(FILE));

    private final ByteBuffer wrongBy;

    private SystemTime(String file) {
        wrongBy = file == null ? ByteBuffer.allocateDirect(Long.BYTES) : mapped(Path.of(file));
    }

    private static ByteBuffer mapped(Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return channel.map(MapMode.READ_ONLY, 0, Long.BYTES);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public static SystemTime getSystemTime() {
        return INSTANCE;
    }

    @Override
    public long milliseconds() {
        return System.currentTimeMillis() + (long) NUMBER.getOpaque(wrongBy, 0);
    }

    @Override
    public long nanoseconds() {
        return System.nanoTime();
    }

    @Override
    public void sleep(long ms) {
        Utils.sleep(ms);
    }

    /** Wait until something is so; newer versions of the library have it in the interface, older ones demand it here. */
    public void waitObject(Object monitor, Supplier<Boolean> holds, long deadlineMs) throws InterruptedException {
        synchronized (monitor) {
            while (!holds.get()) {
                long left = deadlineMs - milliseconds();
                if (left <= 0) {
                    throw new TimeoutException("what was waited for did not come in time");
                }
                monitor.wait(left);
            }
        }
    }
}
