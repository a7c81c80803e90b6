package dev.gossamer.worker;

import java.io.IOException;
import java.time.Duration;

/** What a handler may know of its job beside the payload. */
public interface Context {
    /** The run that the step is of. */
    String run();

    /** The workflow's id. */
    String workflow();

    /** The step's id. */
    String step();

    /** Counted from 1. */
    int attempt();

    /** The step's action. */
    String action();

    /**
     * The idempotency key: the same for all attempts of the step in its run. Send it with
     * everything that has an effect.
     */
    String key();

    /** When the attempt counts as failed, in ms since 1970. */
    long dueMs();

    /** This worker's name. */
    String worker();

    /** Until the attempt counts as failed; never below zero. */
    default Duration remaining() {
        return Duration.ofMillis(Math.max(0, dueMs() - System.currentTimeMillis()));
    }

    /**
     * Nobody waits for this attempt any more: a long handler should look, and give up. Its thread
     * is interrupted then, too.
     */
    default boolean isOver() {
        return remaining().isZero();
    }

    /**
     * Keeps the job this worker's for so long from now. Seldom needed: a job at work is extended by
     * itself. Over Kafka there is no lock, and this does nothing. {@link #dueMs} stays what it is.
     *
     * @throws IOException the gateway could not be asked
     */
    void extend(Duration lock) throws IOException;
}
