import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Finds lost, duplicated and reordered records by their numbers. It reads with Kafka's own consumer, and shares no code with the router or
 * with the other suites' checker.
 *
 * <p>A value begins with its number, ten digits, which is unique in the input. Its last byte decides on the output: the even or odd topic,
 * where it follows the prefix, or the dead-letter topic, where it is unchanged.
 */
public final class Checker {
    private static final int DIGITS = 10;

    static boolean run(String[] args) throws Exception {
        return args[0].equals("self-test") ? selfTest() : check(args[1], args[2], args[3], args[4], args[5], args[6]);
    }

    /**
     * Waits until the group has committed the end of the input, and compares. The first line contains the counts for the script, which
     * decides how many duplicates are allowed.
     */
    private static boolean check(String brokers, String group, String input, String even, String odd, String dead) throws Exception {
        Comparison comparison = new Comparison();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            if (!isCommitted(brokers, consumer, group, input)) {
                System.out.println("the group " + group + " has not committed all of " + input);
                return false;
            }
            if (!areVisible(brokers, consumer, List.of(even, odd, dead))) {
                System.out.println("a transaction is still open after 120 s");
                return false;
            }
            read(consumer, input, record -> comparison.input(record.partition(), record.offset(), record.value()));
            for (Destination destination : Destination.values()) {
                String topic = switch (destination) {
                    case EVEN -> even;
                    case ODD -> odd;
                    case DEAD -> dead;
                };
                read(consumer, topic, record -> comparison.output(destination, record.partition(), record.offset(), record.value()));
            }
        }
        comparison.print();
        return comparison.isComplete();
    }

    private static boolean isCommitted(String brokers, KafkaConsumer<byte[], byte[]> consumer, String group, String input)
            throws Exception {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitionsOf(consumer, input));
        long until = System.nanoTime() + Duration.ofSeconds(300).toNanos();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            while (System.nanoTime() < until) {
                var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                if (ends.entrySet().stream().allMatch(end -> end.getValue() == 0
                        || committed.get(end.getKey()) != null && committed.get(end.getKey()).offset() >= end.getValue())) {
                    return true;
                }
                Thread.sleep(50);
            }
        }
        return false;
    }

    /** Waits until no open transaction hides records. A killed router's transaction stays open until its timeout. */
    private static boolean areVisible(String brokers, KafkaConsumer<byte[], byte[]> consumer, List<String> topics) throws Exception {
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        topics.forEach(topic -> partitionsOf(consumer, topic).forEach(partition -> latest.put(partition, OffsetSpec.latest())));
        long until = System.nanoTime() + Duration.ofSeconds(120).toNanos();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            while (System.nanoTime() < until) {
                Map<TopicPartition, Long> all = ends(admin, latest, IsolationLevel.READ_UNCOMMITTED);
                if (ends(admin, latest, IsolationLevel.READ_COMMITTED).equals(all)) {
                    return true;
                }
                Thread.sleep(50);
            }
        }
        return false;
    }

    private static Map<TopicPartition, Long> ends(Admin admin, Map<TopicPartition, OffsetSpec> latest, IsolationLevel isolation)
            throws Exception {
        Map<TopicPartition, Long> ends = new HashMap<>();
        admin.listOffsets(latest, new ListOffsetsOptions(isolation)).all().get().forEach((partition, end) -> ends.put(partition, end.offset()));
        return ends;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String brokers) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", brokers,
                "allow.auto.create.topics", "false",
                "isolation.level", "read_committed",
                "max.poll.records", "10000");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> partitionsOf(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
    }

    /** Reads a topic from its first record to its current end. */
    private static void read(KafkaConsumer<byte[], byte[]> consumer, String topic, Consumer<ConsumerRecord<byte[], byte[]>> taker) {
        List<TopicPartition> partitions = partitionsOf(consumer, topic);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
            try {
                consumer.poll(Duration.ofMillis(200)).forEach(taker);
            } catch (KafkaException e) {
                throw new KafkaException(topic, e);
            }
        }
    }

    private enum Destination {
        EVEN("Even timestamp: "),
        ODD("Odd timestamp:"),
        DEAD("");

        final byte[] prefix;

        Destination(String prefix) {
            this.prefix = prefix.getBytes(StandardCharsets.UTF_8);
        }

        static Destination of(byte[] value) {
            int last = value.length == 0 ? -1 : value[value.length - 1];
            return last < '0' || last > '9' ? DEAD : last % 2 == 0 ? EVEN : ODD;
        }
    }

    /** Counts by record number, in arrays, because there may be tens of millions. */
    private static final class Comparison {
        private byte[] expected = new byte[1 << 16];
        private byte[] found = new byte[1 << 16];
        private short[] partitions = new short[1 << 16];
        private int[] offsets = new int[1 << 16];
        /** Hashes of output and complete value: a value that differs in one byte is another record. */
        private long[] hashes = new long[1 << 16];

        private final Map<Long, Integer> last = new HashMap<>();
        private final List<String> samples = new ArrayList<>();
        private int lowest = Integer.MAX_VALUE;
        private long inputs;
        private long unexpected;
        private long reordered;
        private long earlier;

        void input(int partition, long offset, byte[] value) {
            int number = number(value, 0);
            if (number < 0) {
                throw new IllegalStateException("not a numbered value in the input at offset " + offset);
            }
            grow(number);
            lowest = Math.min(lowest, number);
            inputs++;
            Destination destination = Destination.of(value);
            if (expected[number]++ == 0) {
                partitions[number] = (short) partition;
                offsets[number] = Math.toIntExact(offset);
                hashes[number] = hash(hash(destination.ordinal(), destination.prefix), value);
            }
        }

        void output(Destination destination, int partition, long offset, byte[] value) {
            int number = number(value, destination.prefix.length);
            if (number >= 0 && number < lowest) {
                // Its input was deleted after it was routed.
                earlier++;
                return;
            }
            if (number < 0 || number >= expected.length || expected[number] == 0 || hash(destination.ordinal(), value) != hashes[number]) {
                unexpected++;
                sample("unexpected: " + destination + "-" + partition + " offset " + offset);
                return;
            }
            // Only for the first copy: a duplicate is always out of order.
            if (found[number]++ == 0) {
                long route = ((long) destination.ordinal() << 32) + ((long) partition << 16) + partitions[number];
                Integer before = last.put(route, offsets[number]);
                if (before != null && before > offsets[number]) {
                    reordered++;
                    String at = destination + "-" + partition + " offset " + offset;
                    sample("out of order: " + describe(number) + " after offset " + before + " in " + at);
                }
            }
        }

        long lost() {
            return sum(false);
        }

        long duplicated() {
            return sum(true);
        }

        private long sum(boolean above) {
            long sum = 0;
            for (int number = 0; number < expected.length; number++) {
                int more = found[number] - expected[number];
                if (above ? more > 0 : more < 0) {
                    sum += Math.abs(more);
                }
            }
            return sum;
        }

        boolean isComplete() {
            return inputs > 0 && lost() == 0 && unexpected == 0 && reordered == 0;
        }

        String counts() {
            return String.format("%d %d %d %d %d", inputs, lost(), duplicated(), reordered, unexpected);
        }

        void print() {
            System.out.println(counts());
            for (int number = 0, shown = 0; number < expected.length && shown < 5; number++) {
                if (found[number] < expected[number]) {
                    sample("lost: " + describe(number));
                    shown++;
                }
            }
            if (earlier > 0) {
                System.out.println(earlier + " records whose input was deleted");
            }
            samples.forEach(System.out::println);
        }

        private String describe(int number) {
            return "number " + number + " of partition " + partitions[number] + " offset " + offsets[number];
        }

        private void sample(String text) {
            if (samples.size() < 10) {
                samples.add(text);
            }
        }

        private void grow(int number) {
            if (number >= expected.length) {
                int length = Math.max(number + 1, 2 * expected.length);
                expected = Arrays.copyOf(expected, length);
                found = Arrays.copyOf(found, length);
                partitions = Arrays.copyOf(partitions, length);
                offsets = Arrays.copyOf(offsets, length);
                hashes = Arrays.copyOf(hashes, length);
            }
        }

        private static int number(byte[] value, int at) {
            if (value == null || value.length < at + DIGITS) {
                return -1;
            }
            long number = 0;
            for (int i = at; i < at + DIGITS; i++) {
                if (value[i] < '0' || value[i] > '9') {
                    return -1;
                }
                number = number * 10 + value[i] - '0';
            }
            return number < Integer.MAX_VALUE ? (int) number : -1;
        }

        /** FNV-1a; `hash` is the start value, the output or the hash of the bytes before these. */
        private static long hash(long hash, byte[] bytes) {
            for (byte b : bytes) {
                hash = (hash ^ b) * 0x100000001b3L;
            }
            return hash;
        }
    }

    // --- self-test -----------------------------------------------------------------------------------------------------------------

    private record Output(Destination destination, byte[] value) {}

    private static boolean selfTest() {
        List<byte[]> inputs = new ArrayList<>();
        List<Output> outputs = new ArrayList<>();
        for (int number = 0; number < 200; number++) {
            byte[] value = bytes(String.format("%010d 11/23/26 17:56:%02d%s", number, number % 60, number % 50 == 7 ? "x" : ""));
            inputs.add(value);
            Destination destination = number % 50 == 7 ? Destination.DEAD : number % 2 == 0 ? Destination.EVEN : Destination.ODD;
            String prefix = destination == Destination.DEAD ? "" : destination == Destination.EVEN ? "Even timestamp: " : "Odd timestamp:";
            outputs.add(new Output(destination, bytes(prefix + new String(value, StandardCharsets.UTF_8))));
        }
        boolean good = true;
        good &= finds("nothing", inputs, outputs, "200 0 0 0 0");
        good &= finds("a loss", inputs, without(outputs, 50), "200 1 0 0 0");
        good &= finds("the last one lost", inputs, without(outputs, 199), "200 1 0 0 0");
        good &= finds("a lost dead letter", inputs, without(outputs, 57), "200 1 0 0 0");
        good &= finds("a double", inputs, with(outputs, 200, outputs.get(50)), "200 0 1 0 0");
        good &= finds("a double dead letter", inputs, with(outputs, 58, outputs.get(57)), "200 0 1 0 0");
        List<Output> again = new ArrayList<>(outputs.subList(0, 100));
        again.addAll(outputs.subList(60, 200));
        good &= finds("a stretch read again", inputs, again, "200 0 40 0 0");
        // Moved before a record that it follows in its partition.
        good &= finds("a reordering", inputs, with(without(outputs, 50), 46, outputs.get(50)), "200 0 0 1 0");
        good &= finds("another partition's record earlier", inputs, with(without(outputs, 52), 50, outputs.get(52)), "200 0 0 0 0");
        Output right = outputs.get(51);
        good &= finds("the wrong output", inputs, replaced(outputs, 51, new Output(Destination.EVEN, right.value)), "200 1 0 0 1");
        good &= finds("the wrong output with its prefix", inputs,
                replaced(outputs, 51, new Output(Destination.EVEN, concat(Destination.EVEN.prefix, inputs.get(51)))), "200 1 0 0 1");
        good &= finds("the wrong prefix", inputs,
                replaced(outputs, 51, new Output(Destination.ODD, concat(bytes("Odd timestamp: "), inputs.get(51)))), "200 1 0 0 1");
        good &= finds("no prefix", inputs, replaced(outputs, 51, new Output(Destination.ODD, inputs.get(51))), "200 1 0 0 1");
        Output longer = new Output(Destination.ODD, concat(right.value, bytes("1")));
        good &= finds("a byte too much", inputs, replaced(outputs, 51, longer), "200 1 0 0 1");
        good &= finds("a routable dead letter", inputs, replaced(outputs, 51, new Output(Destination.DEAD, inputs.get(51))), "200 1 0 0 1");
        Output other = new Output(Destination.ODD, bytes("Odd timestamp:0000009999 1"));
        good &= finds("a record without an input", inputs, with(outputs, 9, other), "200 0 0 0 1");
        good &= finds("no value", inputs, with(outputs, 9, new Output(Destination.ODD, null)), "200 0 0 0 1");
        // A value that is twice in the input must be twice in the output.
        List<byte[]> twice = new ArrayList<>(inputs);
        twice.add(inputs.get(20));
        good &= finds("one that is twice in the input", twice, outputs, "201 1 0 0 0");
        return good;
    }

    private static boolean finds(String planted, List<byte[]> inputs, List<Output> outputs, String counts) {
        Comparison comparison = new Comparison();
        for (int i = 0; i < inputs.size(); i++) {
            // Two input partitions that alternate every two records.
            comparison.input(i / 2 % 2, i, inputs.get(i));
        }
        for (int i = 0; i < outputs.size(); i++) {
            comparison.output(outputs.get(i).destination, 0, i, outputs.get(i).value);
        }
        boolean good = comparison.counts().equals(counts);
        System.out.println((good ? "found: " : "NOT FOUND: ") + planted + ": " + comparison.counts());
        return good;
    }

    private static List<Output> without(List<Output> outputs, int index) {
        List<Output> changed = new ArrayList<>(outputs);
        changed.remove(index);
        return changed;
    }

    private static List<Output> with(List<Output> outputs, int index, Output output) {
        List<Output> changed = new ArrayList<>(outputs);
        changed.add(index, output);
        return changed;
    }

    private static List<Output> replaced(List<Output> outputs, int index, Output output) {
        List<Output> changed = new ArrayList<>(outputs);
        changed.set(index, output);
        return changed;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] concat(byte[] one, byte[] other) {
        byte[] both = Arrays.copyOf(one, one.length + other.length);
        System.arraycopy(other, 0, both, one.length, other.length);
        return both;
    }
}
