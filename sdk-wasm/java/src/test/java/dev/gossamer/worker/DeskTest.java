package dev.gossamer.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Handlers in threads: bounded, ended, left behind, repeated. */
final class DeskTest {
    private static final long WAIT_S = 60;

    /** A payload that is read as a type. */
    record Order(String product, int pieces) {}

    private record Answer(String run, boolean completed, JsonNode value) {}

    /** What came of jobs, in order. */
    private static final class Said {
        final BlockingQueue<Answer> answers = new LinkedBlockingQueue<>();
        final Desk desk;

        Said(int concurrency, int takenMax, ContextHandler<Object> handler) {
            RegisterOptions options =
                    RegisterOptions.notRetryable(ArithmeticException.class, LinkageError.class);
            desk =
                    new Desk(
                            Map.of("a", new Desk.Registered(handler, Object.class, options)),
                            "w-1",
                            concurrency,
                            takenMax);
        }

        void take(Job job) {
            desk.take(
                    job,
                    outcome -> {
                        try {
                            JsonNode value = Messages.JSON.readTree(outcome.json());
                            answers.add(new Answer(job.run(), outcome.completed(), value));
                        } catch (java.io.IOException error) {
                            throw new AssertionError(error);
                        }
                        desk.sent();
                    },
                    (one, lock) -> {});
        }

        Answer next() throws InterruptedException {
            Answer answer = answers.poll(WAIT_S, TimeUnit.SECONDS);
            assertTrue(answer != null, "nothing was said");
            return answer;
        }
    }

    private static Job job(String name, int attempt, long dueMs) {
        return new Job(
                name, "w", "s", attempt, "a", new TextNode(name), name + ":s",
                System.currentTimeMillis() + dueMs);
    }

    private static Job job(String name) {
        return job(name, 1, 60_000);
    }

    private static void pass(CountDownLatch gate) throws InterruptedException {
        assertTrue(gate.await(WAIT_S, TimeUnit.SECONDS));
    }

    /** Waits as a handler does that heeds no interrupt. */
    private static void passStubbornly(CountDownLatch gate) {
        while (gate.getCount() > 0) {
            try {
                pass(gate);
            } catch (InterruptedException again) {
                continue;
            }
        }
    }

    @Test
    void aHandlerMayHaveAContext() throws InterruptedException {
        Said said =
                new Said(
                        2,
                        8,
                        (payload, context) -> {
                            assertFalse(context.isOver());
                            context.extend(Duration.ofMinutes(1));
                            return List.of(
                                    payload,
                                    context.key(),
                                    context.attempt(),
                                    context.worker(),
                                    context.action());
                        });
        said.take(job("r"));
        JsonNode value = Messages.JSON.valueToTree(List.of("r", "r:s", 1, "w-1", "a"));
        assertEquals(new Answer("r", true, value), said.next());
    }

    @Test
    void noMoreHandlersRunThanAreWanted() throws InterruptedException {
        CountDownLatch gate = new CountDownLatch(1);
        BlockingQueue<Object> began = new LinkedBlockingQueue<>();
        Said said =
                new Said(
                        2,
                        4,
                        (payload, context) -> {
                            began.add(payload);
                            pass(gate);
                            return payload;
                        });
        for (String name : List.of("0", "1", "2", "3")) {
            said.take(job(name));
        }
        TreeSet<Object> first = new TreeSet<>();
        first.add(began.poll(WAIT_S, TimeUnit.SECONDS));
        first.add(began.poll(WAIT_S, TimeUnit.SECONDS));
        assertEquals(new TreeSet<>(List.of("0", "1")), first);
        assertTrue(began.isEmpty());
        assertEquals(0, said.desk.waitRoom(0));
        gate.countDown();
        TreeSet<String> ended = new TreeSet<>();
        for (int number = 0; number < 4; number++) {
            ended.add(said.next().run());
        }
        assertEquals(new TreeSet<>(List.of("0", "1", "2", "3")), ended);
    }

    @Test
    void whateverAHandlerThrowsIsAFailure() throws InterruptedException {
        Map<String, Throwable> thrown = new HashMap<>();
        thrown.put("known", new WorkerException("known", "as it says", false));
        thrown.put("divided", new ArithmeticException("no"));
        thrown.put("error", new NoClassDefFoundError("no"));
        thrown.put("nameless", new IllegalStateException() {
            private static final long serialVersionUID = 1L;
        });
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            Throwable one = thrown.get(payload);
                            if (one instanceof Error error) {
                                throw error;
                            }
                            throw (Exception) one;
                        });
        Map<String, String> seen = new HashMap<>();
        for (String name : thrown.keySet()) {
            said.take(job(name));
            Answer answer = said.next();
            assertFalse(answer.completed());
            seen.put(
                    name,
                    answer.value().get("code").textValue() + answer.value().get("retryable"));
        }
        assertEquals(
                Map.of(
                        "known", "knownfalse",
                        "divided", "ArithmeticExceptionfalse",
                        "error", "NoClassDefFoundErrorfalse",
                        "nameless", "IllegalStateExceptiontrue"),
                seen);
    }

    @Test
    void aRedeliveryDoesNotRunTwice() throws InterruptedException {
        CountDownLatch gate = new CountDownLatch(1);
        AtomicInteger runs = new AtomicInteger();
        Said said =
                new Said(
                        2,
                        8,
                        (payload, context) -> {
                            int run = runs.incrementAndGet();
                            pass(gate);
                            return run;
                        });
        said.take(job("r"));
        said.take(job("r")); // while it is at work
        gate.countDown();
        assertEquals(1, said.next().value().intValue());
        assertEquals(1, said.next().value().intValue());
        said.take(job("r", 2, 60_000)); // and after it
        assertEquals(1, said.next().value().intValue());
        assertEquals(1, runs.get());
    }

    @Test
    void aHandlerThatIsLateIsInterruptedAndLeft() throws InterruptedException {
        CountDownLatch gate = new CountDownLatch(1);
        CountDownLatch interrupted = new CountDownLatch(1);
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            if (payload.equals("stuck")) {
                                try {
                                    pass(gate);
                                } catch (InterruptedException error) {
                                    interrupted.countDown();
                                    passStubbornly(gate);
                                }
                            }
                            return payload;
                        });
        said.take(job("stuck", 1, 2_000)); // it begins before that on any machine
        said.take(job("next"));
        Map<String, Answer> ended = new HashMap<>();
        for (int number = 0; number < 2; number++) {
            Answer answer = said.next();
            ended.put(answer.run(), answer);
        }
        assertEquals("Timeout", ended.get("stuck").value().get("code").textValue());
        assertTrue(ended.get("next").completed());
        pass(interrupted);
        gate.countDown(); // what it gives now is nobody's
        said.take(job("last"));
        assertEquals("last", said.next().run());
        assertTrue(said.answers.isEmpty());
    }

    @Test
    void noMoreAreLeftThanMayBeAtWork() throws InterruptedException {
        CountDownLatch gate = new CountDownLatch(1);
        List<Object> began = Collections.synchronizedList(new ArrayList<>());
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            began.add(payload);
                            if (((String) payload).startsWith("stuck")) {
                                passStubbornly(gate);
                            }
                            return payload;
                        });
        said.take(job("stuck-0", 1, 200));
        said.take(job("stuck-1", 1, 1_000));
        said.take(job("stuck-2", 1, 1_300));
        for (int number = 0; number < 3; number++) {
            assertEquals("Timeout", said.next().value().get("code").textValue());
        }
        // One is left and one in its place; none where the time was over before it could begin.
        assertTrue(began.size() <= 2, began.toString());
        gate.countDown();
        said.take(job("next"));
        assertTrue(said.next().completed());
    }

    @Test
    void whatComesTooLateIsNotRun() throws InterruptedException {
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            throw new AssertionError("it ran");
                        });
        said.take(job("r", 1, -5_000));
        assertEquals("Timeout", said.next().value().get("code").textValue());
    }

    @Test
    void aStopFinishesWhatHasBegunAndNothingElse() throws InterruptedException {
        CountDownLatch began = new CountDownLatch(1);
        CountDownLatch gate = new CountDownLatch(1);
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            began.countDown();
                            pass(gate);
                            return payload;
                        });
        said.take(job("first"));
        said.take(job("second"));
        pass(began);
        Desk.thread("open", () -> openOnceDraining(said.desk, gate)).start();
        assertTrue(said.desk.drain(Duration.ofSeconds(WAIT_S)));
        assertEquals("first", said.next().run());
        assertTrue(said.answers.isEmpty());
    }

    private static void openOnceDraining(Desk desk, CountDownLatch gate) {
        try {
            while (desk.waitRoom(0) > 0) {
                Thread.onSpinWait();
            }
        } catch (InterruptedException error) {
            throw new AssertionError(error);
        }
        gate.countDown();
    }

    @Test
    void aStopDoesNotWaitForEver() throws InterruptedException {
        CountDownLatch began = new CountDownLatch(1);
        CountDownLatch interrupted = new CountDownLatch(1);
        Said said =
                new Said(
                        1,
                        8,
                        (payload, context) -> {
                            began.countDown();
                            try {
                                Thread.sleep(Long.MAX_VALUE);
                            } catch (InterruptedException error) {
                                interrupted.countDown();
                            }
                            return payload;
                        });
        said.take(job("stuck"));
        pass(began);
        assertFalse(said.desk.drain(Duration.ofMillis(20)));
        pass(interrupted);
        assertTrue(said.answers.isEmpty(), "what ends after the stop is nobody's");
    }

    @Test
    void aPayloadMayHaveAType() throws InterruptedException {
        BlockingQueue<Answer> answers = new LinkedBlockingQueue<>();
        ContextHandler<Object> handler = (order, context) -> ((Order) order).pieces() + 1;
        Desk.Registered registered =
                new Desk.Registered(handler, Order.class, RegisterOptions.DEFAULT);
        Desk desk = new Desk(Map.of("a", registered), "w-1", 1, 8);
        for (String payload : List.of("{\"product\": \"tea\", \"pieces\": 2}", "[7]")) {
            try {
                Job job = new Job("r" + payload, "w", "s", 1, "a",
                        Messages.JSON.readTree(payload), "k" + payload,
                        System.currentTimeMillis() + 60_000);
                desk.take(
                        job,
                        outcome -> {
                            answers.add(new Answer(outcome.json(), outcome.completed(), null));
                            desk.sent();
                        },
                        (one, lock) -> {});
            } catch (java.io.IOException error) {
                throw new AssertionError(error);
            }
            Answer answer = answers.poll(WAIT_S, TimeUnit.SECONDS);
            if (payload.startsWith("{")) {
                assertEquals(new Answer("3", true, null), answer);
            } else {
                assertTrue(answer.run().contains("\"code\":\"Payload\""), answer.run());
            }
        }
    }

    @Test
    void aWorkerSaysWhatIsWrongWithIt() {
        assertThrows(
                IllegalArgumentException.class, () -> new WorkerOptions().concurrency(0));
        assertThrows(
                IllegalArgumentException.class, () -> new WorkerOptions().name("x".repeat(201)));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Worker(new WorkerOptions().url("file:///etc")));
        Worker worker = new Worker(new WorkerOptions().kafka("localhost:1"));
        assertThrows(IllegalStateException.class, worker::start);
        worker.register("a", payload -> payload);
        assertThrows(
                IllegalStateException.class,
                () -> worker.register("a", (payload, context) -> payload));
        assertThrows(
                IllegalArgumentException.class, () -> worker.register("", payload -> payload));
    }
}
