import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the command line tools of Apache Kafka one after the other in one JVM. Each line of the input is a JSON object:
 * the tool's `class`, its `arguments`, and what it finds on its standard input, `in`. Each gets a line back, with what the
 * tool printed (`out`, `err`) and its exit `status`.
 */
public final class Tools {
    /** What `Exit.exit` throws instead of ending the JVM; an Error, so that tools do not take it for a failure of theirs. */
    private static final class Exited extends Error {
        Exited(String message) {
            super(message, null, false, false);
        }
    }

    /** A standard stream whose target changes: Scala's Console keeps the first that it sees. */
    private static final class Switch extends OutputStream {
        private volatile OutputStream target = OutputStream.nullOutputStream();

        @Override
        public void write(int octet) throws java.io.IOException {
            target.write(octet);
        }

        @Override
        public void write(byte[] octets, int from, int length) throws java.io.IOException {
            target.write(octets, from, length);
        }
    }

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    /** What a tool wants to run when its JVM ends. */
    private static final List<Runnable> HOOKS = new ArrayList<>();
    /** Those of tools that go around `Exit`. */
    private static final Map<Thread, Thread> JVM_HOOKS = jvmHooks();
    private static volatile Integer status;

    private Tools() {}

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure(Tools::exit);
        Exit.setHaltProcedure(Tools::exit);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        ObjectMapper json = new ObjectMapper();
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            List<String> arguments = new ArrayList<>();
            request.get("arguments").forEach(argument -> arguments.add(argument.asText()));
            ObjectNode answer = json.createObjectNode();
            run(request.get("class").asText(), arguments.toArray(new String[0]), request.get("in").asText(), answer);
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
        // Threads that a tool left behind must not keep the process.
        Runtime.getRuntime().halt(0);
    }

    @SuppressWarnings("unchecked")
    private static Map<Thread, Thread> jvmHooks() {
        try {
            Field hooks = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
            hooks.setAccessible(true);
            return (Map<Thread, Thread>) hooks.get(null);
        } catch (ReflectiveOperationException missing) {
            throw new IllegalStateException("this JVM keeps its hooks elsewhere", missing);
        }
    }

    private static void exit(int code, String message) {
        end(code);
        throw new Exited(message);
    }

    /** The first exit counts; what a tool prints on the way out, a real one would not have printed. */
    private static synchronized void end(int code) {
        if (status == null) {
            status = code;
            print(OutputStream.nullOutputStream(), OutputStream.nullOutputStream());
        }
    }

    private static void print(OutputStream out, OutputStream err) {
        System.out.flush();
        System.err.flush();
        OUT.target = out;
        ERR.target = err;
    }

    private static void run(String tool, String[] arguments, String in, ObjectNode answer) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        status = null;
        HOOKS.clear();
        Set<Thread> before = Set.copyOf(JVM_HOOKS.keySet());
        System.setIn(new ByteArrayInputStream(in.getBytes(StandardCharsets.UTF_8)));
        print(out, err);
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Exited) && status == null) {
                System.err.println("Exception in thread \"main\" " + thrown.getCause());
                end(1);
            }
        }
        end(0);
        // As at the end of a JVM: producers are closed here, and some tools print what they have done.
        print(out, err);
        for (Thread hook : new ArrayList<>(JVM_HOOKS.keySet())) {
            if (!before.contains(hook)) {
                Runtime.getRuntime().removeShutdownHook(hook);
                HOOKS.add(hook);
            }
        }
        for (Runnable hook : HOOKS) {
            try {
                hook.run();
            } catch (Exited ended) {
                // It ends as it is.
            }
        }
        print(OutputStream.nullOutputStream(), OutputStream.nullOutputStream());
        answer.put("status", status);
        answer.put("out", out.toString(StandardCharsets.UTF_8));
        answer.put("err", err.toString(StandardCharsets.UTF_8));
    }
}
