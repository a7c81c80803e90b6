package dev.gossamer.worker;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;

/** Where a worker's jobs come from, and how it does them. Each method changes this and gives it. */
public final class WorkerOptions {
    private static final int NAME_CHARACTERS_MAX = 200;

    String kafka;
    String url;
    String token;
    Path tokenFile;
    Path caFile;
    String name;
    int concurrency = 8;
    Duration grace = Duration.ofSeconds(30);
    Map<String, Object> kafkaOptions = Map.of();
    Consumer<String> say = line -> System.err.println("gossamer-worker: " + line);

    /** No settings: jobs from Kafka at {@code localhost:9092}, whatever the environment says. */
    public WorkerOptions() {}

    WorkerOptions(WorkerOptions other) {
        kafka = other.kafka;
        url = other.url;
        token = other.token;
        tokenFile = other.tokenFile;
        caFile = other.caFile;
        name = other.name;
        concurrency = other.concurrency;
        grace = other.grace;
        kafkaOptions = other.kafkaOptions;
        say = other.say;
    }

    /**
     * The environment's: {@code GOSSAMER_KAFKA} or {@code GOSSAMER_URL}, {@code GOSSAMER_TOKEN} or
     * {@code GOSSAMER_TOKEN_FILE}, and {@code GOSSAMER_CA_FILE}.
     */
    public static WorkerOptions fromEnvironment() {
        WorkerOptions options = new WorkerOptions();
        options.kafka = environment("GOSSAMER_KAFKA");
        options.url = environment("GOSSAMER_URL");
        options.token = environment("GOSSAMER_TOKEN");
        options.tokenFile = path(environment("GOSSAMER_TOKEN_FILE"));
        options.caFile = path(environment("GOSSAMER_CA_FILE"));
        return options;
    }

    /** Brokers, as {@code host:port,host:port}, without regard to the environment's place. */
    public WorkerOptions kafka(String servers) {
        kafka = Objects.requireNonNull(servers);
        url = null;
        return this;
    }

    /** A gateway, as {@code http://localhost:8080}, without regard to the environment's place. */
    public WorkerOptions url(String gateway) {
        url = Objects.requireNonNull(gateway);
        kafka = null;
        return this;
    }

    /** Over HTTP, an API key or a token of the gateway, without regard to the environment's. */
    public WorkerOptions token(String token) {
        this.token = Objects.requireNonNull(token);
        tokenFile = null;
        return this;
    }

    /** A file that has the token instead, read anew for each request. */
    public WorkerOptions tokenFile(Path file) {
        tokenFile = Objects.requireNonNull(file);
        token = null;
        return this;
    }

    /** Over HTTP, PEM of the authorities that are trusted instead of Java's. */
    public WorkerOptions caFile(Path file) {
        caFile = Objects.requireNonNull(file);
        return this;
    }

    /** What histories call this worker. Default: made of the machine's name. */
    public WorkerOptions name(String name) {
        if (name.isEmpty() || name.length() > NAME_CHARACTERS_MAX) {
            throw new IllegalArgumentException("a name is a text of 1 to 200 characters");
        }
        this.name = name;
        return this;
    }

    /** Handlers at work at a time, each in a thread. Default: 8. */
    public WorkerOptions concurrency(int handlers) {
        if (handlers < 1) {
            throw new IllegalArgumentException("concurrency is 1 or more");
        }
        concurrency = handlers;
        return this;
    }

    /** How long a stop waits for what is at work. Default: 30 s. */
    public WorkerOptions grace(Duration grace) {
        this.grace = Objects.requireNonNull(grace);
        return this;
    }

    /** More of the Kafka clients' configuration, such as {@code sasl.jaas.config}. */
    public WorkerOptions kafkaOptions(Map<String, ?> options) {
        kafkaOptions = Map.copyOf(options);
        return this;
    }

    /** Takes the few lines that a worker says. Default: standard error. */
    public WorkerOptions say(Consumer<String> say) {
        this.say = Objects.requireNonNull(say);
        return this;
    }

    private static Path path(String name) {
        return name == null ? null : Path.of(name);
    }

    private static String environment(String name) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? null : value;
    }
}
