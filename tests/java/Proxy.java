import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Passes bytes between clients and the broker until told to cut or to swallow them. */
final class Proxy implements AutoCloseable {
    private final String host;
    private final int port;
    private final ServerSocket listener;
    private final List<Link> links = new CopyOnWriteArrayList<>();
    private volatile boolean refusing;

    /** One client's connection. */
    private static final class Link {
        final Socket client;
        final Socket broker;
        final CountDownLatch brokerClosed = new CountDownLatch(1);
        volatile boolean clientMuted;
        volatile boolean brokerMuted;

        Link(Socket client, Socket broker) {
            this.client = client;
            this.broker = broker;
        }

        void close() {
            quietly(client);
            quietly(broker);
        }

        private static void quietly(Socket socket) {
            try {
                socket.close();
            } catch (IOException ignored) {
                // It is gone either way.
            }
        }
    }

    Proxy(String host, int port) throws IOException {
        this.host = host;
        this.port = port;
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        start("proxy accept", this::accept);
    }

    String url() {
        return "tcp://127.0.0.1:" + listener.getLocalPort();
    }

    /** A failover URL through this proxy, which reconnects without delay. */
    String failoverUrl() {
        return "failover:(" + url()
                + ")?initialReconnectDelay=10&maxReconnectDelay=50&useExponentialBackOff=false";
    }

    /** How many connections there were so far. */
    int connections() {
        return links.size();
    }

    /** Closes the sockets of all connections. New ones are accepted. */
    void cut() {
        links.forEach(Link::close);
    }

    /** While refusing, new connections are closed at once. */
    void refuse(boolean on) {
        refusing = on;
    }

    /** Swallows what present clients send from now on. */
    void muteClients() {
        links.forEach(link -> link.clientMuted = true);
    }

    /** Swallows what the broker sends to present clients from now on. */
    void muteBroker() {
        links.forEach(link -> link.brokerMuted = true);
    }

    /** Waits until the broker has closed the first connection. */
    boolean awaitBrokerClose(long ms) throws InterruptedException {
        return links.get(0).brokerClosed.await(ms, TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() throws IOException {
        listener.close();
        cut();
    }

    private void accept() {
        while (!listener.isClosed()) {
            try {
                Socket client = listener.accept();
                if (refusing) {
                    client.close();
                    continue;
                }
                Link link = link(client);
                if (link == null) {
                    continue;
                }
                links.add(link);
                start("proxy up", () -> copy(link, link.client, link.broker, true));
                start("proxy down", () -> copy(link, link.broker, link.client, false));
            } catch (IOException e) {
                // The listener is closed.
            }
        }
    }

    /** Null if the broker is away: the client then sees its socket close. */
    private Link link(Socket client) throws IOException {
        try {
            Link link = new Link(client, new Socket(host, port));
            client.setTcpNoDelay(true);
            link.broker.setTcpNoDelay(true);
            return link;
        } catch (IOException e) {
            client.close();
            return null;
        }
    }

    private static void copy(Link link, Socket from, Socket to, boolean fromClient) {
        byte[] buffer = new byte[65536];
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                if (!(fromClient ? link.clientMuted : link.brokerMuted)) {
                    out.write(buffer, 0, n);
                }
            }
        } catch (IOException e) {
            // One side is gone.
        } finally {
            if (!fromClient) {
                link.brokerClosed.countDown();
            }
            link.close();
        }
    }

    private static void start(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
    }
}
