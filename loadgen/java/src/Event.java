package eventdrill;

/** One record that a poll handed over, with what it says about itself. */
record Event(int id, long root, long intended, String topic, int partition, long offset, byte[] key, byte[] value) {
    static Event of(String topic, int partition, long offset, byte[] key, byte[] value) {
        int id = (int) Records.word(value, 1);
        return new Event(id, Records.word(value, 2), Records.word(value, 3), topic, partition, offset, key, value);
    }
}
