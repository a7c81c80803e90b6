package dev.gossamer.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.gossamer.worker.Line.Trouble;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The way to a gateway: what cannot be is said at once, and a token is in one header alone. */
final class LineTest {
    private static final String SECRET = "gsk_a-secret";
    private static final int MS = 10_000;

    @TempDir Path folder;

    private final List<String> seen = Collections.synchronizedList(new ArrayList<>());
    private volatile int status = 200;
    private HttpServer server;
    private String url;

    /** Answers with the token that it was shown. */
    @BeforeEach
    void serve() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext(
                "/",
                exchange -> {
                    String shown = exchange.getRequestHeaders().getFirst("Authorization");
                    seen.add(shown);
                    exchange.getRequestBody().readAllBytes();
                    byte[] body =
                            ("{\"detail\": \"you\\n said " + shown + "\"}")
                                    .getBytes(StandardCharsets.UTF_8);
                    exchange.getResponseHeaders().add("Location", "/elsewhere");
                    exchange.sendResponseHeaders(status, body.length);
                    exchange.getResponseBody().write(body);
                    exchange.close();
                });
        server.start();
        url = "http://127.0.0.1:" + server.getAddress().getPort() + "/behind/";
    }

    @AfterEach
    void end() {
        server.stop(0);
    }

    @Test
    void whatIsSaidOfARefusalHasNoToken() throws Exception {
        Line line = new Line(url, SECRET, null, null);
        assertEquals(
                "you\n said Bearer " + SECRET, line.post("/jobs", "{}", MS).get("detail").asText());
        Map<Integer, String> words =
                Map.of(
                        401, "does not know this worker's token",
                        403, "needs the role `work`",
                        302, "answers 302",
                        400, "answers 400",
                        503, "answers 503");
        for (Map.Entry<Integer, String> one : words.entrySet()) {
            status = one.getKey();
            Trouble trouble =
                    assertThrows(Trouble.class, () -> line.post("/jobs", "{}", MS));
            String said = trouble.getMessage();
            assertTrue(said.contains(one.getValue()), said);
            assertTrue(said.contains("you said Bearer …"), said);
            assertFalse(said.contains(SECRET));
            assertEquals(status / 100 == 4 ? Integer.toString(status) : "", trouble.kind);
        }
        assertEquals(1 + words.size(), seen.size(), "a redirect was followed");
    }

    @Test
    void aTokenIsReadAnewFromItsFile() throws Exception {
        Path file = folder.resolve("token");
        Files.writeString(file, "first\n");
        Line line = new Line(url, null, file, null);
        line.post("/jobs", "{}", MS);
        Files.writeString(file, "second\n");
        line.post("/jobs", "{}", MS);
        Files.delete(file);
        Trouble trouble = assertThrows(Trouble.class, () -> line.post("/jobs", "{}", MS));
        assertEquals("token", trouble.kind);
        assertEquals(List.of("Bearer first", "Bearer second"), seen);
    }

    @Test
    void withoutATokenItIsAskedFor() {
        status = 401;
        Line line = new Line(url, null, null, null);
        Trouble trouble = assertThrows(Trouble.class, () -> line.post("/jobs", "{}", MS));
        assertTrue(trouble.getMessage().contains("wants a token"), trouble.getMessage());
        assertEquals(Arrays.asList((String) null), seen);
    }

    @Test
    void aGatewayThatDoesNotAnswerIsGivenUp() throws Exception {
        String silent;
        try (ServerSocket socket = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            silent = "http://127.0.0.1:" + socket.getLocalPort();
            Line line = new Line(silent, null, null, null);
            Trouble trouble = assertThrows(Trouble.class, () -> line.post("/jobs", "{}", 50));
            assertTrue(trouble.getMessage().contains("did not answer within 50 ms"));
        }
        Line line = new Line(silent, null, null, null);
        Trouble trouble = assertThrows(Trouble.class, () -> line.post("/jobs", "{}", MS));
        assertTrue(trouble.getMessage().startsWith("it cannot be reached ("));
    }

    @Test
    void whatCannotBeIsSaidAtOnce() throws IOException {
        Path junk = Files.createFile(folder.resolve("junk"));
        Path none = folder.resolve("none");
        Map<WorkerOptions, String> cases =
                Map.of(
                        options("file:///etc"), "http://host:port",
                        options("http://me:" + SECRET + "@localhost"), "without user, password",
                        options("http://h/?key=" + SECRET), "without user, password or query",
                        options("http://a b:" + SECRET), "http://host:port",
                        options("http://h").token(SECRET + "\r\nX: y"), "one word",
                        options("http://h").tokenFile(none), "none: there is no such file",
                        options("http://h").tokenFile(junk), "junk: what it has is not one word",
                        options("https://h").caFile(none), "none: there is no such file",
                        options("https://h").caFile(junk), "no authorities could be read");
        cases.forEach(
                (options, words) -> {
                    String said =
                            assertThrows(
                                            IllegalArgumentException.class,
                                            () -> new Worker(options))
                                    .getMessage();
                    assertTrue(said.contains(words), said);
                    assertFalse(said.contains(SECRET));
                });
        assertThrows(
                IllegalArgumentException.class, () -> new Line("http://h", SECRET, junk, null));
        assertFalse(new WorkerOptions().token(SECRET).toString().contains(SECRET));
    }

    private static WorkerOptions options(String url) {
        return new WorkerOptions().url(url);
    }
}
