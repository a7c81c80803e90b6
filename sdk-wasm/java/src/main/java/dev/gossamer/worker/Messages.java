package dev.gossamer.worker;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * What comes and what goes, as JSON: pure functions, the same in all languages of the SDK.
 *
 * <p>{@code sdk-wasm/vectors/worker/} is their table of tests. A job that cannot be read is nobody's
 * work: it is put aside with the reason ({@link Unreadable}), never thrown away and never a crash.
 */
final class Messages {
    /** Of the messages' JSON. */
    static final int FORM = 1;

    /** Of a result's JSON; the gateway takes no larger ones. */
    static final int OUTPUT_BYTES_MAX = 1_048_576;

    /**
     * Of an output: 1 is an array or an object of plain values. The gateway takes 64, envelope and
     * all.
     */
    static final int DEPTH_MAX = 60;

    static final ObjectMapper JSON =
            JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    private Messages() {}

    /**
     * The job in a message of the topic, or null for one of another action.
     *
     * @param action the one whose jobs are wanted
     * @param header the message's header {@code action}, or null
     */
    static Job readMessage(String action, String header, byte[] value) throws Unreadable {
        if (header != null && !header.equals(action)) {
            return null;
        }
        JsonNode found = parse(value);
        if (!found.isObject()) {
            throw new Unreadable("it is not a JSON object");
        }
        JsonNode form = found.path("form");
        if (!form.isInt() || form.intValue() != FORM) {
            throw new Unreadable("its form is not " + FORM);
        }
        Job job = readJob(found);
        if (job.action().equals(action)) {
            return job;
        }
        if (header == null) {
            return null;
        }
        throw new Unreadable("its action is not that of its header");
    }

    /** A job from its fields. */
    static Job readJob(JsonNode found) throws Unreadable {
        if (!found.isObject()) {
            throw new Unreadable("it is not a JSON object");
        }
        JsonNode payload = found.path("payload");
        long attempt = wholeNumber(found, "attempt");
        return new Job(
                text(found, "run"),
                text(found, "workflow"),
                text(found, "step"),
                (int) Math.min(attempt, Integer.MAX_VALUE),
                text(found, "action"),
                payload.isMissingNode() ? NullNode.instance : payload,
                text(found, "key"),
                wholeNumber(found, "dueMs"));
    }

    /** The outcome of a handler that gave this; a failure where it cannot be sent. */
    static Outcome completed(Object output) {
        byte[] bytes;
        try {
            JsonNode tree = JSON.valueToTree(output);
            check(tree, 0);
            bytes = JSON.writeValueAsBytes(tree);
        } catch (JsonProcessingException | RuntimeException | StackOverflowError error) {
            String message = "the result cannot be sent as JSON: " + error.getMessage();
            return failed(new Failures.Failure("Unserialisable", message, false, ""));
        }
        if (bytes.length > OUTPUT_BYTES_MAX) {
            return tooLarge(bytes.length);
        }
        return new Outcome(true, new String(bytes, StandardCharsets.UTF_8), bytes.length);
    }

    /** The outcome of a result that nobody takes. */
    static Outcome tooLarge(int bytes) {
        String message =
                String.format(
                        "the result is %d bytes of JSON; at most %d are taken",
                        bytes, OUTPUT_BYTES_MAX);
        return failed(new Failures.Failure("TooLarge", message, false, ""));
    }

    /** The outcome of a handler that threw. */
    static Outcome failed(Failures.Failure failure) {
        ObjectNode said = JSON.createObjectNode();
        said.put("code", failure.code());
        said.put("message", failure.message());
        said.put("retryable", failure.retryable());
        if (!failure.details().isEmpty()) {
            said.put("details", failure.details());
        }
        String json = said.toString();
        return new Outcome(false, json, json.getBytes(StandardCharsets.UTF_8).length);
    }

    /** What is sent: on Kafka a message's value, over HTTP one of {@code results}. */
    static String result(Job job, Outcome outcome, String worker) {
        String head =
                JSON.createObjectNode()
                        .put("form", FORM)
                        .put("run", job.run())
                        .put("step", job.step())
                        .put("attempt", job.attempt())
                        .put("worker", worker)
                        .toString();
        String said = outcome.completed() ? "\"completed\",\"output\"" : "\"failed\",\"failure\"";
        // The outcome is JSON already, and may be large: it is not made again.
        return head.substring(0, head.length() - 1)
                + ",\"status\":" + said + ":" + outcome.json() + "}";
    }

    private static JsonNode parse(byte[] value) throws Unreadable {
        try {
            // Strictly: the constructor of String replaces what is no UTF-8.
            ByteBuffer bytes = ByteBuffer.wrap(value == null ? new byte[0] : value);
            String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            JsonNode found = text.startsWith("\ufeff") ? null : JSON.readTree(text);
            if (found != null && !found.isMissingNode()) {
                return found;
            }
        } catch (CharacterCodingException | JsonProcessingException | StackOverflowError error) {
            // said below
        }
        throw new Unreadable("it is not JSON");
    }

    /** Jackson writes in its own way what JSON cannot say; a result must not change so. */
    private static void check(JsonNode node, int depth) {
        if (node.isFloatingPointNumber()) {
            if (!Double.isFinite(node.doubleValue())) {
                throw new IllegalArgumentException(node.asText() + " is no number of JSON's");
            }
        } else if (node.isBigInteger()) {
            BigInteger value = node.bigIntegerValue();
            if (value.bitLength() > (value.signum() < 0 ? 63 : 64)) {
                throw new IllegalArgumentException("an integer is beyond 64 bits; make it a text");
            }
        } else if (node.isTextual()) {
            check(node.textValue());
        } else if (node.isContainerNode() && depth == DEPTH_MAX) {
            throw new IllegalArgumentException(
                    "it nests deeper than " + DEPTH_MAX + " levels; make it flatter");
        }
        node.fieldNames().forEachRemaining(Messages::check);
        node.forEach(inner -> check(inner, depth + 1));
    }

    private static void check(String text) {
        if (!text.equals(Failures.whole(text))) {
            throw new IllegalArgumentException("half a character is no JSON");
        }
    }

    private static String text(JsonNode found, String name) throws Unreadable {
        String value = found.path(name).textValue();
        if (value == null || value.isEmpty()) {
            throw new Unreadable("`" + name + "` is not a text, or is empty");
        }
        return value;
    }

    private static long wholeNumber(JsonNode found, String name) throws Unreadable {
        JsonNode value = found.path(name);
        if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 1) {
            throw new Unreadable("`" + name + "` is not a whole number of 1 or more");
        }
        return value.longValue();
    }
}
