import dev.gossamer.worker.Handler;
import dev.gossamer.worker.RegisterOptions;
import dev.gossamer.worker.Worker;
import dev.gossamer.worker.WorkerException;
import dev.gossamer.worker.WorkerOptions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The worker that tests/sdk asks, the same in all languages: one action for each behaviour. */
public class ConformanceWorker {
    static final class CardDeclined extends Exception {
        private static final long serialVersionUID = 1L;

        CardDeclined(String message) {
            super(message);
        }
    }

    static final class Thing {}

    public static void main(String[] args) {
        String prefix = args[0];
        Worker worker = new Worker(WorkerOptions.fromEnvironment().concurrency(4));
        Map<String, Integer> runs = new ConcurrentHashMap<>();
        Handler<Object> declined = payload -> {
            throw new CardDeclined((String) payload);
        };

        worker.register(prefix + "echo", payload -> payload);
        worker.register(prefix + "count", (payload, context) -> List.of(
                runs.merge(context.key(), 1, Integer::sum),
                context.attempt(),
                context.worker().equals(worker.name())));
        worker.register(prefix + "declined", declined);
        worker.register(prefix + "fatal", declined, RegisterOptions.notRetryable(CardDeclined.class));
        worker.register(prefix + "coded", payload -> {
            throw new WorkerException("out-of-stock", (String) payload, false);
        });
        worker.register(prefix + "large", Integer.class, (Integer payload) -> "x".repeat(payload));
        worker.register(prefix + "wrong", payload -> new Thing());
        worker.register(prefix + "slow", Integer.class, (Integer payload) -> {
            Thread.sleep(payload);
            return payload;
        });
        worker.register(prefix + "kept", (payload, context) -> {
            context.extend(Duration.ofMinutes(1));
            return payload;
        });
        worker.start();
    }
}
