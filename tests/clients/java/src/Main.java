import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;

/** Kafka's own Java client against the broker: plays the scenarios that are named, and reports one JSON line for each. */
public final class Main {
    private static final Map<String, Callable<String>> SCENARIOS = new LinkedHashMap<>();

    static {
        SCENARIOS.put("codecs", Records::codecs);
        SCENARIOS.put("idempotent", Records::idempotent);
        SCENARIOS.put("group", Groups::classic);
        SCENARIOS.put("static_member", Groups::staticMember);
        SCENARIOS.put("consumer_protocol", Groups::consumerProtocol);
        SCENARIOS.put("admin", Administration::all);
        SCENARIOS.put("transactions", Transactions::commitAndAbort);
        SCENARIOS.put("fencing", Transactions::fencing);
        SCENARIOS.put("consume_transform_produce", Transactions::consumeTransformProduce);
        SCENARIOS.put("oauth", Logins::oauth);
        SCENARIOS.put("again", Logins::again);
        SCENARIOS.put("certificate", Logins::certificate);
        SCENARIOS.put("refused_certificate", Logins::refusedCertificate);
    }

    private Main() {}

    public static void main(String[] names) {
        boolean failed = false;
        for (String name : names) {
            long began = System.nanoTime();
            String detail;
            boolean ok = true;
            try {
                detail = SCENARIOS.get(name).call();
            } catch (Throwable error) {
                StringWriter trace = new StringWriter();
                error.printStackTrace(new PrintWriter(trace));
                detail = trace.toString();
                ok = false;
                failed = true;
            }
            double seconds = (System.nanoTime() - began) / 1e9;
            System.out.printf(
                    java.util.Locale.ROOT,
                    "{\"scenario\": %s, \"ok\": %b, \"detail\": %s, \"seconds\": %.2f}%n",
                    quoted(name), ok, quoted(detail), seconds);
            System.out.flush();
        }
        // Threads of a client that a failed scenario left behind must not keep the process.
        System.exit(failed ? 1 : 0);
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            switch (letter) {
                case '"': out.append("\\\""); break;
                case '\\': out.append("\\\\"); break;
                case '\n': out.append("\\n"); break;
                case '\t': out.append("\\t"); break;
                default: out.append(letter < ' ' ? ' ' : letter);
            }
        }
        return out.append('"').toString();
    }
}
