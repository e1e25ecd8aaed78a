package eventdrill;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** One column of the plan: a NumPy file of whole numbers or booleans in one dimension, mapped into memory. */
final class Column {
    private static final Pattern HEADER =
            Pattern.compile("'descr': '([<|][ib])([1248])', 'fortran_order': False, 'shape': \\((\\d+),\\)");

    final int length;
    private final ByteBuffer data;
    private final int width;

    private Column(ByteBuffer data, int width, int length) {
        this.data = data;
        this.width = width;
        this.length = length;
    }

    /** Map a column to read it. */
    static Column read(Path path) throws IOException {
        return map(path, false);
    }

    /** Map a column to write it as well. */
    static Column write(Path path) throws IOException {
        return map(path, true);
    }

    private static Column map(Path path, boolean writable) throws IOException {
        StandardOpenOption[] options = writable
                ? new StandardOpenOption[] {StandardOpenOption.READ, StandardOpenOption.WRITE}
                : new StandardOpenOption[] {StandardOpenOption.READ};
        try (FileChannel file = FileChannel.open(path, options)) {
            ByteBuffer all = file.map(writable ? MapMode.READ_WRITE : MapMode.READ_ONLY, 0, file.size());
            all.order(ByteOrder.LITTLE_ENDIAN);
            // Magic (6 bytes), version (2), length of the header (2 in version 1, 4 in later ones), header.
            int begin = all.get(6) == 1 ? 10 : 12;
            int size = all.get(6) == 1 ? all.getShort(8) & 0xffff : all.getInt(8);
            byte[] header = new byte[size];
            all.get(begin, header);
            Matcher found = HEADER.matcher(new String(header, StandardCharsets.US_ASCII));
            if (!found.find()) {
                throw new IOException(path + " holds no column of whole numbers");
            }
            int width = Integer.parseInt(found.group(2));
            int length = Integer.parseInt(found.group(3));
            ByteBuffer data = all.slice(begin + size, length * width).order(ByteOrder.LITTLE_ENDIAN);
            return new Column(data, width, length);
        }
    }

    /** Return one value. */
    long get(int row) {
        return switch (width) {
            case 8 -> data.getLong(row << 3);
            case 4 -> data.getInt(row << 2);
            case 2 -> data.getShort(row << 1);
            default -> data.get(row);
        };
    }

    /** Set one value of a column of 64 bits. */
    void put(int row, long value) {
        data.putLong(row << 3, value);
    }
}
