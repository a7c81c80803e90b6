package dev.gossamer.worker;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Jobs at work, and the outcomes of recent ones, by their idempotency keys: pure, without clock or
 * lock.
 *
 * <p>Kafka delivers at least once: after a rebalance, a restart of the broker or a commit that was
 * lost, a job comes again. A redelivery gets the same answer, and the handler does not run twice
 * here. It is lost with the process: what must be done once for ever needs the key, where the
 * effect is.
 *
 * @param <T> what a caller knows a delivery by
 */
final class Memory<T> {
    /** Jobs whose outcome is remembered. */
    static final int KEYS_MAX = 10_000;

    /** Of the outcomes that are remembered. */
    static final long BYTES_MAX = 32L * 1_048_576;

    /** What becomes of a delivery. */
    enum Fate {
        RUN,
        WAIT,
        REPEAT
    }

    /**
     * What becomes of one.
     *
     * @param outcome to send again, of REPEAT
     */
    record Taken(Fate fate, Outcome outcome) {}

    /**
     * What becomes of one that waited.
     *
     * @param outcome to send, or null: it is to be run (and is at work from now on)
     */
    record Then<T>(T ticket, Outcome outcome) {}

    private record Waiting<T>(int attempt, T ticket) {}

    private record Work<T>(int attempt, List<Waiting<T>> waiting) {}

    private record Done(int attempt, Outcome outcome) {}

    private static final Taken RUN = new Taken(Fate.RUN, null);
    private static final Taken WAIT = new Taken(Fate.WAIT, null);

    private final int keysMax;
    private final long bytesMax;
    private final Map<String, Work<T>> work = new HashMap<>();
    private final LinkedHashMap<String, Done> done = new LinkedHashMap<>(16, 0.75f, false);
    private long bytes;

    Memory() {
        this(KEYS_MAX, BYTES_MAX);
    }

    Memory(int keysMax, long bytesMax) {
        this.keysMax = keysMax;
        this.bytesMax = bytesMax;
    }

    /** What becomes of a delivery. */
    Taken take(String key, int attempt, T ticket) {
        Work<T> busy = work.get(key);
        if (busy != null) {
            busy.waiting().add(new Waiting<>(attempt, ticket));
            return WAIT;
        }
        Outcome outcome = known(key, attempt);
        if (outcome != null) {
            return new Taken(Fate.REPEAT, outcome);
        }
        work.put(key, new Work<>(attempt, new ArrayList<>()));
        return RUN;
    }

    /** Keeps how the job at work ended, and gives what becomes of those that waited for it. */
    List<Then<T>> done(String key, Outcome outcome) {
        Work<T> ended = work.remove(key);
        keep(key, ended.attempt(), outcome);
        List<Then<T>> then = new ArrayList<>();
        for (Waiting<T> one : ended.waiting()) {
            Taken taken = take(key, one.attempt(), one.ticket());
            if (taken.fate() != Fate.WAIT) {
                then.add(new Then<>(one.ticket(), taken.outcome()));
            }
        }
        return then;
    }

    /** Forgets a job that was to be run and never began. Gives how many waited for it. */
    int drop(String key) {
        return work.remove(key).waiting().size();
    }

    private Outcome known(String key, int attempt) {
        Done found = done.get(key);
        if (found == null || !(found.outcome().completed() || attempt <= found.attempt())) {
            return null;
        }
        done.remove(key);
        done.put(key, found);
        return found.outcome();
    }

    private void keep(String key, int attempt, Outcome outcome) {
        Done before = done.remove(key);
        bytes += outcome.bytes() - (before == null ? 0 : before.outcome().bytes());
        done.put(key, new Done(attempt, outcome));
        Iterator<Done> oldest = done.values().iterator();
        while (done.size() > keysMax || bytes > bytesMax) {
            bytes -= oldest.next().outcome().bytes();
            oldest.remove();
        }
    }
}
