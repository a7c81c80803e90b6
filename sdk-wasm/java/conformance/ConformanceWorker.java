import dev.gossamer.worker.Handler;
import dev.gossamer.worker.RegisterOptions;
import dev.gossamer.worker.Worker;
import dev.gossamer.worker.WorkerException;
import dev.gossamer.worker.WorkerOptions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** The worker that tests/sdk asks, the same in all languages: one action for each behaviour. */
public class ConformanceWorker {
    static class CardDeclined extends Exception {
        private static final long serialVersionUID = 1L;

        CardDeclined(String message) {
            super(message);
        }
    }

    static final class CardStolen extends CardDeclined {
        private static final long serialVersionUID = 1L;

        CardStolen(String message) {
            super(message);
        }
    }

    static final class Thing {}

    /** For ever, whoever interrupts it. */
    static Object hang() {
        System.err.println("hangs");
        while (true) {
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException again) {
                continue;
            }
        }
    }

    public static void main(String[] args) {
        String prefix = args[0];
        String graceMs = System.getenv().getOrDefault("CONFORMANCE_GRACE_MS", "30000");
        Worker worker = new Worker(WorkerOptions.fromEnvironment()
                .concurrency(4)
                .grace(Duration.ofMillis(Long.parseLong(graceMs))));
        Map<String, Integer> runs = new ConcurrentHashMap<>();
        AtomicInteger atWork = new AtomicInteger();
        Handler<Object> declined = payload -> {
            throw new CardDeclined((String) payload);
        };

        worker.register(prefix + "echo", payload -> payload);
        worker.register(prefix + "key", (payload, context) -> context.key());
        worker.register(prefix + "count", (payload, context) -> List.of(
                runs.merge(context.key(), 1, Integer::sum),
                context.attempt(),
                context.worker().equals(worker.name())));
        worker.register(prefix + "declined", declined);
        worker.register(prefix + "fatal", declined, RegisterOptions.notRetryable(CardDeclined.class));
        worker.register(prefix + "derived", payload -> {
            throw new CardStolen((String) payload);
        }, RegisterOptions.notRetryable(CardDeclined.class));
        worker.register(prefix + "odd", payload -> {
            throw new AssertionError(payload); // no exception at all, to Java
        });
        worker.register(prefix + "coded", payload -> {
            throw new WorkerException("out-of-stock", (String) payload, false);
        });
        worker.register(prefix + "large", int.class, (Integer payload) -> "x".repeat(payload));
        worker.register(prefix + "wrong", payload -> new Thing());
        worker.register(prefix + "slow", Integer.class, (Integer payload) -> {
            Thread.sleep(payload);
            return payload;
        });
        worker.register(prefix + "together", Integer.class, (Integer payload) -> {
            int seen = atWork.incrementAndGet();
            Thread.sleep(payload);
            atWork.decrementAndGet();
            return seen;
        });
        worker.register(prefix + "hang", payload -> hang());
        worker.register(prefix + "kept", (payload, context) -> {
            context.extend(Duration.ofMinutes(1));
            return payload;
        });
        worker.start();
    }
}
