package dev.gossamer.worker;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Jobs at work: at most {@code concurrency} handlers at a time, each in a thread, none for ever.
 *
 * <p>Java cannot end a thread; so one whose handler is still at work when its job is due is
 * interrupted and left behind: the job is reported as {@code Timeout}, and another thread takes its
 * place, for at most as many as {@code concurrency}. Whatever it gives later is nobody's.
 *
 * <p>Every job that is taken ends in exactly one call of its {@code say}; the transport calls {@link
 * #sent} when that answer has arrived for good. Between the two it counts as taken, and what is taken
 * is bounded.
 */
final class Desk {
    /** How often is looked for handlers whose time is over. */
    private static final long WATCH_MS = 100;

    /** A handler and its options. */
    record Registered(ContextHandler<Object> handler, Class<?> type, RegisterOptions options) {}

    /** Makes a job's lock longer. */
    @FunctionalInterface
    interface Extend {
        void extend(Job job, Duration lock) throws IOException;
    }

    private static final class Task {
        final Job job;
        final Consumer<Outcome> say;
        final Extend extend;
        Thread thread;
        boolean hasBegun;
        boolean hasEnded;
        boolean isLeft;

        Task(Job job, Consumer<Outcome> say, Extend extend) {
            this.job = job;
            this.say = say;
            this.extend = extend;
        }
    }

    private record ThisContext(Job job, String worker, Extend by) implements Context {
        @Override
        public String run() {
            return job.run();
        }

        @Override
        public String workflow() {
            return job.workflow();
        }

        @Override
        public String step() {
            return job.step();
        }

        @Override
        public int attempt() {
            return job.attempt();
        }

        @Override
        public String action() {
            return job.action();
        }

        @Override
        public String key() {
            return job.key();
        }

        @Override
        public long dueMs() {
            return job.dueMs();
        }

        @Override
        public void extend(Duration lock) throws IOException {
            by.extend(job, lock);
        }
    }

    private final Map<String, Registered> handlers;
    private final String worker;
    private final int concurrency;
    private final int takenMax;
    private final Memory<Task> memory = new Memory<>();
    private final ArrayDeque<Task> queue = new ArrayDeque<>();
    private final Set<Task> tasks = new HashSet<>();
    private int taken;
    private int threads;
    private int idle;
    private int left;
    private boolean isDraining;
    private boolean isClosed;

    Desk(Map<String, Registered> handlers, String worker, int concurrency, int takenMax) {
        this.handlers = Map.copyOf(handlers);
        this.worker = worker;
        this.concurrency = concurrency;
        this.takenMax = takenMax;
        thread("gossamer-watch", this::watch).start();
    }

    static Thread thread(String name, Runnable run) {
        Thread thread = new Thread(run, name);
        thread.setDaemon(true);
        return thread;
    }

    /** How many more jobs may be taken, waiting so long for the first. */
    synchronized int waitRoom(long ms) throws InterruptedException {
        await(ms, () -> taken < takenMax || isDraining);
        return isDraining ? 0 : Math.max(0, takenMax - taken);
    }

    /** Takes a job; {@code say} is called once, from any thread, with what came of it. */
    void take(Job job, Consumer<Outcome> say, Extend extend) {
        Task task = new Task(job, say, extend);
        Memory.Taken known;
        synchronized (this) {
            taken += 1;
            known = memory.take(job.key(), job.attempt(), task);
            if (known.fate() == Memory.Fate.RUN) {
                enqueue(task);
            }
        }
        if (known.fate() == Memory.Fate.REPEAT) {
            say.accept(known.outcome());
        }
    }

    /** An answer arrived, for good. */
    synchronized void sent() {
        taken -= 1;
        notifyAll();
    }

    /**
     * Begins nothing more, and waits until all that has begun is answered for good.
     *
     * @return whether it is; else the grace was not enough
     */
    synchronized boolean drain(Duration grace) throws InterruptedException {
        isDraining = true;
        for (Task task : queue) {
            task.hasEnded = true; // it is not answered: others are given it
            tasks.remove(task);
            taken -= 1 + memory.drop(task.job.key());
        }
        queue.clear();
        notifyAll();
        boolean done = await(grace.toMillis(), () -> taken <= 0);
        for (Task task : tasks) { // nobody waits for them any more
            task.hasEnded = true;
            if (task.thread != null) {
                task.thread.interrupt();
            }
        }
        isClosed = true;
        notifyAll();
        return done;
    }

    private void enqueue(Task task) {
        if (isDraining) {
            taken -= 1 + memory.drop(task.job.key());
            notifyAll();
            return;
        }
        queue.add(task);
        tasks.add(task);
        if (idle == 0 && threads - left < concurrency) {
            begin();
        }
        notifyAll();
    }

    private void begin() {
        threads += 1;
        thread("gossamer-handler-" + threads, this::work).start();
    }

    private void work() {
        try {
            for (Task task = next(); task != null; task = next()) {
                Outcome outcome = run(task);
                boolean isLeft;
                synchronized (this) {
                    task.thread = null; // from here on it is not interrupted any more
                    isLeft = task.isLeft;
                    if (isLeft) { // another thread has its place
                        left -= 1;
                        threads -= 1;
                    }
                    Thread.interrupted(); // what was meant for the handler
                }
                end(task, outcome);
                if (isLeft) {
                    return;
                }
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized Task next() throws InterruptedException {
        while (true) {
            idle += 1;
            try {
                await(Long.MAX_VALUE, () -> !queue.isEmpty() || isClosed);
            } finally {
                idle -= 1;
            }
            Task task = queue.poll();
            if (task == null || !task.hasEnded) {
                if (task != null) {
                    task.hasBegun = true;
                    task.thread = Thread.currentThread();
                }
                return task;
            }
        }
    }

    private Outcome run(Task task) {
        Job job = task.job;
        long lateMs = System.currentTimeMillis() - job.dueMs();
        if (lateMs >= 0) {
            return timeout("it was not run: it was due " + lateMs + " ms before it came");
        }
        Registered registered = handlers.get(job.action());
        Object payload;
        try {
            payload = Messages.JSON.treeToValue(job.payload(), registered.type());
        } catch (IOException | RuntimeException error) {
            String message = "the payload is no " + registered.type().getSimpleName() + ": ";
            return Messages.failed(
                    new Failures.Failure("Payload", message + error.getMessage(), false, ""));
        }
        try {
            Context context = new ThisContext(job, worker, task.extend);
            return Messages.completed(registered.handler().handle(payload, context));
        } catch (Throwable error) { // whatever it is, it is this job's
            return Messages.failed(Failures.of(error, registered.options().notRetryable()));
        }
    }

    private static Outcome timeout(String message) {
        return Messages.failed(new Failures.Failure("Timeout", message, true, ""));
    }

    private void end(Task task, Outcome outcome) {
        List<Memory.Then<Task>> then;
        synchronized (this) {
            if (task.hasEnded) {
                return;
            }
            task.hasEnded = true;
            tasks.remove(task);
            then = memory.done(task.job.key(), outcome);
            for (Memory.Then<Task> one : then) {
                if (one.outcome() == null) {
                    enqueue(one.ticket());
                }
            }
        }
        task.say.accept(outcome);
        for (Memory.Then<Task> one : then) {
            if (one.outcome() != null) {
                one.ticket().say.accept(one.outcome());
            }
        }
    }

    private void watch() {
        try {
            while (true) {
                List<Task> late = new ArrayList<>();
                synchronized (this) {
                    if (await(WATCH_MS, () -> isClosed)) {
                        return;
                    }
                    long nowMs = System.currentTimeMillis();
                    for (Task task : tasks) {
                        boolean isEnding = task.hasBegun && task.thread == null;
                        if (task.job.dueMs() <= nowMs && !isEnding) {
                            late.add(task);
                        }
                    }
                    for (Task task : late) {
                        leave(task);
                    }
                }
                for (Task task : late) {
                    String how = task.hasBegun ? "its handler is still at work" : "it was not run";
                    end(task, timeout("its time is over; " + how));
                }
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private void leave(Task task) {
        if (task.thread == null) {
            return;
        }
        task.thread.interrupt();
        if (left < concurrency) {
            task.isLeft = true;
            left += 1;
            if (!queue.isEmpty()) {
                begin();
            }
        }
    }

    private boolean await(long ms, BooleanSupplier until) throws InterruptedException {
        long endNs = System.nanoTime() + Math.min(ms, 1L << 40) * 1_000_000;
        while (!until.getAsBoolean()) {
            long leftMs = (endNs - System.nanoTime() + 999_999) / 1_000_000;
            if (leftMs <= 0) {
                return false;
            }
            wait(leftMs);
        }
        return true;
    }
}
