package dev.gossamer.worker;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gossamer.worker.Line.Trouble;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * Jobs from a gateway over HTTP: a long poll takes them under a lock, answers go back in batches.
 *
 * <p>Three threads: one fetches as many jobs as there are hands for (nothing waits here while another
 * worker is idle), one sends answers until they are taken, one makes locks longer while their jobs
 * are at work.
 */
final class HttpJobs implements Jobs {
    /** How long the gateway may hold a question for jobs. */
    private static final int WAIT_MS = 10_000;

    /** For how long a job is this worker's; made longer at a third of it. */
    private static final int LOCK_MS = 30_000;

    /**
     * For how long a job is kept that is left at a stop: the gateway takes no less. Then others are
     * given it, instead of at the end of its lock.
     */
    private static final int LEFT_LOCK_MS = 100;

    /** How long a gateway may take for anything but waiting for jobs. */
    private static final int ANSWER_MS = 15_000;

    /** The same, for the last word of a worker that stops. */
    private static final int LAST_MS = 2_000;

    /** What is answered in one request, unless a single result is larger. */
    private static final int BATCH = 100;

    private static final int BATCH_CHARACTERS_MAX = 2 * 1_048_576;

    private record Sending(Job job, String text, boolean isLast) {}

    private final Line line;
    private final List<String> actions;
    private final String worker;
    private final Desk desk;
    private final Consumer<Throwable> broken;
    private final Consumer<String> say;
    private final String place;
    private final Voice voice;
    private final Map<String, Job> held = new ConcurrentHashMap<>();
    private final BlockingQueue<Sending> results = new LinkedBlockingQueue<>();
    private final CountDownLatch stopping = new CountDownLatch(1);
    private final CountDownLatch closing = new CountDownLatch(1);
    private final Thread fetching = Desk.thread("gossamer-fetch", () -> guard(this::fetch));
    private final Thread sending = Desk.thread("gossamer-send", () -> guard(this::send));
    private final Thread keeping = Desk.thread("gossamer-keep", () -> guard(this::keep));

    @FunctionalInterface
    private interface Run {
        void run() throws InterruptedException;
    }

    HttpJobs(
            Line line,
            List<String> actions,
            String worker,
            Desk desk,
            Consumer<Throwable> broken,
            Consumer<String> say) {
        this.line = line;
        this.actions = actions;
        this.worker = worker;
        this.desk = desk;
        this.broken = broken;
        this.say = say;
        place = line.place();
        voice = new Voice(place, say);
    }

    @Override
    public void start() {
        fetching.start();
        sending.start();
        keeping.start();
    }

    @Override
    public void stop() {
        stopping.countDown();
        fetching.interrupt(); // it may wait for an answer
    }

    @Override
    public void close() throws InterruptedException {
        closing.countDown();
        sending.interrupt();
        keeping.interrupt();
        fetching.join(1_000);
        sending.join(1_000);
        keeping.join(1_000);
        if (!held.isEmpty()) {
            try {
                extend(held.values(), LEFT_LOCK_MS, LAST_MS);
            } catch (Trouble error) {
                return; // then they are given to others when their lock ends
            }
        }
    }

    private void guard(Run run) {
        try {
            run.run();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException | Error error) {
            broken.accept(error);
        }
    }

    private boolean isStopping() {
        return stopping.getCount() == 0;
    }

    private void fetch() throws InterruptedException {
        boolean isReady = false;
        int tries = 0;
        while (!isStopping()) {
            int room = desk.waitRoom(1_000);
            if (room == 0) {
                continue;
            }
            ObjectNode asked = Messages.JSON.createObjectNode();
            asked.set("actions", Messages.JSON.valueToTree(actions));
            asked.put("worker", worker);
            asked.put("max", room);
            // The first answer says that all is well; it is not waited for.
            asked.put("waitMs", isReady ? WAIT_MS : 0);
            asked.put("lockMs", LOCK_MS);
            JsonNode jobs;
            try {
                jobs = post("fetch", asked.toString(), WAIT_MS + ANSWER_MS).path("jobs");
                if (!jobs.isArray()) {
                    throw new Trouble("it answers without `jobs`; is it a gateway?");
                }
            } catch (Trouble error) {
                if (!isStopping()) {
                    tries += 1;
                    voice.away(error.getMessage(), error.kind);
                    stopping.await(Voice.waitMs(tries), TimeUnit.MILLISECONDS);
                }
                continue;
            }
            tries = 0;
            voice.back();
            if (!isReady) {
                isReady = true;
                say.accept("ready: " + String.join(", ", actions) + " from " + place);
            }
            jobs.forEach(this::take);
        }
    }

    private void take(JsonNode found) {
        Job job;
        try {
            job = Messages.readJob(found);
            if (!actions.contains(job.action())) {
                throw new Unreadable("its action was not asked for");
            }
        } catch (Unreadable error) {
            say.accept(place + " gave what is no job: " + error.getMessage());
            return;
        }
        held.put(name(job), job);
        desk.take(
                job,
                outcome ->
                        results.add(
                                new Sending(job, Messages.result(job, outcome, worker), false)),
                (one, lock) -> {
                    try {
                        extend(List.of(one), lock.toMillis(), ANSWER_MS);
                    } catch (InterruptedException error) {
                        Thread.currentThread().interrupt();
                        throw new IOException("interrupted", error);
                    }
                });
    }

    private void send() throws InterruptedException {
        while (true) {
            List<Sending> batch = new ArrayList<>();
            batch.add(results.take());
            int characters = batch.get(0).text().length();
            while (batch.size() < BATCH && characters < BATCH_CHARACTERS_MAX) {
                Sending one = results.poll();
                if (one == null) {
                    break;
                }
                batch.add(one);
                characters += one.text().length();
            }
            deliver(batch);
        }
    }

    private void deliver(List<Sending> batch) throws InterruptedException {
        String body =
                batch.stream()
                        .map(Sending::text)
                        .collect(Collectors.joining(",", "{\"worker\":" + quoted(worker)
                                + ",\"results\":[", "]}"));
        for (int tries = 1; closing.getCount() > 0; tries++) {
            try {
                post("results", body, ANSWER_MS);
                voice.back();
                for (Sending one : batch) {
                    done(one.job());
                }
                return;
            } catch (Trouble error) {
                if (List.of(400, 413, 422).contains(error.status)) {
                    refused(batch, error);
                    return;
                }
                voice.away(error.getMessage(), error.kind);
                closing.await(Voice.waitMs(tries), TimeUnit.MILLISECONDS);
            }
        }
    }

    private void refused(List<Sending> batch, Trouble error) throws InterruptedException {
        if (batch.size() > 1) { // one of them is not taken: which?
            for (Sending one : batch) {
                deliver(List.of(one));
            }
            return;
        }
        Sending one = batch.get(0);
        say.accept(place + " does not take the result of " + one.job().key() + ": "
                + error.getMessage());
        if (one.isLast()) {
            done(one.job()); // its time will be over
            return;
        }
        String message = "the gateway did not take the result: " + error.getMessage();
        Outcome outcome = Messages.failed(
                new Failures.Failure("Refused", Failures.bounded(message, 500), false, ""));
        deliver(List.of(
                new Sending(one.job(), Messages.result(one.job(), outcome, worker), true)));
    }

    private void done(Job job) {
        held.remove(name(job));
        desk.sent();
    }

    private void keep() throws InterruptedException {
        while (!closing.await(LOCK_MS / 3, TimeUnit.MILLISECONDS)) {
            if (!held.isEmpty()) {
                try {
                    extend(held.values(), LOCK_MS, ANSWER_MS);
                } catch (Trouble error) {
                    voice.away(error.getMessage(), error.kind);
                }
            }
        }
    }

    private void extend(Collection<Job> jobs, long lockMs, int answerMs)
            throws Trouble, InterruptedException {
        ObjectNode asked = Messages.JSON.createObjectNode();
        asked.put("worker", worker);
        asked.put("lockMs", lockMs);
        ArrayNode names = asked.putArray("jobs");
        for (Job job : jobs) {
            names.addObject()
                    .put("run", job.run())
                    .put("step", job.step())
                    .put("attempt", job.attempt());
        }
        post("extend", asked.toString(), answerMs);
    }

    private JsonNode post(String path, String body, int ms) throws Trouble, InterruptedException {
        return line.post("/workflow/jobs/" + path, body, ms);
    }

    private static String quoted(String text) {
        return Messages.JSON.getNodeFactory().textNode(text).toString();
    }

    private static String name(Job job) {
        return job.key() + ":" + job.attempt();
    }
}
