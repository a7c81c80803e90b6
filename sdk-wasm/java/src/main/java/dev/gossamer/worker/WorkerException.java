package dev.gossamer.worker;

/** Thrown by a handler that wants to say itself what its failure is called. */
public class WorkerException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String code;
    private final boolean retryable;

    /** A failure that may be retried. */
    public WorkerException(String code, String message) {
        this(code, message, true);
    }

    /**
     * A failure.
     *
     * @param code for programs, such as {@code out-of-stock}
     * @param message for people
     * @param retryable false: another attempt is no use, whatever the workflow's policy says
     */
    public WorkerException(String code, String message, boolean retryable) {
        super(message);
        this.code = code;
        this.retryable = retryable;
    }

    /** For programs. */
    public String code() {
        return code;
    }

    /** Whether another attempt may be of use. */
    public boolean retryable() {
        return retryable;
    }
}
