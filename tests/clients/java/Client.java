// SPDX-License-Identifier: GPL-3.0-or-later
// java.net.http over HTTP/2 (see ../README.md for the plan).

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public final class Client {
  private static final int AT_ONCE = 10;
  // Fields that this client sets by itself and does not let others set.
  private static final Set<String> OWN = Set.of("content-length", "connection", "host");

  private record Request(String name, String method, String path, byte[] body, String mode, List<String> fields) {}

  public static void main(String[] arguments) throws Exception {
    HttpClient client = HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_2)
        .sslContext(tls(arguments[2], arguments[3], arguments[4]))
        .connectTimeout(Duration.ofSeconds(30))
        .build();
    for (Request request : plan(arguments[0])) {
      List<CompletableFuture<String>> lines = new ArrayList<>();
      int count = request.mode.equals("parallel") ? AT_ONCE : 1;
      for (int i = 0; i < count; i++) {
        lines.add(CompletableFuture.supplyAsync(() -> send(client, arguments[1], request)));
      }
      for (CompletableFuture<String> line : lines) {
        System.out.println(line.get());
      }
    }
    System.out.flush();
    System.exit(0);
  }

  private static String send(HttpClient client, String base, Request request) {
    try {
      HttpRequest.BodyPublisher body = request.body == null
          ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(request.body);
      HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(base + request.path))
          .method(request.method, body).timeout(Duration.ofSeconds(60));
      for (String field : request.fields) {
        String[] parts = field.split(": ", 2);
        if (!OWN.contains(parts[0].toLowerCase(Locale.ROOT))) {
          builder.header(parts[0], parts[1]);
        }
      }
      HttpResponse<InputStream> response = client.send(builder.build(), HttpResponse.BodyHandlers.ofInputStream());
      byte[] content = new byte[0];
      try (InputStream stream = response.body()) {
        if (!request.mode.equals("cancel")) {
          content = stream.readAllBytes();
        }
      }
      List<String> columns = new ArrayList<>();
      columns.add(request.name);
      columns.add(response.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1");
      columns.add(Integer.toString(response.statusCode()));
      columns.add(Base64.getEncoder().encodeToString(content));
      response.headers().map().forEach((name, values) -> {
        if (!name.startsWith(":")) {
          values.forEach(value -> columns.add(name.toLowerCase(Locale.ROOT) + ": " + value));
        }
      });
      return String.join("\t", columns);
    } catch (Exception error) {
      return request.name + "\terror\t" + error.toString().replace('\t', ' ').replace('\n', ' ');
    }
  }

  private static List<Request> plan(String file) throws Exception {
    List<Request> requests = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(file))) {
      String[] columns = line.split("\t");
      byte[] body = columns[3].equals("-") ? null : Files.readAllBytes(Path.of(columns[3]));
      requests.add(new Request(columns[0], columns[1], columns[2], body, columns[4],
          List.of(columns).subList(5, columns.length)));
    }
    return requests;
  }

  private static byte[] pem(String file) throws Exception {
    StringBuilder text = new StringBuilder();
    for (String line : Files.readAllLines(Path.of(file))) {
      if (!line.startsWith("-----")) {
        text.append(line.trim());
      }
    }
    return Base64.getDecoder().decode(text.toString());
  }

  private static Certificate certificate(String file) throws Exception {
    return CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(pem(file)));
  }

  private static SSLContext tls(String ca, String cert, String key) throws Exception {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    trusted.setCertificateEntry("ca", certificate(ca));
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);
    KeyManager[] keys = null;
    if (!cert.equals("-")) {
      PrivateKey secret = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(pem(key)));
      KeyStore own = KeyStore.getInstance("PKCS12");
      own.load(null, null);
      own.setKeyEntry("own", secret, new char[0], new Certificate[] {certificate(cert)});
      KeyManagerFactory manager = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      manager.init(own, new char[0]);
      keys = manager.getKeyManagers();
    }
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys, trust.getTrustManagers(), null);
    return context;
  }

  private Client() {}
}
