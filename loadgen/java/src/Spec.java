package eventdrill;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the driver wants of a process, by name; a name that is missing or of another kind is an error that says so. */
record Spec(Map<String, Object> values) {
    boolean has(String name) {
        return values.get(name) != null;
    }

    long number(String name) {
        return of(name, Number.class).longValue();
    }

    int integer(String name) {
        return Math.toIntExact(number(name));
    }

    double real(String name) {
        return of(name, Number.class).doubleValue();
    }

    boolean flag(String name) {
        return of(name, Boolean.class);
    }

    String text(String name) {
        return of(name, String.class);
    }

    @SuppressWarnings("unchecked")
    List<Object> list(String name) {
        return of(name, List.class);
    }

    @SuppressWarnings("unchecked")
    Spec part(String name) {
        return new Spec(of(name, Map.class));
    }

    List<String> texts(String name) {
        return list(name).stream().map(String.class::cast).toList();
    }

    @SuppressWarnings("unchecked")
    List<Spec> parts(String name) {
        return list(name).stream().map(each -> new Spec((Map<String, Object>) each)).toList();
    }

    /** Return settings as Kafka's clients take them: text, whatever they are in the file. */
    Map<String, Object> settings(String name) {
        Map<String, Object> found = new LinkedHashMap<>();
        part(name).values.forEach((key, value) -> found.put(key, String.valueOf(value)));
        return found;
    }

    private <T> T of(String name, Class<T> kind) {
        Object value = values.get(name);
        if (!kind.isInstance(value)) {
            throw new IllegalArgumentException("the specification's " + name + " is " + value + ", no " + kind.getSimpleName());
        }
        return kind.cast(value);
    }
}
