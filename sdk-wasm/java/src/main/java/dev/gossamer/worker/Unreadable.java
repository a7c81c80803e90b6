package dev.gossamer.worker;

/** A message that is no job. Its message is the reason, for the dead letters. */
final class Unreadable extends Exception {
    private static final long serialVersionUID = 1L;

    Unreadable(String reason) {
        super(reason);
    }
}
