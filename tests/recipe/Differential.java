import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends the same values to two routers and compares their outputs. All topics have one partition. Each command prints one line to standard
 * output; a comparison that finds a difference ends with exit code 1.
 */
public final class Differential {
    private static final Duration PATIENCE = Duration.ofSeconds(180);
    /** Value that is sent until a router that starts at the end of the topic reads it; never compared. */
    private static final String MARKER = "marker ";
    private static final List<String> PREFIXES = List.of("Even timestamp: ", "Odd timestamp:");

    static boolean run(String[] args) throws Exception {
        return switch (args[0]) {
            case "begin" -> begin(args[1], args[2], args[3], args[4]);
            case "produce" -> produce(args[1], args[2], Long.parseLong(args[3]), Integer.parseInt(args[4]));
            case "send" -> send(args[1], args[2], args[3]);
            case "await" -> await(args[1], args[2], args[3], args[4]);
            case "compare" -> compare(args[1], args[2], args[3], args[4]) & compare(args[1], args[2], args[5], args[6]);
            case "self-test" -> selfTest();
            default -> throw new IllegalArgumentException(args[0]);
        };
    }

    /** Sends markers until both outputs have a new record: from then on everything that is sent is read. */
    private static boolean begin(String brokers, String input, String even, String odd) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers);
                KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            long evenBefore = end(consumer, even);
            long oddBefore = end(consumer, odd);
            long until = System.nanoTime() + PATIENCE.toNanos();
            for (int i = 0; System.nanoTime() < until; i++) {
                producer.send(new ProducerRecord<>(input, (MARKER + i).getBytes(StandardCharsets.UTF_8)));
                if (end(consumer, even) > evenBefore && end(consumer, odd) > oddBefore) {
                    return true;
                }
                Thread.sleep(20);
            }
        }
        System.out.println("no marker arrives at " + even + " and " + odd);
        return false;
    }

    /** Produces values that end in a digit, with tombstones in between. */
    private static boolean produce(String brokers, String input, long seed, int count) {
        Random random = new Random(seed);
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers)) {
            for (int sent = 0; sent < count; ) {
                byte[] value = random.nextInt(20) == 0 ? null : value(random);
                byte[] key = random.nextInt(3) == 0 ? bytes(random, random.nextInt(20)) : null;
                producer.send(new ProducerRecord<>(input, key, value));
                sent += value == null ? 0 : 1;
            }
        }
        System.out.println("produced " + count + " values, seed " + seed);
        return true;
    }

    private static byte[] value(Random random) {
        byte[] value = switch (random.nextInt(8)) {
            case 0 -> bytes(random, random.nextInt(300));
            case 1 -> bytes(random, 1023);
            case 2 -> new byte[0];
            case 3 -> "Zeit: 時刻 🕛 Ünïcödé ".getBytes(StandardCharsets.UTF_8);
            case 4 -> text(random, "%02d/%02d/%02d %02d:%02d:%d", 13, 32, 100, 24, 60, 6);
            case 5 -> text(random, "20%02d-%02d-%02dT%02d:%02d:%02d.%02d", 100, 13, 32, 24, 60, 60, 100);
            case 6 -> text(random, "17%05d%05d", 100_000, 100_000);
            default -> text(random, "%d s %02d.%02d.%d\n", 100, 32, 13, 3000);
        };
        byte[] whole = Arrays.copyOf(value, value.length + 1);
        whole[value.length] = (byte) ('0' + random.nextInt(10));
        return whole;
    }

    private static byte[] text(Random random, String format, int... bounds) {
        return String.format(format, Arrays.stream(bounds).mapToObj(random::nextInt).toArray()).getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] bytes(Random random, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    /** Sends one value, given in hexadecimal. */
    private static boolean send(String brokers, String input, String value) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers)) {
            producer.send(new ProducerRecord<>(input, java.util.HexFormat.of().parseHex(value))).get();
        }
        return true;
    }

    /** Waits until the outputs have as many values as the input has routable ones. */
    private static boolean await(String brokers, String input, String even, String odd) {
        long expected = routable(brokers, input, 0) + routable(brokers, input, 1);
        long found = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            List<TopicPartition> partitions = List.of(new TopicPartition(even, 0), new TopicPartition(odd, 0));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long until = System.nanoTime() + PATIENCE.toNanos();
            while (found < expected && System.nanoTime() < until) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    found += isMarker(record.value()) ? 0 : 1;
                }
            }
        }
        System.out.println(found + " of " + expected + " values in " + even + " and " + odd);
        return found >= expected;
    }

    /** Returns the number of input values with this parity, without markers and values that cannot be routed. */
    private static long routable(String brokers, String input, int parity) {
        return read(brokers, input).stream()
                .filter(value -> value.length > 0 && value[value.length - 1] >= '0' && value[value.length - 1] <= '9')
                .filter(value -> value[value.length - 1] % 2 == parity)
                .count();
    }

    /** Compares the topics of the two routers: the same values, byte for byte, in the same order. */
    private static boolean compare(String brokers, String input, String one, String other) {
        List<byte[]> first = read(brokers, one);
        List<byte[]> second = read(brokers, other);
        long expected = routable(brokers, input, one.endsWith("even") ? 0 : 1);
        String difference = first.size() == expected ? difference(first, second) : first.size() + " values, not " + expected;
        System.out.println(one + " and " + other + ": " + (difference == null ? first.size() + " values, equal" : difference));
        return difference == null && expected > 0;
    }

    private static String difference(List<byte[]> one, List<byte[]> other) {
        for (int i = 0; i < Math.min(one.size(), other.size()); i++) {
            if (!Arrays.equals(one.get(i), other.get(i))) {
                return "value " + i + " differs: " + shown(one.get(i)) + " and " + shown(other.get(i));
            }
        }
        return one.size() == other.size() ? null : one.size() + " and " + other.size() + " values";
    }

    private static String shown(byte[] value) {
        return java.util.HexFormat.of().formatHex(value, 0, Math.min(40, value.length)) + " (" + value.length + " bytes)";
    }

    /** Plants differences, each of which the comparison must find: a comparison that cannot fail proves nothing. */
    private static boolean selfTest() {
        Random random = new Random(1);
        List<byte[]> values = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            values.add((PREFIXES.get(i % 2) + i).getBytes(StandardCharsets.UTF_8));
        }
        boolean good = detects("nothing", values, list -> {}, false);
        good &= detects("a wrong byte", values, list -> list.set(50, bytes(random, list.get(50).length)), true);
        good &= detects("another prefix", values, list -> list.set(51, "Odd timestamp: 51".getBytes(StandardCharsets.UTF_8)), true);
        good &= detects("a byte more", values, list -> list.set(50, Arrays.copyOf(list.get(50), list.get(50).length + 1)), true);
        good &= detects("a loss", values, list -> list.remove(50), true);
        good &= detects("a loss at the end", values, list -> list.remove(99), true);
        good &= detects("a double", values, list -> list.add(51, list.get(50)), true);
        good &= detects("a double at the end", values, list -> list.add(list.get(99)), true);
        good &= detects("a reordering", values, list -> list.add(50, list.remove(52)), true);
        return good;
    }

    private static boolean detects(String planted, List<byte[]> values, Consumer<List<byte[]>> fault, boolean differs) {
        List<byte[]> faulty = new ArrayList<>(values);
        fault.accept(faulty);
        String difference = difference(values, faulty);
        boolean good = (difference != null) == differs;
        System.out.println((good ? "found: " : "NOT FOUND: ") + planted + ": " + difference);
        return good;
    }

    /** Returns the current values of the topic, without tombstones and markers. */
    private static List<byte[]> read(String brokers, String topic) {
        List<byte[]> values = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            TopicPartition partition = new TopicPartition(topic, 0);
            long end = end(consumer, topic);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            while (consumer.position(partition) < end) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.value() != null && !isMarker(record.value())) {
                        values.add(record.value());
                    }
                }
            }
        }
        return values;
    }

    private static boolean isMarker(byte[] value) {
        String text = new String(value, StandardCharsets.ISO_8859_1);
        return text.startsWith(MARKER) || PREFIXES.stream().anyMatch(prefix -> text.startsWith(prefix + MARKER));
    }

    /** Returns the end offset; 0 if the topic does not exist yet. */
    private static long end(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        TopicPartition partition = new TopicPartition(topic, 0);
        return consumer.listTopics().containsKey(topic) ? consumer.endOffsets(List.of(partition)).get(partition) : 0;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String brokers) {
        Map<String, Object> settings =
                Map.of("bootstrap.servers", brokers, "allow.auto.create.topics", "false", "max.poll.records", "5000");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static KafkaProducer<byte[], byte[]> producer(String brokers) {
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers, "acks", "all", "linger.ms", "5", "batch.size", "100000");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }
}
