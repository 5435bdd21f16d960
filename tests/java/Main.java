import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;

/** Runs scenarios one after another and prints one line for each. */
final class Main {
    private static final List<Class<? extends Rules>> GROUPS = List.of(
            Connections.class, Queues.class, Browsers.class, Topics.class, Durable.class,
            Acks.class, Redelivery.class, Transactions.class, Xa.class, Messages.class,
            Selectors.class, Destinations.class, TempDestinations.class, DeadLetters.class,
            Advisories.class, FlowControl.class, Wire.class, Failover.class, Scale.class);

    private record Scenario(String name, Method method, Rule rule) {
        /** "queues/fifo-per-producer" answers to that, to "queues" and to "fifo-per-producer". */
        boolean answersTo(String wanted) {
            int slash = name.indexOf('/');
            return wanted.equals(name) || wanted.equals(name.substring(slash + 1))
                    || (wanted.equals(name.substring(0, slash)) && !rule.onlyByName());
        }
    }

    private Main() {}

    public static void main(String[] args) throws Exception {
        String url = "tcp://127.0.0.1:61616";
        boolean list = false;
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--url" -> url = args[++i];
                case "--list" -> list = true;
                default -> wanted.add(args[i]);
            }
        }
        List<Scenario> all = scenarios();
        for (String name : wanted) {
            if (all.stream().noneMatch(scenario -> scenario.answersTo(name))) {
                System.err.println("no such scenario: " + name);
                System.exit(2);
            }
        }
        int passed = 0;
        int failed = 0;
        for (Scenario scenario : all) {
            boolean chosen = wanted.isEmpty()
                    ? !scenario.rule.onlyByName()
                    : wanted.stream().anyMatch(scenario::answersTo);
            if (list) {
                System.out.println(scenario.name);
            } else if (chosen) {
                long start = System.nanoTime();
                String failure = run(scenario, url);
                long ms = (System.nanoTime() - start) / 1_000_000;
                if (failure == null) {
                    passed++;
                    System.out.println("ok " + scenario.name + " (" + ms + ")");
                } else {
                    failed++;
                    System.out.println("FAIL " + scenario.name + ": " + failure);
                }
            }
        }
        if (!list) {
            System.out.println(passed + " passed, " + failed + " failed");
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static List<Scenario> scenarios() {
        List<Scenario> all = new ArrayList<>();
        for (Class<? extends Rules> group : GROUPS) {
            Method[] methods = group.getDeclaredMethods();
            Arrays.sort(methods, Comparator.comparing(Method::getName));
            for (Method method : methods) {
                Rule rule = method.getAnnotation(Rule.class);
                if (rule != null) {
                    String name = dashed(group.getSimpleName()) + "/" + dashed(method.getName());
                    all.add(new Scenario(name, method, rule));
                }
            }
        }
        return all;
    }

    private static String dashed(String camel) {
        String dashed = camel.replaceAll("([A-Z]|[0-9]+)", "-$1").toLowerCase(Locale.ROOT);
        return dashed.startsWith("-") ? dashed.substring(1) : dashed;
    }

    /** Null, or why the scenario failed. */
    private static String run(Scenario scenario, String url) throws Exception {
        Rules rules =
                (Rules) scenario.method.getDeclaringClass().getDeclaredConstructor().newInstance();
        rules.url = url;
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread body = start(scenario.name, () -> {
            try {
                scenario.method.invoke(rules);
            } catch (InvocationTargetException e) {
                thrown.set(e.getCause());
            } catch (Throwable e) {
                thrown.set(e);
            }
        });
        body.join(scenario.rule.seconds() * 1000L);
        String failure = null;
        if (body.isAlive()) {
            failure = "still running after " + scenario.rule.seconds() + " s at " + place(body);
            body.interrupt();
        } else if (thrown.get() != null) {
            failure = describe(thrown.get());
        }
        Thread close = start("close " + scenario.name, rules::close);
        close.join(Rules.WAIT_MS);
        if (close.isAlive() && failure == null) {
            failure = "connections do not close: " + place(close);
        }
        return failure;
    }

    private static Thread start(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private static String describe(Throwable thrown) {
        StringBuilder text = new StringBuilder(
                thrown instanceof AssertionError ? thrown.getMessage() : thrown.toString());
        List<StackTraceElement> ours =
                Arrays.stream(thrown.getStackTrace()).filter(Main::isOurs).toList();
        ours.forEach(frame -> text.append(" <- ").append(frame.getFileName()).append(':')
                .append(frame.getLineNumber()));
        if (thrown.getCause() != null) {
            text.append(" caused by ").append(thrown.getCause());
        }
        return text.toString().replace('\n', ' ');
    }

    private static String place(Thread thread) {
        StringBuilder text = new StringBuilder();
        for (StackTraceElement frame : thread.getStackTrace()) {
            text.append(text.isEmpty() ? "" : " <- ").append(frame.getClassName()).append('.')
                    .append(frame.getMethodName()).append(':').append(frame.getLineNumber());
        }
        return text.toString();
    }

    private static boolean isOurs(StackTraceElement frame) {
        return !frame.getClassName().contains(".") && !frame.getClassName().startsWith("Main");
    }
}
