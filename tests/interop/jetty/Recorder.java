import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Writer;
import java.io.OutputStreamWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.regex.Pattern;

import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;

import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.server.HttpChannel;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.SslConnectionFactory;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.util.ssl.SslContextFactory;

/**
 * A real Jetty 9.4 in the place of Mirth's: records what Jetty parsed of each request and answers with the
 * record's number.
 *
 * <p>{@code Recorder [--tls KEYSTORE PASSWORD] [--rules TSV] [--wadl FILE]} listens on free loopback ports.
 * First line of output: the port; second line: the port of the control connection. Ends when its standard
 * input ends, so it never outlives the test that started it.
 *
 * <p>Control, a line each way: {@code take} gives every record since the last one, a JSON object a line, then
 * an empty line; {@code release} lets one request to {@code /slow} go on.
 *
 * <p>{@code /slow} waits; {@code /big?bytes=N} answers in chunks; {@code /close} closes after its answer,
 * {@code /abort} without one; {@code /early} answers before the body has come.
 *
 * <p>A record is written before the answer is, so who has an answer finds its record. HTTP configuration is
 * Jetty's default, as Mirth's is: request heads of 8 KiB, RFC 7230 compliance.
 */
public final class Recorder {
    static final String VERSION = "4.5.2";
    /** Of larger bodies only length and digest are recorded. */
    static final int BODY_BYTES_RECORDED = 1 << 20;

    private final List<String> records = new ArrayList<>();
    private final Semaphore slow = new Semaphore(0);
    private List<Rule> rules = List.of();
    private String wadl = "";
    private long number;

    private record Rule(Pattern methods, Pattern path, String operation) {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at < arguments.length; at += 2) {
            options.put(arguments[at], arguments[at + 1]);
        }
        Recorder recorder = new Recorder();
        if (options.containsKey("--rules")) {
            recorder.rules = rules(Path.of(options.get("--rules")));
        }
        if (options.containsKey("--wadl")) {
            recorder.wadl = Files.readString(Path.of(options.get("--wadl")));
        }
        int port = recorder.serve(options.get("--tls"), options.get("--password"));
        ServerSocket control = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        System.out.println(port);
        System.out.println(control.getLocalPort());
        System.out.flush();
        endWithInput();
        while (true) {
            try (Socket socket = control.accept()) {
                recorder.obey(socket);
            }
        }
    }

    private static void endWithInput() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nobody has anything to say here.
                }
            } catch (IOException gone) {
                // The same as its end.
            }
            Runtime.getRuntime().halt(0);
        });
        watch.setDaemon(true);
        watch.start();
    }

    /** Columns: method, regex of the path below the API, action, body, operation. */
    private static List<Rule> rules(Path file) throws IOException {
        List<Rule> rules = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            String[] cells = line.split("\t", -1);
            if (cells.length == 5 && cells[2].equals("forward")) {
                rules.add(new Rule(Pattern.compile(cells[0]), Pattern.compile(cells[1]), cells[4]));
            }
        }
        return rules;
    }

    private int serve(String keystore, String password) throws Exception {
        Server server = new Server();
        HttpConnectionFactory http = new HttpConnectionFactory();
        ServerConnector connector;
        if (keystore == null) {
            connector = new ServerConnector(server, 1, 1, http);
        } else {
            SslContextFactory.Server tls = new SslContextFactory.Server();
            tls.setKeyStorePath(keystore);
            tls.setKeyStorePassword(password);
            tls.setCertAlias("mirth");
            // No ALPN: the next protocol is fixed.
            connector = new ServerConnector(server, 1, 1, new SslConnectionFactory(tls, "http/1.1"), http);
        }
        connector.setHost("127.0.0.1");
        connector.addBean(new HttpChannel.Listener() {
            @Override
            public void onRequestFailure(Request request, Throwable failure) {
                recordFailure(request, failure);
            }
        });
        server.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler();
        context.setContextPath("/");
        context.addServlet(new ServletHolder(new Recording()), "/*");
        server.setHandler(context);
        server.start();
        return connector.getLocalPort();
    }

    private void obey(Socket socket) throws IOException {
        socket.setTcpNoDelay(true);
        BufferedReader orders =
                new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII));
        Writer out = new OutputStreamWriter(socket.getOutputStream(), StandardCharsets.US_ASCII);
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            if (order.equals("take")) {
                StringBuilder taken = new StringBuilder();
                synchronized (records) {
                    records.forEach(record -> taken.append(record).append('\n'));
                    records.clear();
                }
                out.append(taken);
            } else if (order.equals("release")) {
                slow.release();
            } else {
                throw new IOException("no such order: " + order);
            }
            out.append('\n').flush();
        }
    }

    /** What Jetty itself refused: malformed, or too large. */
    private void recordFailure(Request request, Throwable failure) {
        InetSocketAddress peer = request.getHttpChannel().getRemoteAddress();
        Json json = new Json().field("peer", peer == null ? 0 : peer.getPort());
        json.field("reason", String.valueOf(failure));
        synchronized (records) {
            records.add(json.field("id", number++).end());
        }
    }

    private long recordRequest(Request request, byte[] head, long length, String digest) {
        Json json = new Json();
        json.field("peer", request.getRemotePort());
        json.field("method", request.getMethod());
        json.field("version", request.getProtocol());
        json.field("target", request.getHttpURI().getPathQuery());
        json.field("fragment", request.getHttpURI().getFragment());
        json.field("decoded", request.getServletPath() + (request.getPathInfo() == null ? "" : request.getPathInfo()));
        json.field("operation", operation(request.getMethod(), request.getRequestURI()));
        json.key("headers").open('[');
        for (HttpField field : request.getHttpFields()) {
            json.open('[').value(field.getName()).value(field.getValue()).close(']');
        }
        json.close(']');
        json.field("body", HexFormat.of().formatHex(head));
        json.field("length", length);
        json.field("sha256", digest);
        synchronized (records) {
            long id = number++;
            records.add(json.field("id", id).end());
            return id;
        }
    }

    /** A second opinion on the raw path that Jetty has: the rule that lets it pass, by other code than adit's. */
    private String operation(String method, String path) {
        if (path == null || !path.startsWith("/api/")) {
            return null;
        }
        String below = path.substring("/api".length());
        String prefix = "/" + VERSION;
        String unprefixed = below.startsWith(prefix + "/") ? below.substring(prefix.length()) : below;
        for (Rule rule : rules) {
            if (rule.methods.matcher(method).matches() && rule.path.matcher(unprefixed).matches()) {
                return rule.operation;
            }
        }
        return null;
    }

    private final class Recording extends HttpServlet {
        private static final long serialVersionUID = 1;

        /** All methods, also those that no servlet knows. */
        @Override
        protected void service(HttpServletRequest any, HttpServletResponse response) throws IOException {
            Request request = (Request) any;
            String path = request.getRequestURI();
            byte[] head = new byte[0];
            long length = 0;
            MessageDigest digest = sha256();
            // An answer that does not wait for the body is the start of many a desynchronisation.
            if (!path.equals("/early")) {
                InputStream body = request.getInputStream();
                head = body.readNBytes(BODY_BYTES_RECORDED);
                digest.update(head);
                length = head.length;
                byte[] more = new byte[65536];
                for (int read = body.read(more); read >= 0; read = body.read(more)) {
                    digest.update(more, 0, read);
                    length += read;
                }
            }
            long id = recordRequest(request, head, length, HexFormat.of().formatHex(digest.digest()));
            answer(path, request, response, id);
        }

        private void answer(String path, Request request, HttpServletResponse response, long id) throws IOException {
            response.setContentType("text/plain");
            boolean isApi = path.startsWith("/api/");
            if (isApi && request.getHeader("X-Requested-With") == null) {
                response.sendError(400, "All requests must have 'X-Requested-With' header");
            } else if (path.equals("/api/server/version") || path.equals("/api/" + VERSION + "/server/version")) {
                write(response, VERSION);
            } else if (path.endsWith("/application.wadl")) {
                response.setContentType("application/vnd.sun.wadl+xml");
                write(response, wadl);
            } else if (path.equals("/slow")) {
                slow.acquireUninterruptibly();
                write(response, Long.toString(id));
            } else if (path.equals("/big")) {
                big(response, Long.parseLong(request.getParameter("bytes")));
            } else if (path.equals("/close")) {
                response.setHeader("Connection", "close");
                write(response, Long.toString(id));
            } else if (path.equals("/early")) {
                write(response, Long.toString(id));
                response.flushBuffer();
            } else if (path.equals("/abort")) {
                request.getHttpChannel().getEndPoint().close();
            } else {
                write(response, Long.toString(id));
            }
        }

        private void write(HttpServletResponse response, String text) throws IOException {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            response.setContentLength(bytes.length);
            response.getOutputStream().write(bytes);
        }

        /** Without a length, so Jetty sends it in chunks. */
        private void big(HttpServletResponse response, long bytes) throws IOException {
            byte[] block = new byte[16384];
            for (int at = 0; at < block.length; at++) {
                block[at] = (byte) ('a' + at % 26);
            }
            for (long left = bytes; left > 0; left -= block.length) {
                response.getOutputStream().write(block, 0, (int) Math.min(left, block.length));
            }
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (java.security.NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** Enough of JSON; a character is a byte of the wire, as Jetty reads heads in ISO-8859-1. */
    private static final class Json {
        private final StringBuilder out = new StringBuilder("{");

        Json field(String name, String value) {
            return key(name).value(value);
        }

        Json field(String name, long value) {
            key(name).out.append(value).append(',');
            return this;
        }

        Json key(String name) {
            out.append('"').append(name).append("\":");
            return this;
        }

        Json open(char bracket) {
            out.append(bracket);
            return this;
        }

        Json close(char bracket) {
            dropComma();
            out.append(bracket).append(',');
            return this;
        }

        Json value(String value) {
            if (value == null) {
                out.append("null,");
                return this;
            }
            out.append('"');
            for (char letter : value.toCharArray()) {
                if (letter < ' ' || letter > '~' || letter == '"' || letter == '\\') {
                    out.append(String.format("\\u%04x", (int) letter));
                } else {
                    out.append(letter);
                }
            }
            out.append("\",");
            return this;
        }

        String end() {
            dropComma();
            return out.append('}').toString();
        }

        private void dropComma() {
            if (out.charAt(out.length() - 1) == ',') {
                out.setLength(out.length() - 1);
            }
        }
    }
}
