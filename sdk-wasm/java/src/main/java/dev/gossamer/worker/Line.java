package dev.gossamer.worker;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.TrustManagerFactory;

/**
 * The way to a gateway: where it is, how its door opens, and connections that are kept.
 *
 * <p>A token is a secret. It comes from an option, from the environment or from a file, goes into
 * one header, and nowhere else: no message and no {@code toString} has it, and what a server echoes
 * is cleaned of it. A file is read anew for each request, so a token that is renewed there is used at
 * once. Redirects are not followed: they could carry the token to somebody else.
 */
final class Line {
    /** What a gateway whose door is closed wants of a worker. */
    private static final String ROLE = "work";

    /** Of what a gateway says beside a status. */
    private static final int SAID_CHARACTERS_MAX = 300;

    private static final Duration CONNECT = Duration.ofSeconds(15);

    private static final Pattern TOKEN = Pattern.compile("[!-~]+");

    private static final String URL_WORDS =
            "a gateway's URL is http://host:port or https://…, without user, password or query";

    /**
     * Why a request has no good answer. Its status is HTTP's, 0 where there was none; its kind is
     * empty for what may pass by itself, otherwise a name for what somebody has to mend.
     */
    static final class Trouble extends IOException {
        private static final long serialVersionUID = 1L;
        final int status;
        final String kind;

        Trouble(String message) {
            this(message, 0, "");
        }

        Trouble(String message, int status, String kind) {
            super(message);
            this.status = status;
            this.kind = kind;
        }
    }

    private final String base;
    private final String token;
    private final Path tokenFile;
    private final HttpClient client;

    /** Throws IllegalArgumentException: something cannot be; the message says what, without secrets. */
    Line(String url, String token, Path tokenFile, Path caFile) {
        boolean isSecure = check(url);
        if (token != null && tokenFile != null) {
            throw new IllegalArgumentException(
                    "a token is given as such or in a file: name one of them");
        }
        base = url.replaceAll("/+$", "");
        this.token = token == null ? null : checked(token, "the token");
        this.tokenFile = tokenFile;
        try {
            token();
        } catch (Trouble error) {
            throw new IllegalArgumentException(error.getMessage());
        }
        HttpClient.Builder builder =
                HttpClient.newBuilder()
                        .version(HttpClient.Version.HTTP_1_1)
                        .followRedirects(HttpClient.Redirect.NEVER)
                        .connectTimeout(CONNECT);
        if (isSecure && caFile != null) {
            builder.sslContext(trusting(caFile));
        }
        client = builder.build();
    }

    /** How it is called in what is said. */
    String place() {
        return "the gateway at " + base;
    }

    /** The token as it is now, or null; Trouble: its file has none. */
    private String token() throws Trouble {
        if (tokenFile == null) {
            return token;
        }
        try {
            return checked(Files.readString(tokenFile).strip(), "what it has");
        } catch (IOException | IllegalArgumentException error) {
            throw new Trouble(
                    "no token could be read from " + tokenFile + ": " + why(error), 0, "token");
        }
    }

    /** The answer's JSON. */
    JsonNode post(String path, String body, int ms) throws Trouble, InterruptedException {
        String shown = token();
        HttpRequest.Builder request =
                HttpRequest.newBuilder(URI.create(base + path))
                        .header("Content-Type", "application/json")
                        .header("Accept", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofString(body));
        if (shown != null) {
            request.header("Authorization", "Bearer " + shown);
        }
        HttpResponse<String> answer = ask(request.build(), ms);
        if (answer.statusCode() / 100 != 2) {
            throw refusal(answer.statusCode(), answer.body(), shown);
        }
        try {
            return Messages.JSON.readTree(answer.body());
        } catch (JsonProcessingException error) {
            throw new Trouble("it answers what is not JSON; is it a gateway?");
        }
    }

    private HttpResponse<String> ask(HttpRequest request, int ms)
            throws Trouble, InterruptedException {
        // The request's own timeout ends with the head of the answer; this one is for all of it.
        CompletableFuture<HttpResponse<String>> answer =
                client.sendAsync(request, HttpResponse.BodyHandlers.ofString());
        try {
            return answer.get(ms, TimeUnit.MILLISECONDS);
        } catch (TimeoutException error) {
            throw new Trouble("it did not answer within " + ms + " ms");
        } catch (ExecutionException error) {
            throw trouble(error.getCause());
        } finally {
            answer.cancel(true);
        }
    }

    private static Trouble trouble(Throwable error) {
        if (error instanceof SSLHandshakeException) {
            return new Trouble(
                    "its certificate is not trusted (" + why(error)
                            + "); say whose is, by caFile or GOSSAMER_CA_FILE",
                    0,
                    "certificate");
        }
        return new Trouble("it cannot be reached (" + why(error) + ")");
    }

    /** What an answer that is none means, in words for whoever runs the worker. */
    private static Trouble refusal(int status, String body, String token) {
        String said = said(body, token);
        // What is wrong with us stays so until somebody mends it; the rest may pass.
        String kind = status / 100 == 4 ? Integer.toString(status) : "";
        String words =
                switch (status) {
                    case 401 -> "it " + (token == null
                                    ? "wants a token of this worker"
                                    : "does not know this worker's token")
                            + " (401): " + said + "; give it one with the role `" + ROLE
                            + "`, by GOSSAMER_TOKEN or GOSSAMER_TOKEN_FILE";
                    case 403 -> "it does not let this worker take jobs (403): " + said
                            + "; it needs the role `" + ROLE + "`";
                    default -> "it answers " + status + ": " + said;
                };
        return new Trouble(words, status, kind);
    }

    private static String said(String body, String token) {
        String said = body;
        try {
            JsonNode detail = Messages.JSON.readTree(body).path("detail");
            if (detail.isTextual()) {
                said = detail.textValue();
            }
        } catch (JsonProcessingException error) {
            // it is said as it came
        }
        if (token != null) {
            said = said.replace(token, "…");
        }
        return Failures.bounded(said.replaceAll("\\s+", " ").strip(), SAID_CHARACTERS_MAX);
    }

    /** Whether it is under TLS. */
    private static boolean check(String url) {
        try {
            URI uri = URI.create(url);
            if (uri.getHost() != null
                    && List.of("http", "https").contains(uri.getScheme())
                    && uri.getRawUserInfo() == null
                    && uri.getRawQuery() == null
                    && uri.getRawFragment() == null) {
                return uri.getScheme().equals("https");
            }
        } catch (IllegalArgumentException error) {
            // said below, and without what it is: it may have a password
        }
        throw new IllegalArgumentException(URL_WORDS);
    }

    private static String checked(String token, String what) {
        if (!TOKEN.matcher(token).matches()) {
            throw new IllegalArgumentException(
                    what + " is not one word of visible ASCII characters");
        }
        return token;
    }

    private static SSLContext trusting(Path caFile) {
        try (InputStream file = Files.newInputStream(caFile)) {
            Collection<? extends Certificate> found =
                    CertificateFactory.getInstance("X.509").generateCertificates(file);
            if (found.isEmpty()) {
                throw new IllegalArgumentException("it has no certificate in PEM");
            }
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            for (Certificate one : found) {
                store.setCertificateEntry("authority-" + store.size(), one);
            }
            TrustManagerFactory trust =
                    TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            return context;
        } catch (IOException | GeneralSecurityException | IllegalArgumentException error) {
            throw new IllegalArgumentException(
                    "no authorities could be read from " + caFile + ": " + why(error));
        }
    }

    private static String why(Throwable error) {
        if (error instanceof NoSuchFileException) {
            return "there is no such file";
        }
        if (error instanceof ConnectException && error.getMessage() == null) {
            return "nobody is there";
        }
        return error.getMessage() == null ? error.getClass().getSimpleName() : error.getMessage();
    }
}
