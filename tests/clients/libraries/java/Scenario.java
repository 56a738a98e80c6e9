// SPDX-License-Identifier: GPL-3.0-or-later
// fabric8's kubernetes-client (see ../../README.md for the scenario). Its watches are WebSockets.

import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.ListOptionsBuilder;
import io.fabric8.kubernetes.client.Config;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import io.fabric8.kubernetes.client.dsl.ExecWatch;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

public final class Scenario {
  private static String namespace;

  private static void say(String words) {
    System.out.println(words);
    System.out.flush();
  }

  private static void execute(KubernetesClient client, String pod) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    try (ExecWatch running = client.pods().inNamespace(namespace).withName(pod).inContainer("main")
        .readingInput(new ByteArrayInputStream("hello\n".getBytes())).writingOutput(out).writingError(err)
        .exec("sh", "-c", "read x; echo \"got $x\"; echo bad >&2; exit 3")) {
      Integer code = running.exitCode().get(20, TimeUnit.SECONDS);
      say("exec out " + out.toString().trim());
      say("exec err " + err.toString().trim());
      say("exec code " + code);
    }
  }

  private static void watch(KubernetesClient client, String name, String version) throws Exception {
    CountDownLatch deleted = new CountDownLatch(1);
    try (AutoCloseable watching = client.configMaps().inNamespace(namespace).withName(name)
        .watch(new ListOptionsBuilder().withResourceVersion(version).build(), new Watcher<ConfigMap>() {
          @Override public void eventReceived(Action action, ConfigMap object) {
            if (action == Action.BOOKMARK) return;
            say("watch " + action + " " + object.getMetadata().getName() + " " + object.getData().get("k"));
            if (action == Action.DELETED) deleted.countDown();
          }
          @Override public void onClose(WatcherException cause) { say("watch closed " + cause); }
        })) {
      if (!deleted.await(20, TimeUnit.SECONDS)) say("watch saw no end");
    }
  }

  public static void main(String[] arguments) throws Exception {
    namespace = arguments[1];
    String pod = arguments[2];
    String name = arguments[3];
    Config config = Config.fromKubeconfig(new File(arguments[0]));
    config.setClientKeyAlgo("EC"); // The keys of this suite.
    try (KubernetesClient client = new KubernetesClientBuilder().withConfig(config).build()) {
      var objects = client.configMaps().inNamespace(namespace);
      say("list " + objects.withLabel("scenario", "there").list().getItems().stream()
          .map(each -> each.getMetadata().getName()).sorted().collect(Collectors.joining(",")));
      say("missing " + (objects.withName("not-there").get() == null ? 404 : 200));
      String version = objects.list().getMetadata().getResourceVersion();
      ConfigMap made = new ConfigMapBuilder().withNewMetadata().withName(name).endMetadata().withData(Map.of("k", "v")).build();
      client.resource(made).inNamespace(namespace).create();
      objects.withName(name).edit(old -> new ConfigMapBuilder(old).withData(Map.of("k", "w")).build());
      objects.withName(name).delete();
      watch(client, name, version);
      execute(client, pod);
      try {
        execute(client, "not-there");
      } catch (KubernetesClientException | java.util.concurrent.ExecutionException e) {
        Throwable cause = e instanceof KubernetesClientException ? e : e.getCause();
        say("exec missing " + (cause instanceof KubernetesClientException k ? k.getCode() : cause));
      }
      say("log " + client.pods().inNamespace(namespace).withName(pod).inContainer("main").getLog().trim());
    }
    System.exit(0);
  }
}
