import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;

import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/**
 * Talks as the Administrator's client does: trusts exactly one self-signed certificate and nothing that
 * comes as a chain, ignores host names, asks for the version and logs in with a form sent in chunks under
 * two {@code Accept} headers.
 *
 * <p>{@code JavaClient https://HOST:PORT} prints for each request its name, status and answer; ends with 1
 * when the connection cannot be made.
 */
public final class JavaClient {
    public static void main(String[] arguments) throws Exception {
        String base = arguments[0];
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, new TrustManager[] {new OneSelfSigned()}, null);
        HttpsURLConnection.setDefaultSSLSocketFactory(tls.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);

        HttpsURLConnection version = open(base + "/api/server/version");
        version.setRequestProperty("Accept", "text/plain");
        print("version", version);

        HttpsURLConnection login = open(base + "/api/4.5.2/users/_login");
        login.setRequestMethod("POST");
        login.setDoOutput(true);
        login.setChunkedStreamingMode(16);
        login.addRequestProperty("Accept", "application/xml");
        login.addRequestProperty("Accept", "application/json");
        login.setRequestProperty("Content-Type", "application/x-www-form-urlencoded");
        login.setRequestProperty("X-Mirth-Server-Url", base);
        try (OutputStream body = login.getOutputStream()) {
            body.write("username=partner&password=x+y%26z".getBytes(StandardCharsets.US_ASCII));
        }
        print("login", login);
    }

    private static HttpsURLConnection open(String url) throws IOException {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        connection.setConnectTimeout(30_000);
        connection.setReadTimeout(30_000);
        connection.setRequestProperty("X-Requested-With", "XMLHttpRequest");
        return connection;
    }

    private static void print(String name, HttpsURLConnection connection) throws IOException {
        int status = connection.getResponseCode();
        InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        String text = body == null ? "" : new String(body.readAllBytes(), StandardCharsets.UTF_8);
        System.out.println(name + " " + status + " " + text.strip());
    }

    private static final class OneSelfSigned implements X509TrustManager {
        @Override
        public void checkServerTrusted(X509Certificate[] chain, String how) throws CertificateException {
            if (chain.length != 1) {
                throw new CertificateException("a chain of " + chain.length);
            }
            try {
                chain[0].verify(chain[0].getPublicKey());
            } catch (GeneralSecurityException foreign) {
                throw new CertificateException("not signed by itself", foreign);
            }
            chain[0].checkValidity();
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String how) throws CertificateException {
            throw new CertificateException("a client has no clients");
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
