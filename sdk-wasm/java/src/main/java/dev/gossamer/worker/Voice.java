package dev.gossamer.worker;

import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/**
 * Says once that the other side is away, and once that it is back; and how long to wait.
 *
 * <p>Trouble that somebody has to mend, such as a token that is refused, has a kind. It is said even
 * if something else was said before: who reads that the gateway cannot be reached, and starts it, has
 * to learn that it does not let this worker in.
 */
final class Voice {
    private static final long WAIT_MS = 100;
    private static final long WAIT_MS_MAX = 5_000;

    private final String place;
    private final Consumer<String> say;
    private boolean isAway;
    private String kind = "";

    Voice(String place, Consumer<String> say) {
        this.place = place;
        this.say = say;
    }

    /** There is trouble that may pass by itself; said if it is the first. */
    void away(String trouble) {
        away(trouble, "");
    }

    /** There is trouble; said if it is the first, or of a kind that was not the last one. */
    void away(String trouble, String kind) {
        synchronized (this) {
            boolean isNews = !isAway || !(kind.isEmpty() || kind.equals(this.kind));
            isAway = true;
            if (!kind.isEmpty()) {
                this.kind = kind;
            }
            if (!isNews) {
                return;
            }
        }
        say.accept(place + ": " + trouble + "; waiting");
    }

    /** All is well; said if there was trouble. */
    void back() {
        back("");
    }

    /** All is well; said if there was trouble, but not of this kind. */
    void back(String unless) {
        synchronized (this) {
            if (!isAway || (!unless.isEmpty() && kind.equals(unless))) {
                return;
            }
            isAway = false;
            kind = "";
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
