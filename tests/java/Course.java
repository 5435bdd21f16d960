import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * One scenario on its way. It goes on in steps: a step ends with the scenario, or where it waits
 * for the broker to be restarted. So many scenarios share one restart, and yet only one of them
 * runs at a time.
 */
final class Course {
    final String name;
    private final int seconds;
    private final Rules rules;
    private final Thread body;
    private final Semaphore mayRun = new Semaphore(0);
    private final Semaphore stepEnds = new Semaphore(0);
    private volatile boolean ended;
    private volatile Throwable thrown;
    private String failure;
    private long ms;

    Course(String name, Method method, String url) throws ReflectiveOperationException {
        this.name = name;
        seconds = method.getAnnotation(Rule.class).seconds();
        rules = (Rules) method.getDeclaringClass().getDeclaredConstructor().newInstance();
        rules.url = url;
        rules.restart = this::untilRestarted;
        body = thread(name, () -> {
            try {
                method.invoke(rules);
            } catch (InvocationTargetException e) {
                thrown = e.getCause();
            } catch (Throwable e) {
                thrown = e;
            }
            ended = true;
            stepEnds.release();
        });
    }

    /** Runs the next step; true if the scenario waits for a restart now, false if it is over. */
    boolean step() throws InterruptedException {
        long start = System.nanoTime();
        if (body.isAlive()) {
            mayRun.release();
        } else {
            body.start();
        }
        boolean inTime = stepEnds.tryAcquire(seconds, TimeUnit.SECONDS);
        if (inTime && !ended) {
            ms += (System.nanoTime() - start) / 1_000_000;
            return true;
        }
        if (!inTime) {
            failure = "still running after " + seconds + " s at " + place(body);
            body.interrupt();
        } else if (thrown != null) {
            failure = describe(thrown);
        }
        Thread close = thread("close " + name, rules::close);
        close.start();
        close.join(Rules.WAIT_MS);
        if (close.isAlive() && failure == null) {
            failure = "connections do not close: " + place(close);
        }
        ms += (System.nanoTime() - start) / 1_000_000;
        return false;
    }

    /** Null, or why the scenario failed. */
    String failure() {
        return failure;
    }

    /** How long its steps took. */
    long ms() {
        return ms;
    }

    private void untilRestarted() throws InterruptedException {
        stepEnds.release();
        mayRun.acquire();
    }

    private static Thread thread(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        return thread;
    }

    private static String describe(Throwable thrown) {
        StringBuilder text = new StringBuilder(
                thrown instanceof AssertionError ? thrown.getMessage() : thrown.toString());
        List<StackTraceElement> ours =
                Arrays.stream(thrown.getStackTrace()).filter(Course::isOurs).toList();
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
        return !frame.getClassName().contains(".") && !frame.getClassName().startsWith("Course");
    }
}
