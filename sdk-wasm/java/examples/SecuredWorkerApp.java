import dev.gossamer.worker.Worker;
import dev.gossamer.worker.WorkerOptions;
import java.util.Map;

/** Does {@code step1} over a Kafka with TLS and SASL. Its secrets come from the environment. */
public class SecuredWorkerApp {
    public static void main(String[] args) {
        String mechanism = System.getenv().getOrDefault("KAFKA_MECHANISM", "SCRAM-SHA-512");
        String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
        Worker worker = new Worker(WorkerOptions.fromEnvironment().kafkaOptions(Map.of(
                "security.protocol", "SASL_SSL",
                "ssl.truststore.type", "PEM",
                "ssl.truststore.location", System.getenv("KAFKA_CA_FILE"),
                "sasl.mechanism", mechanism,
                "sasl.jaas.config", "org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";"
                        .formatted(module, System.getenv("KAFKA_USER"), System.getenv("KAFKA_PASSWORD")))));

        worker.register("step1", payload -> "Java processed: " + payload);

        worker.start();
    }
}
