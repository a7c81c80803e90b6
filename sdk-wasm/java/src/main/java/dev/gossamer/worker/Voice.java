package dev.gossamer.worker;

import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/** Says once that the other side is away, and once that it is back; and how long to wait. */
final class Voice {
    private static final long WAIT_MS = 100;
    private static final long WAIT_MS_MAX = 5_000;

    private final String place;
    private final Consumer<String> say;
    private boolean isAway;

    Voice(String place, Consumer<String> say) {
        this.place = place;
        this.say = say;
    }

    /** There is trouble; said unless the last word was of trouble already. */
    void away(String trouble) {
        synchronized (this) {
            if (isAway) {
                return;
            }
            isAway = true;
        }
        say.accept(place + ": " + trouble + "; waiting");
    }

    /** All is well; said if there was trouble. */
    void back() {
        synchronized (this) {
            if (!isAway) {
                return;
            }
            isAway = false;
        }
        say.accept(place + ": back");
    }

    /**
     * How long to wait after so many tries that failed, 1 or more: with jitter, so that many workers
     * don't come back at once.
     */
    static long waitMs(int tries) {
        long longest = Math.min(WAIT_MS_MAX, WAIT_MS << Math.min(tries - 1, 10));
        return longest / 2 + ThreadLocalRandom.current().nextLong(longest / 2 + 1);
    }
}
