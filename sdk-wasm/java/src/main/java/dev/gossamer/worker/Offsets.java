package dev.gossamer.worker;

import java.util.TreeSet;

/**
 * How far a partition may be committed, since it was given to this worker: as far as all is finished
 * without a gap. Any thread may ask.
 */
final class Offsets {
    private final TreeSet<Long> unfinished = new TreeSet<>();
    private long next;

    /** A job came. */
    synchronized void begin(long offset) {
        unfinished.add(offset);
        skip(offset);
    }

    /** A message came that is nothing to do. */
    synchronized void skip(long offset) {
        next = Math.max(next, offset + 1);
    }

    /** What became of a job is at Kafka, for good. */
    synchronized void finish(long offset) {
        unfinished.remove(offset);
    }

    /** The offset before which all is finished. */
    synchronized long position() {
        return unfinished.isEmpty() ? next : unfinished.first();
    }
}
