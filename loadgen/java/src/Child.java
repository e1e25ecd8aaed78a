package eventdrill;

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** One process of a run: what it shall do, and how it hears from the driver and answers it (JSON, one object a line). */
final class Child {
    private static final long SAMPLE_MS = 1000;
    /** Names the environment's variable in which the driver hands over what is written nowhere. */
    private static final String SECURITY = "EVENTDRILL_CHILD_SECURITY";

    final Spec spec;
    /** Whether SIGTERM has asked it to end in good order. */
    volatile boolean asked;
    /** Whether it shall end now, and leave what it has in hand unfinished. */
    volatile boolean leaving;
    private volatile long finishWithinMs;

    private final LinkedBlockingQueue<Spec> requests = new LinkedBlockingQueue<>();
    private final OutputStream out = new FileOutputStream(FileDescriptor.out);
    private final Thread main = Thread.currentThread();

    private Child(Spec spec) {
        this.spec = spec;
    }

    /** Read the specification, and see to it that this process ends with the driver. */
    static Child begin(String[] arguments) throws IOException {
        Child child = new Child(new Spec(Json.object(Files.readString(Path.of(arguments[0])))));
        child.takeSecurity(System.getenv(SECURITY));
        System.setOut(System.err); // what a user's class prints must not get between the messages
        long driver = child.spec.number("driver_pid");
        if (ProcessHandle.current().parent().map(ProcessHandle::pid).orElse(-1L) != driver) {
            Runtime.getRuntime().halt(1); // it died before we could hear of it
        }
        child.daemon("requests", child::listen);
        child.daemon("gauges", child::sample);
        Runtime.getRuntime().addShutdownHook(new Thread(child::leave, "leave"));
        return child;
    }

    /** Add the client's security settings to all that its clients are told. */
    private void takeSecurity(String given) {
        if (given != null) {
            for (String settings : List.of("settings", "connection")) {
                if (spec.has(settings)) {
                    spec.part(settings).values().putAll(Json.object(given));
                }
            }
        }
    }

    /** Start a thread that does not keep the process alive. */
    void daemon(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    private void listen() {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                requests.add(new Spec(Json.object(line)));
            }
        } catch (IOException error) {
            // a broken pipe is an end like any other
        }
        Runtime.getRuntime().halt(0); // the driver is gone
    }

    /** SIGTERM: the JVM ends when this returns, so it waits until the process has left in good order. */
    private void leave() {
        asked = true;
        try {
            if (finishWithinMs > 0) {
                main.join(finishWithinMs);
            }
            leaving = true;
            main.join();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    /** Let it finish what it has in hand when it is asked to end, for so long at most; 0 for not at all. */
    void finishWithin(long mostMs) {
        finishWithinMs = mostMs;
        if (asked && mostMs == 0) { // never set back: SIGTERM may come in between
            leaving = true;
        }
    }

    /** Tell once a second how long the JIT compiler has worked so far: its work competes with ours. */
    private void sample() {
        var compiler = ManagementFactory.getCompilationMXBean();
        while (compiler != null && compiler.isCompilationTimeMonitoringSupported()) {
            try {
                Thread.sleep(SAMPLE_MS);
            } catch (InterruptedException error) {
                return;
            }
            say("jit", "at", System.nanoTime(), "compiled_ms", compiler.getTotalCompilationTime());
        }
    }

    /** Return the driver's next request, null when there is none. */
    Spec hear() {
        return requests.poll();
    }

    /** Return the driver's next request, null when there is none within the timeout. */
    Spec hear(long timeoutMs) throws InterruptedException {
        return requests.poll(timeoutMs, TimeUnit.MILLISECONDS);
    }

    /** Tell the driver something: names and values by turns. */
    void say(String event, Object... what) {
        Map<String, Object> message = new LinkedHashMap<>();
        message.put("event", event);
        for (int i = 0; i < what.length; i += 2) {
            message.put((String) what[i], what[i + 1]);
        }
        StringBuilder line = new StringBuilder();
        Json.write(line, message);
        byte[] bytes = line.append('\n').toString().getBytes(StandardCharsets.US_ASCII);
        synchronized (out) {
            try {
                out.write(bytes);
            } catch (IOException error) {
                Runtime.getRuntime().halt(0); // the driver is gone
            }
        }
    }

    /** Return CPU seconds of this process since its start. */
    static double processCpuS() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    /** Return CPU seconds of the calling thread since its start. */
    static double threadCpuS() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() / 1e9;
    }

    /** Map one of the plan's arrays, null where this process is told of none. */
    Column columnOrNull(String name) throws IOException {
        return spec.part("arrays").has(name) ? column(name) : null;
    }

    /** Map one of the plan's arrays. */
    Column column(String name) throws IOException {
        return Column.read(Path.of(spec.part("arrays").text(name)));
    }
}
