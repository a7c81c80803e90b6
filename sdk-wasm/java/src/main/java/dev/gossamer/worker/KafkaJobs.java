package dev.gossamer.worker;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Jobs from the topic {@code workflow-jobs}, answers to {@code workflow-results}.
 *
 * <p>Each action has a consumer group of its own ({@code workflow-worker.<action>}), so workers of one
 * action share its jobs and every action gets all of its own; jobs of others are passed over by a
 * header. A thread per action polls, and goes on polling while handlers are busy (its partitions are
 * paused then): a handler may take hours and the partition stays. An offset is committed when the
 * answers of all jobs before it were acknowledged by Kafka. So nothing is lost; what comes twice is
 * known by its key ({@link Memory}).
 *
 * <p>The assignment strategy is {@code range}, which the default clients of all languages know:
 * workers written in several may share an action.
 */
final class KafkaJobs implements Jobs {
    private static final String JOBS = "workflow-jobs";
    private static final String RESULTS = "workflow-results";
    private static final String DEAD_LETTERS = "workflow-jobs-dead-letters";

    /** Of what is sent: a result of the greatest size, and the rest of its message. */
    private static final int MESSAGE_BYTES_MAX = 4 * 1_048_576;

    /** Of what is fetched at once: shared by the actions, of which each reads the whole topic. */
    private static final int FETCH_BYTES_MAX = 8 * 1_048_576;

    /** What is larger is fetched all the same, alone. */
    private static final int FETCH_BYTES_MIN = 256 * 1_024;

    /** Dead letters on their way: a topic full of junk is read no faster than they are kept. */
    private static final int LETTERS_MAX = 100;

    private static final long POLL_MS = 100;

    /** How often what is finished is committed. After a kill, what was finished since comes again. */
    private static final long COMMIT_MS = 200;

    /** How often is looked whether Kafka is there; the clients themselves only log that. */
    private static final long LOOK_MS = 2_000;

    private static final long ANSWER_MS = 5_000;

    /** The kind of trouble that is not over because Kafka answers. */
    private static final String RIGHTS = "rights";

    private final List<String> actions;
    private final String worker;
    private final Desk desk;
    private final Map<String, Object> common;
    private final Consumer<Throwable> broken;
    private final Consumer<String> say;
    private final String place;
    private final Voice voice;
    private final Admin admin;
    private final KafkaProducer<byte[], byte[]> producer;
    private final ScheduledExecutorService later;
    private final List<Thread> readers = new ArrayList<>();
    private final Set<String> ready = new HashSet<>();
    private final CountDownLatch stopping = new CountDownLatch(1);
    private volatile boolean isClosing;

    KafkaJobs(
            String servers,
            List<String> actions,
            String worker,
            Desk desk,
            Map<String, Object> options,
            Consumer<Throwable> broken,
            Consumer<String> say) {
        this.actions = actions;
        this.worker = worker;
        this.desk = desk;
        this.broken = broken;
        this.say = say;
        place = "Kafka at " + servers;
        voice = new Voice(place, say);
        common = new HashMap<>();
        common.put("bootstrap.servers", servers);
        common.put("client.id", worker);
        common.put("reconnect.backoff.max.ms", 2_000);
        common.putAll(options);
        admin = Admin.create(common);
        Map<String, Object> sending = new HashMap<>(common);
        sending.put("linger.ms", 1);
        // A result that comes twice changes nothing, and an idempotent producer may end for good, over
        // a right that it lacks or what a broker has lost.
        sending.put("enable.idempotence", false);
        sending.put("acks", "all");
        sending.put("max.request.size", MESSAGE_BYTES_MAX);
        sending.put("buffer.memory", 16 * 1_048_576);
        sending.put("max.block.ms", 5_000);
        producer =
                new KafkaProducer<>(sending, new ByteArraySerializer(), new ByteArraySerializer());
        later =
                Executors.newSingleThreadScheduledExecutor(
                        run -> Desk.thread("gossamer-sender", run));
    }

    @Override
    public void start() {
        later.scheduleWithFixedDelay(this::look, LOOK_MS, LOOK_MS, TimeUnit.MILLISECONDS);
        for (String action : actions) {
            Thread reader = Desk.thread("gossamer-" + action, () -> read(action));
            readers.add(reader);
            reader.start();
        }
    }

    @Override
    public void stop() {
        stopping.countDown();
    }

    @Override
    public void close() throws InterruptedException {
        isClosing = true;
        for (Thread reader : readers) {
            reader.join(10_000);
        }
        later.shutdownNow();
        producer.close(Duration.ofSeconds(5));
        admin.close(Duration.ofSeconds(1));
    }

    private boolean isStopping() {
        return stopping.getCount() == 0;
    }

    private void read(String action) {
        try {
            for (int tries = 1; !isStopping(); tries++) {
                waitTopics();
                if (!isStopping()) {
                    readUntilRefused(action);
                }
                stopping.await(Voice.waitMs(tries), TimeUnit.MILLISECONDS);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException | Error error) {
            broken.accept(error);
        }
    }

    private void readUntilRefused(String action) throws InterruptedException {
        try {
            new Reader(action).run();
        } catch (AuthenticationException | AuthorizationException error) {
            away(error); // somebody may mend it; what was not committed comes again
        }
    }

    private void waitTopics() throws InterruptedException {
        for (int tries = 1; !isStopping(); tries++) {
            try {
                Set<String> there = admin.listTopics().names().get(ANSWER_MS, TimeUnit.MILLISECONDS);
                if (there.contains(JOBS) && there.contains(RESULTS)) {
                    voice.back();
                    return;
                }
                String missing = there.contains(JOBS) ? RESULTS : JOBS;
                voice.away("it has no topic " + missing + ", or none for this worker");
            } catch (ExecutionException | TimeoutException error) {
                away(error);
            }
            stopping.await(Voice.waitMs(tries), TimeUnit.MILLISECONDS);
        }
    }

    private void look() {
        try {
            admin.describeCluster().nodes().get(ANSWER_MS, TimeUnit.MILLISECONDS);
            if (ready.size() == actions.size()) {
                voice.back(RIGHTS);
            }
        } catch (ExecutionException | TimeoutException error) {
            away(error);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException error) {
            voice.away(String.valueOf(error.getMessage()));
        }
    }

    /** Says what an error means, in words for whoever runs the worker. */
    private void away(Throwable error) {
        Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
        String why = " (" + cause.getMessage() + ")";
        if (cause instanceof SslAuthenticationException) {
            voice.away("TLS with it fails" + why, "tls");
        } else if (cause instanceof AuthenticationException) {
            voice.away("it does not let this worker in" + why, "authentication");
        } else if (cause instanceof AuthorizationException) {
            voice.away("it does not let this worker do its work" + why, RIGHTS);
        } else {
            voice.away("it cannot be reached");
        }
    }

    private void isReady(String action) {
        synchronized (ready) {
            if (!ready.add(action) || ready.size() < actions.size()) {
                return;
            }
        }
        say.accept("ready: " + String.join(", ", actions) + " from " + place);
    }

    /** Sends, and runs {@code arrived} once it is kept; {@code smaller} instead of what is too large. */
    private void send(
            ProducerRecord<byte[], byte[]> message,
            ProducerRecord<byte[], byte[]> smaller,
            int tries,
            Runnable arrived) {
        try {
            producer.send(
                    message,
                    (place, error) -> {
                        if (error == null) {
                            if (tries > 0) {
                                voice.back();
                            }
                            arrived.run();
                        } else if (error instanceof RecordTooLargeException && smaller != null) {
                            again(smaller, null, tries, arrived, null);
                        } else {
                            again(message, smaller, tries + 1, arrived, error);
                        }
                    });
        } catch (KafkaException error) {
            again(message, smaller, tries + 1, arrived, error);
        } catch (IllegalStateException error) {
            return; // closed: the worker's grace is over
        }
    }

    private void again(
            ProducerRecord<byte[], byte[]> message,
            ProducerRecord<byte[], byte[]> smaller,
            int tries,
            Runnable arrived,
            Exception trouble) {
        if (trouble != null) {
            voice.away(
                    message.topic() + " takes nothing: " + trouble.getMessage(),
                    trouble instanceof AuthorizationException ? RIGHTS : "");
        }
        if (!later.isShutdown()) {
            // Not in the producer's own thread, which may not wait for it.
            later.schedule(
                    () -> send(message, smaller, tries, arrived),
                    trouble == null ? 0 : Voice.waitMs(tries),
                    TimeUnit.MILLISECONDS);
        }
    }

    /** The jobs of one action; all is its thread's but what {@link Offsets} keeps. */
    private final class Reader implements ConsumerRebalanceListener {
        private final String action;
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Map<TopicPartition, Offsets> offsets = new HashMap<>();
        private final Map<TopicPartition, Long> committed = new HashMap<>();
        private final ArrayDeque<ConsumerRecord<byte[], byte[]>> fetched = new ArrayDeque<>();
        private final AtomicInteger letters = new AtomicInteger();

        Reader(String action) {
            this.action = action;
            Map<String, Object> reading = new HashMap<>(common);
            reading.put("client.id", worker + "." + action); // of its own: its metrics are, too
            reading.put("group.id", "workflow-worker." + action);
            reading.put("auto.offset.reset", "earliest");
            reading.put("enable.auto.commit", false);
            reading.put("allow.auto.create.topics", false);
            reading.put("partition.assignment.strategy", RangeAssignor.class.getName());
            // A worker that was killed is noticed after this; heartbeats have their own thread.
            reading.put("session.timeout.ms", 10_000);
            reading.put("max.poll.records", 200);
            int fetchBytes = Math.max(FETCH_BYTES_MIN, FETCH_BYTES_MAX / actions.size());
            reading.put("fetch.max.bytes", fetchBytes);
            reading.put("max.partition.fetch.bytes", Math.min(fetchBytes, 1_048_576));
            consumer =
                    new KafkaConsumer<>(
                            reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        void run() throws InterruptedException {
            try {
                consumer.subscribe(List.of(JOBS), this);
                long commitNs = System.nanoTime();
                while (!isClosing) {
                    boolean isFull = !fetched.isEmpty() || isFull();
                    if (isFull) {
                        consumer.pause(consumer.assignment());
                    } else {
                        consumer.resume(consumer.paused());
                    }
                    consumer.poll(Duration.ofMillis(isFull ? 1 : POLL_MS)).forEach(fetched::add);
                    while (!fetched.isEmpty() && !isFull()) {
                        handle(fetched.poll());
                    }
                    if (System.nanoTime() - commitNs >= COMMIT_MS * 1_000_000) {
                        commitNs = System.nanoTime();
                        commit(false);
                    }
                    if (isStopping() || letters.get() >= LETTERS_MAX) {
                        Thread.sleep(POLL_MS / 5);
                    } else if (!fetched.isEmpty() || isFull) {
                        desk.waitRoom(POLL_MS);
                    }
                }
                commit(true);
            } finally {
                consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)));
            }
        }

        private boolean isFull() throws InterruptedException {
            return isStopping() || letters.get() >= LETTERS_MAX || desk.waitRoom(0) == 0;
        }

        private void handle(ConsumerRecord<byte[], byte[]> message) {
            TopicPartition partition = new TopicPartition(JOBS, message.partition());
            Offsets mine = offsets.computeIfAbsent(partition, one -> new Offsets());
            long offset = message.offset();
            Job job;
            try {
                job = Messages.readMessage(action, header(message, "action"), message.value());
            } catch (Unreadable unreadable) {
                mine.begin(offset);
                letters.incrementAndGet();
                putAside(
                        message,
                        unreadable.getMessage(),
                        () -> {
                            letters.decrementAndGet();
                            mine.finish(offset);
                        });
                return;
            }
            if (job == null) {
                mine.skip(offset);
                return;
            }
            mine.begin(offset);
            desk.take(
                    job,
                    outcome -> {
                        byte[] value = bytes(Messages.result(job, outcome, worker));
                        Outcome less = Messages.tooLarge(value.length);
                        byte[] key = bytes(job.run());
                        send(
                                new ProducerRecord<>(RESULTS, key, value),
                                new ProducerRecord<>(
                                        RESULTS, key, bytes(Messages.result(job, less, worker))),
                                0,
                                () -> {
                                    mine.finish(offset);
                                    desk.sent();
                                });
                    },
                    (one, lock) -> {});
        }

        private void putAside(
                ConsumerRecord<byte[], byte[]> message, String reason, Runnable arrived) {
            say.accept(
                    String.format(
                            "a job that cannot be read (%s) is put aside in %s: partition %d, offset %d",
                            reason, DEAD_LETTERS, message.partition(), message.offset()));
            ProducerRecord<byte[], byte[]> letter =
                    new ProducerRecord<>(
                            DEAD_LETTERS, null, message.key(), message.value(), message.headers());
            letter.headers()
                    .add("reason", bytes(reason))
                    .add("topic", bytes(JOBS))
                    .add("partition", bytes(Integer.toString(message.partition())))
                    .add("offset", bytes(Long.toString(message.offset())));
            send(letter, null, 0, arrived);
        }

        private void commit(boolean waits) {
            Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
            offsets.forEach(
                    (partition, one) -> {
                        long position = one.position();
                        if (position > committed.getOrDefault(partition, 0L)) {
                            places.put(partition, new OffsetAndMetadata(position));
                        }
                    });
            if (places.isEmpty()) {
                return;
            }
            places.forEach((partition, place) -> committed.put(partition, place.offset()));
            try {
                if (waits) {
                    consumer.commitSync(places, Duration.ofSeconds(5));
                } else {
                    consumer.commitAsync(places, (done, error) -> uncommitted(places, error));
                }
            } catch (KafkaException error) {
                uncommitted(places, error);
            }
        }

        private void uncommitted(
                Map<TopicPartition, OffsetAndMetadata> places, Exception error) {
            if (error != null) {
                // The group has changed, or Kafka is away: what was not committed comes again.
                places.keySet().forEach(committed::remove);
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            voice.back();
            for (TopicPartition one : partitions) {
                offsets.put(one, new Offsets());
            }
            isReady(action);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            commit(true);
            onPartitionsLost(partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            offsets.keySet().removeAll(partitions);
            committed.keySet().removeAll(partitions);
            fetched.removeIf(
                    one -> partitions.contains(new TopicPartition(one.topic(), one.partition())));
        }

        private String header(ConsumerRecord<byte[], byte[]> message, String name) {
            Header header = message.headers().lastHeader(name);
            return header == null || header.value() == null
                    ? null
                    : new String(header.value(), StandardCharsets.UTF_8);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
