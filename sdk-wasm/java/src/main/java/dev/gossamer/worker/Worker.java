package dev.gossamer.worker;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Takes jobs of the actions it has handlers for, and answers them. */
public final class Worker {
    private final WorkerOptions options;
    private final Line line;
    private final String name;
    private final Map<String, Desk.Registered> handlers = new TreeMap<>();
    private final CountDownLatch stopping = new CountDownLatch(1);
    private final CountDownLatch stopped = new CountDownLatch(1);
    private volatile Throwable error;
    private boolean hasStarted;

    /**
     * A worker as the environment says: jobs from Kafka at {@code GOSSAMER_KAFKA}, else at {@code
     * localhost:9092}; or over HTTP from the gateway at {@code GOSSAMER_URL}.
     *
     * @throws IllegalArgumentException both are named
     */
    public Worker() {
        this(WorkerOptions.fromEnvironment());
    }

    /**
     * A worker.
     *
     * @throws IllegalArgumentException both Kafka and a gateway are named, or a value cannot be
     */
    public Worker(WorkerOptions options) {
        if (options.kafka != null && options.url != null) {
            throw new IllegalArgumentException(
                    "jobs come from Kafka or from a gateway's URL: name one of them");
        }
        line =
                options.url == null
                        ? null
                        : new Line(options.url, options.token, options.tokenFile, options.caFile);
        this.options = new WorkerOptions(options); // the caller may go on with its own
        name = options.name != null ? options.name : madeName();
    }

    /** What histories call this worker. */
    public String name() {
        return name;
    }

    /** Has a handler do the jobs of an action; its payload is read as Jackson reads an Object. */
    public void register(String action, Handler<Object> handler) {
        register(action, Object.class, handler, RegisterOptions.DEFAULT);
    }

    /** The same, with options. */
    public void register(String action, Handler<Object> handler, RegisterOptions options) {
        register(action, Object.class, handler, options);
    }

    /** Has a handler do the jobs of an action, and know more of each. */
    public void register(String action, ContextHandler<Object> handler) {
        register(action, Object.class, handler, RegisterOptions.DEFAULT);
    }

    /** The same, with options. */
    public void register(String action, ContextHandler<Object> handler, RegisterOptions options) {
        register(action, Object.class, handler, options);
    }

    /** Has a handler do the jobs of an action, whose payload Jackson reads as this type. */
    public <P> void register(String action, Class<P> type, Handler<P> handler) {
        register(action, type, handler, RegisterOptions.DEFAULT);
    }

    /** The same, with options. */
    public <P> void register(
            String action, Class<P> type, Handler<P> handler, RegisterOptions options) {
        Objects.requireNonNull(handler, "a handler is a function");
        register(action, type, (payload, context) -> handler.handle(payload), options);
    }

    /** Has a handler do the jobs of an action, whose payload Jackson reads as this type. */
    public <P> void register(String action, Class<P> type, ContextHandler<P> handler) {
        register(action, type, handler, RegisterOptions.DEFAULT);
    }

    /**
     * Has a handler do the jobs of an action. What it returns is the step's output; what it throws
     * makes the attempt fail.
     *
     * @throws IllegalStateException the action has a handler, or the worker was started
     */
    public <P> void register(
            String action, Class<P> type, ContextHandler<P> handler, RegisterOptions options) {
        Objects.requireNonNull(handler, "a handler is a function");
        Objects.requireNonNull(options);
        if (hasStarted) {
            throw new IllegalStateException("handlers are registered before the worker starts");
        }
        if (action == null || action.isEmpty()) {
            throw new IllegalArgumentException("an action is a text that is not empty");
        }
        if (handlers.containsKey(action)) {
            throw new IllegalStateException("there is a handler of " + action + " already");
        }
        handlers.put(
                action,
                new Desk.Registered(
                        (payload, context) -> handler.handle(typed(payload), context),
                        type,
                        options));
    }

    /** What Jackson read as a type is of it; {@code int.class.cast} would refuse an Integer. */
    @SuppressWarnings("unchecked")
    private static <P> P typed(Object payload) {
        return (P) payload;
    }

    /**
     * Does jobs until {@link #stop}, SIGTERM or SIGINT; then returns when what was begun is done.
     * Where Kafka or the gateway is away it waits, says so once, and goes on when it is back.
     *
     * @throws IllegalStateException there is no handler, or it was started before; or a defect here
     *     broke the worker
     */
    public void start() {
        if (handlers.isEmpty()) {
            throw new IllegalStateException(
                    "register a handler first: a worker of no action has nothing to do");
        }
        if (hasStarted) {
            throw new IllegalStateException("a worker is started once");
        }
        hasStarted = true;
        // Over Kafka some wait here already, so that no hand is idle between two polls.
        int takenMax = options.concurrency * (line == null ? 4 : 1);
        Desk desk = new Desk(handlers, name, options.concurrency, takenMax);
        Jobs jobs = jobs(desk);
        Thread hook = new Thread(this::stopAndWait, "gossamer-stop");
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            jobs.start();
            stopping.await();
            jobs.stop();
            if (!desk.drain(options.grace)) {
                options.say.accept("stopped with jobs at work; they will be given to others");
            }
            jobs.close();
        } catch (InterruptedException interrupted) {
            jobs.stop();
            Thread.currentThread().interrupt();
        } finally {
            stopped.countDown();
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException isEnding) {
                // the hook is what ends it
            }
        }
        if (error != null) {
            throw new IllegalStateException("the worker broke: " + error, error);
        }
    }

    /** Has {@link #start} return: from any thread, and from a handler. */
    public void stop() {
        stopping.countDown();
    }

    private Jobs jobs(Desk desk) {
        List<String> actions = List.copyOf(handlers.keySet());
        if (line != null) {
            return new HttpJobs(line, actions, name, desk, this::broke, options.say);
        }
        String servers = options.kafka != null ? options.kafka : "localhost:9092";
        return new KafkaJobs(
                servers, actions, name, desk, options.kafkaOptions, this::broke, options.say);
    }

    private void broke(Throwable cause) {
        error = cause;
        stop();
    }

    private void stopAndWait() {
        stop();
        try {
            stopped.await(options.grace.toMillis() + 20_000, TimeUnit.MILLISECONDS);
        } catch (InterruptedException isMeant) {
            Thread.currentThread().interrupt();
        }
    }

    private static String madeName() {
        String host;
        try {
            host = InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException none) {
            host = "worker";
        }
        int some = ThreadLocalRandom.current().nextInt(0x10000);
        return String.format("%s-%d-%04x", host, ProcessHandle.current().pid(), some);
    }
}
