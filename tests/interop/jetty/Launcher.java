import java.io.InputStream;
import java.net.URL;
import java.security.GeneralSecurityException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;

import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;
import javax.xml.parsers.DocumentBuilderFactory;

import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * Does as Java Web Start and the Administrator Launcher do: reads the launch file, loads its jars from
 * its codebase, and connects to the server that its first argument names.
 *
 * <p>{@code Launcher URL} prints the codebase, the argument, the status of each jar, and what the server of
 * the argument answers to a change: its status line, as the Administrator shows it.
 */
public final class Launcher {
    public static void main(String[] arguments) throws Exception {
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, new TrustManager[] {new OneSelfSigned()}, null);
        HttpsURLConnection.setDefaultSSLSocketFactory(tls.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);

        Element file = read(open(arguments[0])).getDocumentElement();
        String codebase = file.getAttribute("codebase");
        System.out.println("codebase " + codebase);
        String server = file.getElementsByTagName("argument").item(0).getTextContent();
        System.out.println("argument " + server);
        NodeList jars = file.getElementsByTagName("jar");
        for (int at = 0; at < jars.getLength(); at++) {
            String href = ((Element) jars.item(at)).getAttribute("href");
            HttpsURLConnection jar = open(new URL(new URL(codebase + "/"), href).toString());
            System.out.println("jar " + jar.getResponseCode());
        }
        HttpsURLConnection change = open(server + "/api/4.5.2/channels/1");
        change.setRequestMethod("DELETE");
        System.out.println("change " + change.getResponseCode() + " " + change.getResponseMessage());
    }

    private static Document read(HttpsURLConnection connection) throws Exception {
        try (InputStream body = connection.getInputStream()) {
            return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(body);
        }
    }

    private static HttpsURLConnection open(String url) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        connection.setConnectTimeout(30_000);
        connection.setReadTimeout(30_000);
        connection.setRequestProperty("X-Requested-With", "XMLHttpRequest");
        return connection;
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
