package dev.gossamer.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The table that the SDKs of all languages share: sdk-wasm/vectors/worker. */
final class VectorsTest {
    private static final class Thing {}

    private static class CardDeclined extends Exception {
        private static final long serialVersionUID = 1L;

        CardDeclined(String message) {
            super(message);
        }
    }

    private static final class CardStolen extends CardDeclined {
        private static final long serialVersionUID = 1L;

        CardStolen(String message) {
            super(message);
        }
    }

    private interface Check {
        void run(JsonNode table, JsonNode one) throws Exception;
    }

    private static Stream<DynamicTest> cases(String name, Check check) throws IOException {
        JsonNode table = Messages.JSON.readTree(new File("../vectors/worker/" + name + ".json"));
        return StreamSupport.stream(table.get("cases").spliterator(), false)
                .map(
                        one ->
                                DynamicTest.dynamicTest(
                                        one.get("name").textValue(), () -> check.run(table, one)));
    }

    private static String text(JsonNode said) {
        if (!said.isObject()) {
            return said.asText("");
        }
        return said.get("character").textValue().repeat(said.get("times").intValue())
                + said.path("then").asText("");
    }

    @TestFactory
    Stream<DynamicTest> aMessageIsRead() throws IOException {
        return cases(
                "jobs",
                (table, one) -> {
                    String header = one.get("header").textValue();
                    String value = one.path("value").textValue();
                    byte[] bytes =
                            one.has("base64")
                                    ? Base64.getDecoder().decode(one.get("base64").textValue())
                                    : value == null ? null : value.getBytes(StandardCharsets.UTF_8);
                    JsonNode expected = one.get("expect");
                    if (expected.has("dead")) {
                        Unreadable thrown =
                                assertThrows(
                                        Unreadable.class,
                                        () -> Messages.readMessage("step1", header, bytes));
                        assertEquals(expected.get("dead").textValue(), thrown.getMessage());
                        return;
                    }
                    Job job = Messages.readMessage("step1", header, bytes);
                    if (expected.has("skip")) {
                        assertNull(job);
                    } else {
                        assertEquals(expected.get("job"), Messages.JSON.valueToTree(job));
                    }
                });
    }

    /** A bean that fails while it is read. */
    public static final class Broken {
        /** Never. */
        public int getIt() {
            throw new IllegalStateException("it is broken");
        }
    }

    private static Object nested(int times) {
        Object value = 1;
        for (int made = 0; made < times; made++) {
            value = List.of(value);
        }
        return value;
    }

    private static Object special(String name) {
        List<Object> circular = new ArrayList<>();
        circular.add(circular);
        return Map.of(
                        "not-a-number", Double.NaN,
                        "infinity-inside", Map.of("a", List.of(Float.POSITIVE_INFINITY)),
                        "circular", circular,
                        "thing", Map.of("a", new Thing()),
                        "lone-surrogate", "\ud800",
                        "large-integer", List.of(BigInteger.TWO.pow(64)),
                        "broken", new Broken())
                .get(name);
    }

    private static Object given(JsonNode one) throws IOException {
        if (one.has("special")) {
            return special(one.get("special").textValue());
        }
        if (one.has("nested")) {
            return nested(one.get("nested").intValue());
        }
        return one.has("text")
                ? text(one.get("text"))
                : Messages.JSON.treeToValue(one.get("output"), Object.class);
    }

    @TestFactory
    Stream<DynamicTest> aResultIsMade() throws IOException {
        return cases(
                "results",
                (table, one) -> {
                    Object output = given(one);
                    Job job = Messages.readJob(table.get("job"));
                    String worker = table.get("worker").textValue();
                    JsonNode said =
                            Messages.JSON.readTree(
                                    Messages.result(job, Messages.completed(output), worker));
                    ObjectNode expected = one.get("expect").deepCopy();
                    expected.put("form", 1).put("run", "r-1").put("step", "s1");
                    expected.put("attempt", 1).put("worker", "w-1");
                    if (expected.has("failure") && !expected.get("failure").has("message")) {
                        ((ObjectNode) said.get("failure")).remove("message");
                    }
                    if (expected.has("characters")) {
                        assertEquals(
                                expected.remove("characters").intValue(),
                                said.get("output").textValue().length());
                        expected.put("output", (String) output);
                    }
                    if (expected.remove("nested") != null) {
                        expected.set("output", Messages.JSON.valueToTree(output));
                    }
                    assertEquals(expected, said);
                });
    }

    @TestFactory
    Stream<DynamicTest> aFailureIsMade() throws IOException {
        return cases(
                "failures",
                (table, one) -> {
                    JsonNode thrown = one.get("thrown");
                    String message =
                            thrown.has("halfCharacter")
                                    ? "\ud83d"
                                    : text(thrown.has("text") ? thrown.get("text")
                                            : thrown.path("message"));
                    Throwable error =
                            switch (thrown.get("type").textValue()) {
                                case "CardDeclined" -> new CardDeclined(message);
                                case "CardStolen" -> new CardStolen(message);
                                default ->
                                        new WorkerException(
                                                text(thrown.has("codeText")
                                                        ? thrown.get("codeText")
                                                        : thrown.get("code")),
                                                message,
                                                thrown.path("retryable").asBoolean(true));
                            };
                    List<Class<? extends Throwable>> not = new ArrayList<>();
                    one.path("notRetryable")
                            .forEach(
                                    name ->
                                            not.add(
                                                    name.textValue().equals("CardStolen")
                                                            ? CardStolen.class
                                                            : CardDeclined.class));
                    Outcome outcome = Messages.failed(Failures.of(error, not));
                    JsonNode said = Messages.JSON.readTree(outcome.json());
                    String details = ((ObjectNode) said).remove("details").textValue();
                    assertTrue(details.contains(error.getClass().getName()));
                    assertTrue(details.codePointCount(0, details.length()) <= 20_000);
                    JsonNode expected = one.get("expect");
                    assertEquals(text(expected.get("code")), said.get("code").textValue());
                    assertEquals(text(expected.get("message")), said.get("message").textValue());
                    assertEquals(expected.get("retryable"), said.get("retryable"));
                    assertEquals(3, said.size());
                });
    }

    private static Outcome outcome(JsonNode said) {
        JsonNode text = said.has("output") ? said.get("output") : said.get("code");
        return new Outcome(said.has("output"), text.toString(), text.toString().length());
    }

    @TestFactory
    Stream<DynamicTest> whatWasDoneIsRemembered() throws IOException {
        return cases(
                "memory",
                (table, one) -> {
                    Memory<Integer> memory =
                            new Memory<>(
                                    one.path("keys").asInt(Memory.KEYS_MAX),
                                    one.path("bytes").asLong(Memory.BYTES_MAX));
                    for (JsonNode step : one.get("steps")) {
                        JsonNode expected = step.get("expect");
                        if (step.has("deliver")) {
                            JsonNode given = step.get("deliver");
                            int attempt = given.get("attempt").intValue();
                            Memory.Taken got =
                                    memory.take(given.get("key").textValue(), attempt, attempt);
                            Memory.Taken wanted =
                                    expected.isTextual()
                                            ? new Memory.Taken(
                                                    Memory.Fate.valueOf(
                                                            expected.textValue().toUpperCase()),
                                                    null)
                                            : new Memory.Taken(
                                                    Memory.Fate.REPEAT, outcome(expected));
                            assertEquals(wanted, got);
                        } else {
                            JsonNode said =
                                    step.has("completed")
                                            ? step.get("completed")
                                            : step.get("failed");
                            List<Memory.Then<Integer>> wanted = new ArrayList<>();
                            for (JsonNode then : expected) {
                                wanted.add(
                                        new Memory.Then<>(
                                                then.get("attempt").intValue(),
                                                then.has("run") ? null : outcome(then)));
                            }
                            assertEquals(
                                    wanted,
                                    memory.done(said.get("key").textValue(), outcome(said)));
                        }
                    }
                });
    }

    @TestFactory
    Stream<DynamicTest> onlyWhatIsFinishedIsCommitted() throws IOException {
        return cases(
                "offsets",
                (table, one) -> {
                    Offsets offsets = new Offsets();
                    for (JsonNode step : one.get("steps")) {
                        if (step.has("begin")) {
                            offsets.begin(step.get("begin").longValue());
                        } else if (step.has("skip")) {
                            offsets.skip(step.get("skip").longValue());
                        } else {
                            offsets.finish(step.get("finish").longValue());
                        }
                        assertEquals(step.get("position").longValue(), offsets.position());
                    }
                });
    }
}
