package eventdrill;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as the driver writes it: objects become maps, arrays lists, whole numbers Long, others Double. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** Return an object. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> object(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.blanks();
        if (json.at != text.length()) {
            throw json.wrong("something after its end");
        }
        return (Map<String, Object>) value;
    }

    private Object value() {
        blanks();
        char next = peek();
        return switch (next) {
            case '{' -> members();
            case '[' -> elements();
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Map<String, Object> members() {
        Map<String, Object> found = new LinkedHashMap<>();
        at++;
        blanks();
        while (peek() != '}') {
            blanks();
            String name = string();
            blanks();
            expect(':');
            found.put(name, value());
            separator('}');
        }
        at++;
        return found;
    }

    private List<Object> elements() {
        List<Object> found = new ArrayList<>();
        at++;
        blanks();
        while (peek() != ']') {
            found.add(value());
            separator(']');
        }
        at++;
        return found;
    }

    private void separator(char end) {
        blanks();
        if (peek() != end) {
            expect(',');
        }
    }

    private String string() {
        expect('"');
        StringBuilder found = new StringBuilder();
        while (peek() != '"') {
            char next = text.charAt(at++);
            found.append(next == '\\' ? escaped() : next);
        }
        at++;
        return found.toString();
    }

    private char escaped() {
        char next = text.charAt(at++);
        switch (next) {
            case 'u':
                at += 4;
                return (char) Integer.parseInt(text.substring(at - 4, at), 16);
            case 'n':
                return '\n';
            case 't':
                return '\t';
            case 'r':
                return '\r';
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            default:
                return next;
        }
    }

    private Object number() {
        int begin = at;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String found = text.substring(begin, at);
        if (found.isEmpty()) {
            throw wrong("no value");
        }
        boolean whole = found.chars().noneMatch(each -> ".eE".indexOf(each) >= 0);
        return whole ? (Object) Long.valueOf(found) : (Object) Double.valueOf(found);
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("no value");
        }
        at += word.length();
        return value;
    }

    private void blanks() {
        while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
            at++;
        }
    }

    private char peek() {
        if (at >= text.length()) {
            throw wrong("its end");
        }
        return text.charAt(at);
    }

    private void expect(char wanted) {
        if (peek() != wanted) {
            throw wrong("no " + wanted);
        }
        at++;
    }

    private IllegalArgumentException wrong(String what) {
        return new IllegalArgumentException("not JSON: " + what + " at character " + at + " of " + text);
    }

    /** Write a value: maps, iterables, text, numbers, booleans and null. */
    static void write(StringBuilder to, Object value) {
        if (value instanceof Map<?, ?> map) {
            String before = "{";
            for (Map.Entry<?, ?> each : map.entrySet()) {
                to.append(before);
                write(to, each.getKey());
                to.append(':');
                write(to, each.getValue());
                before = ",";
            }
            to.append(map.isEmpty() ? "{}" : "}");
        } else if (value instanceof Iterable<?> several) {
            to.append('[');
            String before = "";
            for (Object each : several) {
                to.append(before);
                write(to, each);
                before = ",";
            }
            to.append(']');
        } else if (value instanceof CharSequence characters) {
            quote(to, characters);
        } else {
            to.append(value);
        }
    }

    private static void quote(StringBuilder to, CharSequence characters) {
        to.append('"');
        for (int i = 0; i < characters.length(); i++) {
            char each = characters.charAt(i);
            if (each == '"' || each == '\\') {
                to.append('\\').append(each);
            } else if (each < ' ' || each > '~') {
                to.append(String.format("\\u%04x", (int) each));
            } else {
                to.append(each);
            }
        }
        to.append('"');
    }
}
