package dev.gossamer.worker;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;

/**
 * Why a handler failed, as it is said to the gateway.
 *
 * <p>The code is for programs: the name of the exception's class, so that a definition's {@code
 * retry.on} and {@code retry.notOn} can name it. The message is for people, the stack for those who
 * mend. All are bounded: what a failure says ends up in the history of a run, for ever.
 */
final class Failures {
    static final int CODE_CHARACTERS_MAX = 200;
    static final int MESSAGE_CHARACTERS_MAX = 2_000;
    static final int DETAILS_CHARACTERS_MAX = 20_000;

    private Failures() {}

    /** What is sent of a failure. */
    record Failure(String code, String message, boolean retryable, String details) {
        Failure {
            code = bounded(code, CODE_CHARACTERS_MAX);
            message = bounded(message, MESSAGE_CHARACTERS_MAX);
            details = bounded(details, DETAILS_CHARACTERS_MAX);
        }
    }

    /** The failure that a thing thrown by a handler is. */
    static Failure of(Throwable thrown, List<Class<? extends Throwable>> notRetryable) {
        StringWriter stack = new StringWriter();
        String message;
        try {
            thrown.printStackTrace(new PrintWriter(stack));
            message = thrown.getMessage();
        } catch (RuntimeException | StackOverflowError error) {
            message = ""; // its own methods are somebody's code, too
        }
        if (thrown instanceof WorkerException said) {
            return new Failure(said.code(), message, said.retryable(), stack.toString());
        }
        boolean retryable = notRetryable.stream().noneMatch(one -> one.isInstance(thrown));
        return new Failure(name(thrown.getClass()), message, retryable, stack.toString());
    }

    /** A text that can be written as UTF-8, of at most so many characters (not UTF-16 units). */
    static String bounded(String text, int charactersMax) {
        if (text == null) {
            return "";
        }
        String whole = whole(text);
        if (whole.length() <= charactersMax
                || whole.codePointCount(0, whole.length()) <= charactersMax) {
            return whole;
        }
        return whole.substring(0, whole.offsetByCodePoints(0, charactersMax - 1)) + "…";
    }

    /** A text that can be written as UTF-8. */
    static String whole(String text) {
        // Half of a surrogate pair is no character, and cannot be sent.
        if (text.chars().noneMatch(one -> Character.isSurrogate((char) one))) {
            return text;
        }
        StringBuilder whole = new StringBuilder(text.length());
        text.codePoints()
                .map(one -> one >= 0xD800 && one <= 0xDFFF ? 0xFFFD : one)
                .forEach(whole::appendCodePoint);
        return whole.toString();
    }

    private static String name(Class<?> type) {
        // A class without a name is known by what it extends.
        return type.getSimpleName().isEmpty() ? name(type.getSuperclass()) : type.getSimpleName();
    }
}
