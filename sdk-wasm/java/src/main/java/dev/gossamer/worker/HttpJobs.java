package dev.gossamer.worker;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
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

    /** How long a gateway may take for anything but waiting for jobs. */
    private static final int ANSWER_MS = 15_000;

    /** What is answered in one request, unless a single result is larger. */
    private static final int BATCH = 100;

    private static final int BATCH_CHARACTERS_MAX = 2 * 1_048_576;

    /** The gateway answered, and not with what was asked for. Status 0: no sense at all. */
    private static final class Refused extends IOException {
        private static final long serialVersionUID = 1L;
        private final int status;

        Refused(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    private record Sending(Job job, String text, boolean isLast) {}

    private final String base;
    private final String token;
    private final List<String> actions;
    private final String worker;
    private final Desk desk;
    private final Consumer<Throwable> broken;
    private final Consumer<String> say;
    private final String place;
    private final Voice voice;
    private final HttpClient client =
            HttpClient.newBuilder()
                    .version(HttpClient.Version.HTTP_1_1)
                    .connectTimeout(Duration.ofMillis(ANSWER_MS))
                    .build();
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
            String url,
            String token,
            List<String> actions,
            String worker,
            Desk desk,
            Consumer<Throwable> broken,
            Consumer<String> say) {
        base = url.replaceAll("/+$", "");
        this.token = token;
        this.actions = actions;
        this.worker = worker;
        this.desk = desk;
        this.broken = broken;
        this.say = say;
        place = "the gateway at " + url;
        voice = new Voice(place, say);
    }

    /** Throws IllegalArgumentException for what is no URL of a gateway. */
    static void check(String url) {
        try {
            URI uri = URI.create(url);
            if (uri.getHost() != null && List.of("http", "https").contains(uri.getScheme())) {
                return;
            }
        } catch (IllegalArgumentException error) {
            // said below
        }
        throw new IllegalArgumentException(
                "a gateway's URL is http://host:port or https://…, not " + url);
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
                    throw new Refused(0, "it answers without `jobs`; is it a gateway?");
                }
            } catch (IOException error) {
                if (!isStopping()) {
                    tries += 1;
                    voice.away(trouble(error));
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
                        extend(List.of(one), lock.toMillis());
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
            } catch (IOException error) {
                if (error instanceof Refused refused
                        && List.of(400, 413, 422).contains(refused.status)) {
                    refused(batch, refused);
                    return;
                }
                voice.away(trouble(error));
                closing.await(Voice.waitMs(tries), TimeUnit.MILLISECONDS);
            }
        }
    }

    private void refused(List<Sending> batch, Refused error) throws InterruptedException {
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
                    extend(held.values(), LOCK_MS);
                } catch (IOException error) {
                    voice.away(trouble(error));
                }
            }
        }
    }

    private void extend(Collection<Job> jobs, long lockMs)
            throws IOException, InterruptedException {
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
        post("extend", asked.toString(), ANSWER_MS);
    }

    private JsonNode post(String path, String body, int ms)
            throws IOException, InterruptedException {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(URI.create(base + "/workflow/jobs/" + path))
                        .timeout(Duration.ofMillis(ms))
                        .header("Content-Type", "application/json")
                        .header("Accept", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofString(body));
        if (token != null && !token.isEmpty()) {
            request.header("Authorization", "Bearer " + token);
        }
        HttpResponse<String> answer =
                client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() / 100 != 2) {
            String said = Failures.bounded(answer.body(), 200).strip();
            throw new Refused(
                    answer.statusCode(), "it answers " + answer.statusCode() + ": " + said);
        }
        try {
            return Messages.JSON.readTree(answer.body());
        } catch (JsonProcessingException error) {
            throw new Refused(0, "it answers what is not JSON; is it a gateway?");
        }
    }

    private static String quoted(String text) {
        return Messages.JSON.getNodeFactory().textNode(text).toString();
    }

    private static String name(Job job) {
        return job.key() + ":" + job.attempt();
    }

    private static String trouble(IOException error) {
        if (error instanceof Refused) {
            return error.getMessage();
        }
        String why = error.getMessage() == null ? error.getClass().getSimpleName()
                : error.getMessage();
        return "it cannot be reached (" + why + ")";
    }
}
