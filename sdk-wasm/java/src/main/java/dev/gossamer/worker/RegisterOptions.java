package dev.gossamer.worker;

import java.util.List;

/**
 * Of one handler.
 *
 * @param notRetryable exceptions after which another attempt is no use
 */
public record RegisterOptions(List<Class<? extends Throwable>> notRetryable) {
    /** Nothing but the defaults. */
    public static final RegisterOptions DEFAULT = new RegisterOptions(List.of());

    /** Keeps a copy. */
    public RegisterOptions {
        notRetryable = List.copyOf(notRetryable);
    }

    /** Options of a handler whose attempts are not repeated after these. */
    @SafeVarargs
    @SuppressWarnings("varargs") // it is only read, and copied
    public static RegisterOptions notRetryable(Class<? extends Throwable>... types) {
        return new RegisterOptions(List.of(types));
    }
}
