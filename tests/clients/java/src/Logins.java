import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;

/** Tokens, authenticating again on an open connection, and client certificates. */
final class Logins {
    private Logins() {}

    /** Sends a record now and then for LG_SECONDS, and one at least; each must be acknowledged. */
    private static int produceForAWhile(String... settings) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(Long.parseLong(System.getenv("LG_SECONDS"))).toNanos();
        int sent = 0;
        try (KafkaProducer<String, String> producer = Settings.producer(settings)) {
            do {
                producer.send(new ProducerRecord<>(Settings.PREFIX + "tokens", "" + sent)).get();
                sent++;
                Thread.sleep(50);
            } while (System.nanoTime() < end);
        }
        return sent;
    }

    static String oauth() throws Exception {
        int sent = produceForAWhile(
                "sasl.mechanism", "OAUTHBEARER",
                "sasl.jaas.config", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
                "sasl.login.callback.handler.class", Tokens.class.getName());
        return sent + " records, " + Tokens.fetched + " tokens";
    }

    static String again() throws Exception {
        return produceForAWhile() + " records";
    }

    /**
     * The key and the certificate of LG_KEYSTORE in place of a password; without it there is neither. They are given as
     * settings: a store in a file would have to have a password in old versions.
     */
    private static String[] byCertificate() throws IOException {
        String store = System.getenv("LG_KEYSTORE");
        if (store == null) {
            return new String[] {"security.protocol", "SSL"};
        }
        String pem = Files.readString(Path.of(store));
        return new String[] {
            "security.protocol", "SSL",
            "ssl.keystore.type", "PEM", "ssl.keystore.key", pem, "ssl.keystore.certificate.chain", pem,
        };
    }

    static String certificate() throws Exception {
        return produceForAWhile(byCertificate()) + " records";
    }

    /** A client that the broker does not let in is told so, instead of trying until its time is over. */
    static String refusedCertificate() throws Exception {
        try {
            produceForAWhile(byCertificate());
        } catch (ExecutionException failed) {
            Throwable cause = failed.getCause();
            Settings.check(cause instanceof SslAuthenticationException, "refused with " + cause);
            return cause + ", for " + cause.getCause();
        }
        throw new AssertionError("records are taken");
    }

    /** Fetches tokens from LG_TOKEN_URL. */
    public static final class Tokens implements AuthenticateCallbackHandler {
        private static final Pattern TOKEN = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"]+)\"");
        private static final Pattern LIFETIME = Pattern.compile("\"expires_in\"\\s*:\\s*(\\d+)");
        static volatile int fetched;

        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

        @Override
        public void close() {}

        @Override
        public void handle(Callback[] callbacks) throws IOException {
            for (Callback callback : callbacks) {
                if (callback instanceof OAuthBearerTokenCallback) {
                    ((OAuthBearerTokenCallback) callback).token(fetch());
                }
            }
        }

        private static OAuthBearerToken fetch() throws IOException {
            HttpURLConnection connection =
                    (HttpURLConnection) URI.create(System.getenv("LG_TOKEN_URL")).toURL().openConnection();
            connection.setRequestMethod("POST");
            connection.setDoOutput(true);
            connection.getOutputStream().write("grant_type=client_credentials".getBytes(StandardCharsets.UTF_8));
            String answer;
            try (InputStream body = connection.getInputStream()) {
                answer = new String(body.readAllBytes(), StandardCharsets.UTF_8);
            }
            Matcher token = TOKEN.matcher(answer);
            Matcher lifetime = LIFETIME.matcher(answer);
            Settings.check(token.find() && lifetime.find(), "no token in " + answer);
            fetched++;
            long now = System.currentTimeMillis();
            long ends = now + Long.parseLong(lifetime.group(1)) * 1000;
            return new Token(token.group(1), now, ends);
        }
    }

    private static final class Token implements OAuthBearerToken {
        private final String value;
        private final long starts;
        private final long ends;

        Token(String value, long starts, long ends) {
            this.value = value;
            this.starts = starts;
            this.ends = ends;
        }

        @Override
        public String value() {
            return value;
        }

        @Override
        public Set<String> scope() {
            return Collections.emptySet();
        }

        @Override
        public long lifetimeMs() {
            return ends;
        }

        @Override
        public String principalName() {
            return "app";
        }

        @Override
        public Long startTimeMs() {
            return starts;
        }
    }
}
