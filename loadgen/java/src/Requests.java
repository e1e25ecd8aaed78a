package eventdrill;

/** What the driver asks of a member, and what the member tells it at its end; the same whatever client the member has. */
final class Requests {
    /** What a member does about what it hears. */
    interface Member {
        /** Take the instant of time 0. */
        void start(long at);

        /** Commit what is finished: the run is over. */
        void windUp();
    }

    /** A member that is asked to leave finishes what it has in hand, as frameworks do, unless that takes longer. */
    static final long FINISH_WITHIN_MS = 10_000;

    private final Child child;
    private final Handler handler;
    private final Member member;
    /** What the thread had spent at time 0. */
    private double beganCpuS;
    private WarmReader warmReader;

    Requests(Child child, Handler handler, Member member) {
        this.child = child;
        this.handler = handler;
        this.member = member;
        child.finishWithin(FINISH_WITHIN_MS);
        if (child.spec.has("start_ns")) {
            start(child.spec.number("start_ns"));
        }
    }

    private void start(long at) {
        handler.startNs = at;
        member.start(at);
        beganCpuS = Child.threadCpuS();
    }

    /** Do what the driver has asked meanwhile. */
    void listen() {
        for (Spec request = child.hear(); request != null; request = child.hear()) {
            switch (request.text("do")) {
                case "warm" -> warmReader = new WarmReader(child.spec);
                case "halt" -> endWarmUp();
                case "start" -> {
                    endWarmUp();
                    start(request.number("at_ns"));
                }
                case "wind up" -> {
                    child.finishWithin(0);
                    member.windUp();
                    child.say("wound up");
                }
                default -> throw new IllegalArgumentException("a member knows no request " + request.text("do"));
            }
        }
    }

    void endWarmUp() {
        if (warmReader != null) {
            warmReader.end();
            warmReader = null;
        }
    }

    /** Tell the driver how it went, and end the process: the clients' threads hold nothing any more. */
    void goodbye(boolean stopped) {
        child.say(
                "bye", "at", System.nanoTime(), "stopped", stopped, "late_p50_ns", handler.late.quantile(0.5), "late_p99_ns",
                handler.late.quantile(0.99), "cpu_s", Child.processCpuS(), "thread_cpu_s", Child.threadCpuS(), "run_cpu_s",
                Child.threadCpuS() - beganCpuS);
        Runtime.getRuntime().halt(0);
    }
}
