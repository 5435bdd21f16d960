import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * Runs scenarios one after another and prints one line for each. When all that are left wait for a
 * restart, it says RESTART, and goes on when it reads a line.
 */
final class Main {
    private static final List<Class<? extends Rules>> GROUPS = List.of(
            Connections.class, Queues.class, Browsers.class, Topics.class, Durable.class,
            Acks.class, Redelivery.class, Transactions.class, Xa.class, Messages.class,
            Selectors.class, Destinations.class, TempDestinations.class, DeadLetters.class,
            Advisories.class, FlowControl.class, Wire.class, Failover.class, Scale.class,
            VirtualDestinations.class, Scheduled.class, BrokerRedelivery.class, Policies.class,
            AdvisoryDetails.class, AckCommands.class, TransactionCommands.class, DeadLetterCopies.class,
            SubscriptionChanges.class, SendCommands.class, QueueConsumers.class, MessageGroups.class,
            TopicDispatch.class, RecoveryPolicies.class, SlowConsumers.class,
            RetroactiveDurables.class, Cursors.class);
    /** They need somebody who restarts the broker. Those that load it until it ends come last. */
    private static final List<Class<? extends Rules>> RESTART_GROUPS = List.of(
            RestartQueues.class, RestartTopics.class, RestartTransactions.class, RestartXa.class,
            RestartScheduled.class, RestartBacklogs.class, RestartClients.class);

    /** They need a broker with plugins.xml. */
    private static final List<Class<? extends Rules>> PLUGIN_GROUPS = List.of(
            Statistics.class, Plugins.class, Attributes.class);
    /** They need a broker with limits.xml. */
    private static final List<Class<? extends Rules>> LIMIT_GROUPS = List.of(Limits.class);

    /** They need a broker with mirrors.xml. */
    private static final List<Class<? extends Rules>> MIRROR_GROUPS = List.of(Mirrors.class);

    /** They need a broker with settings.xml. */
    private static final List<Class<? extends Rules>> SETTING_GROUPS = List.of(Settings.class);

    /** They need a broker with fresh.xml, and somebody who restarts it. */
    private static final List<Class<? extends Rules>> FRESH_GROUPS = List.of(Fresh.class);

    private record Scenario(String name, Method method) {
        boolean isBeyondOriginal() {
            return method.getAnnotation(Rule.class).beyondOriginal();
        }

        /** "queues/fifo-per-producer" answers to that, to "queues" and to "fifo-per-producer". */
        boolean answersTo(String wanted) {
            int slash = name.indexOf('/');
            return wanted.equals(name) || wanted.equals(name.substring(slash + 1))
                    || wanted.equals(name.substring(0, slash));
        }
    }

    private Main() {}

    public static void main(String[] args) throws Exception {
        String url = "tcp://127.0.0.1:61616";
        boolean list = false;
        boolean original = false;
        List<Class<? extends Rules>> groups = GROUPS;
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--url" -> url = args[++i];
                case "--list" -> list = true;
                case "--original" -> original = true;
                case "--restarts" -> groups = RESTART_GROUPS;
                case "--plugins" -> groups = PLUGIN_GROUPS;
                case "--limits" -> groups = LIMIT_GROUPS;
                case "--mirrors" -> groups = MIRROR_GROUPS;
                case "--settings" -> groups = SETTING_GROUPS;
                case "--fresh" -> groups = FRESH_GROUPS;
                default -> wanted.add(args[i]);
            }
        }
        List<Scenario> all = scenarios(groups);
        for (String name : wanted) {
            if (all.stream().noneMatch(scenario -> scenario.answersTo(name))) {
                System.err.println("no such scenario: " + name);
                System.exit(2);
            }
        }
        all.removeIf(scenario ->
                !wanted.isEmpty() && wanted.stream().noneMatch(scenario::answersTo));
        if (original) {
            all.removeIf(Scenario::isBeyondOriginal);
        }
        if (list) {
            all.forEach(scenario -> System.out.println(scenario.name));
            return;
        }
        int failed = run(all, url);
        System.out.println((all.size() - failed) + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }

    private static List<Scenario> scenarios(List<Class<? extends Rules>> groups) {
        List<Scenario> all = new ArrayList<>();
        for (Class<? extends Rules> group : groups) {
            Method[] methods = group.getDeclaredMethods();
            Arrays.sort(methods, Comparator.comparing(Method::getName));
            for (Method method : methods) {
                if (method.isAnnotationPresent(Rule.class)) {
                    String name = dashed(group.getSimpleName()) + "/" + dashed(method.getName());
                    all.add(new Scenario(name, method));
                }
            }
        }
        return all;
    }

    private static String dashed(String camel) {
        String dashed = camel.replaceAll("([A-Z]|[0-9]+)", "-$1").toLowerCase(Locale.ROOT);
        return dashed.startsWith("-") ? dashed.substring(1) : dashed;
    }

    /** How many of them failed. */
    private static int run(List<Scenario> scenarios, String url) throws Exception {
        List<Course> open = new ArrayList<>();
        for (Scenario scenario : scenarios) {
            open.add(new Course(scenario.name, scenario.method, url));
        }
        int failed = 0;
        while (true) {
            List<Course> waiting = new ArrayList<>();
            for (Course course : open) {
                if (course.step()) {
                    waiting.add(course);
                } else if (course.failure() == null) {
                    System.out.println("ok " + course.name + " (" + course.ms() + ")");
                } else {
                    failed++;
                    System.out.println("FAIL " + course.name + ": " + course.failure());
                }
            }
            if (waiting.isEmpty()) {
                return failed;
            }
            System.out.println("RESTART");
            if (System.in.read() < 0) {
                System.out.println("nobody restarted the broker");
                return failed + waiting.size();
            }
            open = waiting;
        }
    }
}
