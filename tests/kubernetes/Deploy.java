import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import io.fabric8.kubernetes.api.model.Container;
import io.fabric8.kubernetes.api.model.EnvVar;
import io.fabric8.kubernetes.api.model.PodTemplateSpec;
import io.fabric8.kubernetes.api.model.Probe;
import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.api.model.VolumeMount;
import io.fabric8.kubernetes.api.model.apps.Deployment;
import io.fabric8.kubernetes.api.model.apps.StatefulSet;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.server.mock.KubernetesServer;
import io.fabric8.kubernetes.client.utils.Serialization;
import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Collectors;
import org.springframework.cloud.deployer.resource.docker.DockerResource;
import org.springframework.cloud.deployer.spi.core.AppDefinition;
import org.springframework.cloud.deployer.spi.core.AppDeploymentRequest;
import org.springframework.cloud.deployer.spi.kubernetes.KubernetesAppDeployer;
import org.springframework.cloud.deployer.spi.kubernetes.KubernetesDeployerProperties;

/**
 * Lets Data Flow's own deployer send the stream's pods to an API server, and writes for each pod what a kubelet would do with it. The
 * folder of a pod contains `environment` and `arguments` (entries ended by NUL), `probes` (one line each: name, port, path), `uid`, and
 * `pod.yaml` for human readers. A failed check ends with exit code 1.
 */
public final class Deploy {
    private static final String STREAM = "timeStampStream";
    private static final String DEPLOYER = "spring.cloud.deployer.kubernetes.";
    /** Properties that only the local platform adds; and the brokers, which are in the environment here. */
    private static final List<String> LOCAL = List.of(
            "endpoints.jmx.unique-names",
            "endpoints.shutdown.enabled",
            "instance.index",
            "server.port",
            "spring.application.index",
            "spring.cloud.application.group",
            "spring.cloud.application.guid",
            "spring.cloud.stream.instanceIndex",
            "spring.cloud.stream.kafka.binder.brokers",
            "spring.jmx.default-domain");

    public static void main(String[] args) throws Exception {
        boolean good = switch (args[0]) {
            case "pods" -> {
                for (int i = 6; i < args.length; i++) {
                    String[] how = args[i].split(":");
                    int port = Integer.parseInt(args[4]) + i - 6;
                    pod(Path.of(args[1]), Path.of(args[2]), args[3], port, Path.of(args[5]).resolve(how[0]), how[1], how[2]);
                }
                yield true;
            }
            case "effective" -> effective(Path.of(args[1]), Path.of(args[2]));
            case "indexed" -> indexed(Path.of(args[1]), Path.of(args[2]));
            case "manifests" -> manifests(Path.of(args[1]), Path.of(args[2]), args[3], args[4], Path.of(args[5]));
            case "self-test" -> selfTest(Path.of(args[1]), Path.of(args[2]), Path.of(args[3]), Path.of(args[4]));
            default -> throw new IllegalArgumentException(args[0]);
        };
        System.exit(good ? 0 : 1);
    }

    // --- Data Flow's requests ---------------------------------------------------------------------------------------------------------

    /** Application properties and deployment properties. */
    private record Request(Map<String, String> app, Map<String, String> deployment) {}

    /** Writes a pod with an entry point style; or with the style `recipe`, which has only the recipe's deployment properties. */
    private static void pod(Path deployment, Path captured, String brokers, int port, Path folder, String label, String style)
            throws Exception {
        Request request = request(deployment, captured, label);
        request.app.put("server.port", String.valueOf(port));
        String platform = brokers;
        if (style.equals("recipe")) {
            request.deployment.keySet().removeIf(name -> name.startsWith(DEPLOYER));
        } else {
            request.deployment.put(DEPLOYER + "entryPointStyle", style);
            // Names with capitals and dashes, which the style `shell` makes hard to recognise. Without the first, the router finds no
            // broker.
            platform = brokers.substring(0, brokers.indexOf(':'));
            request.app.put("spring.cloud.stream.kafka.binder.defaultBrokerPort", brokers.substring(platform.length() + 1));
            request.app.put("management.endpoint.health.show-details", "always");
        }
        try (Cluster cluster = new Cluster(platform)) {
            cluster.deploy(label, request);
            kubelet(folder, cluster.template(), cluster.client.services().list().getItems());
        }
    }

    /** Splits a deployment's properties as Data Flow does, for an application of type `app` with this label. */
    private static Request request(Path deployment, Path captured, String label) throws IOException {
        Map<String, String> app = new TreeMap<>();
        new ObjectMapper().readTree(captured.toFile()).fields().forEachRemaining(field -> {
            if (!LOCAL.contains(field.getKey()) && !field.getKey().startsWith("spring.cloud.stream.bindings.")) {
                app.put(field.getKey(), field.getValue().textValue());
            }
        });
        app.put("spring.cloud.dataflow.stream.app.label", label);
        // The captured ones are of Data Flow 2.7. This is what 2.11 adds.
        app.put("management.endpoints.web.exposure.include", "health,info,bindings");
        app.put("wavefront.application.name", "${spring.cloud.dataflow.stream.name:unknown}");
        app.put(
                "wavefront.application.service",
                "${spring.cloud.dataflow.stream.app.label:unknown}-${spring.cloud.dataflow.stream.app.type:unknown}-"
                        + "${vcap.application.instance_index:${spring.cloud.stream.instanceIndex:0}}");
        Map<String, String> deployer = new TreeMap<>();
        Properties given = new Properties();
        try (Reader reader = Files.newBufferedReader(deployment)) {
            given.load(reader);
        }
        for (String name : given.stringPropertyNames()) {
            if (name.startsWith("app." + label + ".")) {
                app.put(name.substring(5 + label.length()), given.getProperty(name));
            } else if (name.startsWith("deployer." + label + ".")) {
                deployer.put("spring.cloud.deployer." + name.substring(10 + label.length()), given.getProperty(name));
            }
        }
        // From Skipper.
        deployer.put("spring.cloud.deployer.group", STREAM);
        deployer.put("spring.cloud.deployer.appName", label);
        return new Request(app, deployer);
    }

    /** An empty API server, and the deployer with the brokers in its platform's environment, as in an installation of Data Flow. */
    private static final class Cluster implements AutoCloseable {
        private final KubernetesServer server = new KubernetesServer(false, true);
        final KubernetesClient client;
        private final KubernetesAppDeployer deployer;

        Cluster(String brokers) {
            server.before();
            client = server.getClient();
            KubernetesDeployerProperties properties = new KubernetesDeployerProperties();
            properties.setEnvironmentVariables(new String[] {
                "SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS=" + brokers, "SPRING_CLOUD_STREAM_KAFKA_BINDER_ZK_NODES=zookeeper:2181"
            });
            deployer = new KubernetesAppDeployer(properties, client);
        }

        void deploy(String label, Request request) {
            deployer.deploy(new AppDeploymentRequest(
                    new AppDefinition(label + "-v1", request.app),
                    new DockerResource("parity-router/" + label + ":0.1.0"),
                    request.deployment));
        }

        PodTemplateSpec template() {
            return client.apps().deployments().list().getItems().get(0).getSpec().getTemplate();
        }

        @Override
        public void close() {
            server.after();
        }
    }

    // --- the kubelet's view -------------------------------------------------------------------------------------------------------

    /** Writes how the pod's container is started and probed. */
    private static void kubelet(Path folder, PodTemplateSpec pod, List<Service> services) throws IOException {
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("pod.yaml"), Serialization.asYaml(pod));
        Container container = container(pod);
        String uid = UUID.randomUUID().toString();
        Files.writeString(folder.resolve("uid"), uid);
        write(folder.resolve("arguments"), container.getArgs());

        // The container's own variables override those that every pod gets.
        Map<String, String> environment = new LinkedHashMap<>();
        environment.put("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        environment.put("HOSTNAME", STREAM.toLowerCase(Locale.ROOT) + "-5d4f8c7b9-x2x4z");
        link(environment, "kubernetes", 443);
        if (!Boolean.FALSE.equals(pod.getSpec().getEnableServiceLinks())) {
            for (Service service : services) {
                link(environment, service.getMetadata().getName(), service.getSpec().getPorts().get(0).getPort());
            }
        }
        for (EnvVar variable : container.getEnv()) {
            boolean field = variable.getValueFrom() != null;
            require(!field || variable.getValueFrom().getFieldRef().getFieldPath().equals("metadata.uid"), "a field other than the uid");
            environment.put(variable.getName(), field ? uid : String.valueOf(variable.getValue()));
        }
        write(folder.resolve("environment"), environment.entrySet().stream().map(e -> e.getKey() + "=" + e.getValue()).toList());

        List<String> probes = new ArrayList<>();
        probe(probes, "startup", container.getStartupProbe());
        probe(probes, "readiness", container.getReadinessProbe());
        probe(probes, "liveness", container.getLivenessProbe());
        Files.write(folder.resolve("probes"), probes);
    }

    /** Adds the variables by which a pod finds a Service. */
    private static void link(Map<String, String> environment, String service, int port) {
        String name = service.toUpperCase(Locale.ROOT).replace('-', '_');
        environment.put(name + "_SERVICE_HOST", "10.96.0.1");
        environment.put(name + "_SERVICE_PORT", String.valueOf(port));
        environment.put(name + "_PORT", "tcp://10.96.0.1:" + port);
        environment.put(name + "_PORT_" + port + "_TCP", "tcp://10.96.0.1:" + port);
        environment.put(name + "_PORT_" + port + "_TCP_PROTO", "tcp");
        environment.put(name + "_PORT_" + port + "_TCP_PORT", String.valueOf(port));
        environment.put(name + "_PORT_" + port + "_TCP_ADDR", "10.96.0.1");
    }

    private static void probe(List<String> probes, String name, Probe probe) {
        require(probe != null && probe.getHttpGet() != null, "no " + name + " probe by HTTP");
        probes.add(name + " " + probe.getHttpGet().getPort().getIntVal() + " " + probe.getHttpGet().getPath());
    }

    private static void write(Path file, List<String> entries) throws IOException {
        Files.writeString(file, entries.stream().map(entry -> entry + "\0").collect(Collectors.joining()), StandardCharsets.UTF_8);
    }

    private static Container container(PodTemplateSpec pod) {
        require(pod.getSpec().getContainers().size() == 1, "not one container");
        return pod.getSpec().getContainers().get(0);
    }

    private static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new IllegalStateException(otherwise);
        }
    }

    // --- checks -----------------------------------------------------------------------------------------------------------------------

    /** Checks that each deployer property changes the request: the deployer silently ignores names that it does not know. */
    private static boolean effective(Path deployment, Path captured) throws Exception {
        boolean good = true;
        int lines = 0;
        for (String label : List.of("time", "python-router", "evenLogger", "oddLogger")) {
            Map<String, String> deployer = request(deployment, captured, label).deployment;
            for (String name : deployer.keySet()) {
                if (!name.startsWith(DEPLOYER)) {
                    continue;
                }
                lines++;
                if (!changes(deployment, captured, label, name)) {
                    System.out.println("without effect: " + label + " " + name);
                    good = false;
                }
            }
            require(deployer.keySet().stream().anyMatch(name -> name.startsWith(DEPLOYER)), "nothing for " + label);
        }
        System.out.println(lines + " deployment properties checked");
        return good;
    }

    private static boolean changes(Path deployment, Path captured, String label, String name) throws IOException {
        Request request = request(deployment, captured, label);
        request.deployment.putIfAbsent(name, "1");
        PodTemplateSpec with = template(label, request);
        request.deployment.remove(name);
        return !Serialization.asYaml(with).equals(Serialization.asYaml(template(label, request)));
    }

    private static PodTemplateSpec template(String label, Request request) {
        try (Cluster cluster = new Cluster("kafka:9092")) {
            cluster.deploy(label, request);
            return cluster.template();
        }
    }

    /**
     * Checks that an indexed application becomes a StatefulSet instead of a Deployment, and gets its instance index from
     * /config/application.properties, which an init container writes, and from neither arguments nor environment.
     */
    private static boolean indexed(Path deployment, Path captured) throws Exception {
        Request request = request(deployment, captured, "python-router");
        request.deployment.put("spring.cloud.deployer.indexed", "true");
        request.deployment.put("spring.cloud.deployer.count", "3");
        try (Cluster cluster = new Cluster("kafka:9092")) {
            cluster.deploy("python-router", request);
            require(cluster.client.apps().deployments().list().getItems().isEmpty(), "a Deployment");
            StatefulSet set = cluster.client.apps().statefulSets().list().getItems().get(0);
            require(set.getSpec().getReplicas() == 3, "not 3 replicas");
            PodTemplateSpec pod = set.getSpec().getTemplate();
            Container init = pod.getSpec().getInitContainers().get(0);
            String command = String.join(" ", init.getCommand());
            for (String name : List.of("INSTANCE_INDEX", "spring.cloud.stream.instanceIndex")) {
                require(command.contains("echo " + name + "="), "no " + name + ": " + command);
            }
            require(command.contains(">> /config/application.properties"), "another file: " + command);
            for (Container container : List.of(init, container(pod))) {
                List<VolumeMount> mounts = container.getVolumeMounts();
                require(mounts.stream().anyMatch(mount -> mount.getMountPath().equals("/config")), "no /config in " + container.getName());
            }
            Container container = container(pod);
            require(container.getArgs().stream().noneMatch(argument -> argument.contains("nstanceIndex=")), "an index in the arguments");
            require(
                    container.getEnv().stream().noneMatch(variable -> variable.getName().equals("INSTANCE_INDEX")),
                    "an index in the environment");
            System.out.println("indexed: " + command);
        }
        return true;
    }

    /**
     * Checks that the manifests agree and that Kubernetes knows the fields of the first one, and writes its pod, with topics of its own.
     */
    private static boolean manifests(Path router, Path keda, String brokers, String port, Path folder) throws IOException {
        Deployment deployment = strict(Files.readString(router));
        agree(deployment, new ObjectMapper(new YAMLFactory()).readTree(keda.toFile()));
        PodTemplateSpec pod = deployment.getSpec().getTemplate();
        Container container = container(pod);
        container.setArgs(container.getArgs().stream()
                .map(argument -> argument.replace("kafka-broker:9092", brokers).replace("server.port=8080", "server.port=" + port))
                .map(argument -> argument.replaceFirst("Dest$", "Manifest"))
                .toList());
        for (Probe probe : List.of(container.getStartupProbe(), container.getReadinessProbe(), container.getLivenessProbe())) {
            require(probe.getHttpGet().getPort().getIntVal() == 8080, "a probe of another port");
            probe.getHttpGet().getPort().setIntVal(Integer.valueOf(port));
        }
        kubelet(folder, pod, List.of());
        return true;
    }

    /** Parses a Deployment. The model accepts unknown fields, since later servers may add some; here an unknown field is a mistake. */
    private static Deployment strict(String text) throws IOException {
        ObjectMapper mapper = new ObjectMapper(new YAMLFactory());
        mapper.enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
        mapper.setAnnotationIntrospector(new JacksonAnnotationIntrospector() {
            @Override
            public Boolean hasAnySetter(Annotated annotated) {
                return false;
            }
        });
        return mapper.readValue(text, Deployment.class);
    }

    private static void agree(Deployment deployment, JsonNode scaler) {
        PodTemplateSpec pod = deployment.getSpec().getTemplate();
        Container container = container(pod);
        Map<String, String> arguments = new HashMap<>();
        for (String argument : container.getArgs()) {
            arguments.put(argument.substring(2, argument.indexOf('=')), argument.substring(argument.indexOf('=') + 1));
        }
        require(
                pod.getMetadata().getLabels().entrySet().containsAll(deployment.getSpec().getSelector().getMatchLabels().entrySet()),
                "the selector does not select the pods");
        require(container.getPorts().get(0).getContainerPort() == Integer.parseInt(arguments.get("server.port")), "another port");

        JsonNode spec = scaler.get("spec");
        JsonNode trigger = spec.get("triggers").get(0);
        JsonNode metadata = trigger.get("metadata");
        same(spec.get("scaleTargetRef").get("name"), deployment.getMetadata().getName());
        same(spec.get("maxReplicaCount"), arguments.get("spring.cloud.stream.kafka.binder.minPartitionCount"));
        same(trigger.get("type"), "kafka");
        same(metadata.get("bootstrapServers"), arguments.get("spring.cloud.stream.kafka.binder.brokers"));
        same(metadata.get("topic"), arguments.get("spring.cloud.stream.bindings.input.destination"));
        same(metadata.get("consumerGroup"), arguments.get("spring.cloud.stream.bindings.input.group"));
        metadata.forEach(value -> require(value.isTextual(), "KEDA accepts only strings: " + metadata));
    }

    private static void same(JsonNode value, String expected) {
        require(value != null && value.asText().equals(expected), value + " is not " + expected);
    }

    /** Plants mistakes, each of which the checks must find: a check that cannot fail proves nothing. */
    private static boolean selfTest(Path deployment, Path captured, Path router, Path keda) throws Exception {
        String text = Files.readString(router);
        Deployment good = strict(text);
        JsonNode scaler = new ObjectMapper(new YAMLFactory()).readTree(keda.toFile());
        agree(good, scaler);
        boolean found = changes(deployment, captured, "python-router", DEPLOYER + "startupHttpProbePath")
                && !changes(deployment, captured, "python-router", DEPLOYER + "startupHttpProbPath");
        for (String field : List.of("replicas:", "seccompProfile:", "httpGet:", "periodSeconds:", "limits:", "drop:")) {
            require(text.contains(field), "no " + field);
            try {
                strict(text.replaceFirst(field, "x" + field));
                System.out.println("NOT FOUND: x" + field);
                found = false;
            } catch (IOException e) {
                System.out.println("found: x" + field);
            }
        }
        for (String value : List.of("topic", "consumerGroup", "bootstrapServers", "maxReplicaCount")) {
            JsonNode wrong = scaler.deepCopy();
            ((ObjectNode) wrong.findParent(value)).put(value, "other");
            try {
                agree(good, wrong);
                System.out.println("NOT FOUND: another " + value);
                found = false;
            } catch (IllegalStateException e) {
                System.out.println("found: another " + value);
            }
        }
        return found;
    }
}
