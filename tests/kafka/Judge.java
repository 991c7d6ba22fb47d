import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * Produces the input and checks what the router wrote, with Apache Kafka's own Java clients and none of the router's code. Each command
 * prints one line to standard output; a failed check ends with exit code 1.
 */
public final class Judge {
    private static final Duration PATIENCE = Duration.ofSeconds(180);

    static boolean run(String[] args) throws Exception {
        return switch (args[0]) {
            case "up" -> up(args[1]);
            case "topic" -> topic(args[1], args[2], Integer.parseInt(args[3]), List.of(args).subList(4, args.length));
            case "partitions" -> partitions(args[1], args[2], Integer.parseInt(args[3]));
            case "produce" -> produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            case "random" -> random(args[1], args[2], Long.parseLong(args[3]), Integer.parseInt(args[4]));
            case "large" -> large(args[1], args[2], Integer.parseInt(args[3]));
            case "oddities" -> Oddities.write(args[1], args[2], Long.parseLong(args[3]), args[4]);
            case "compacted" -> Oddities.compacted(args[1], args[2], Long.parseLong(args[3]), args[4]);
            case "same" -> same(args[1], args[2], args[3]);
            case "member" -> Member.run(args[1], args[2], args[3], args[4], args[5], List.of(args).subList(6, args.length));
            case "balanced" -> Member.balanced(args[1], args[2], args[3], List.of(args).subList(4, args.length));
            case "plain" -> Oddities.plain(args[1], args[2], args[3]);
            case "codec" -> codec(args[1], args[2]);
            case "keyed" -> keyed(args[1], args[2]);
            case "commit" -> commit(args[1], args[2], args[3], Integer.parseInt(args[4]), Long.parseLong(args[5]));
            case "delete-records" -> deleteRecords(args[1], args[2], Integer.parseInt(args[3]), Long.parseLong(args[4]));
            case "delete-topic" -> deleteTopic(args[1], args[2]);
            case "grow" -> grow(args[1], args[2], Integer.parseInt(args[3]));
            case "await" -> await(args[1], args[2], Long.parseLong(args[3]));
            case "count" -> count(args[1], args[2]);
            case "uncommitted" -> uncommitted(args[1], args[2]);
            case "check" -> check(args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8]);
            case "self-test" -> selfTest();
            default -> throw new IllegalArgumentException(args[0]);
        };
    }

    /**
     * Timestamp of the first numbered record. It must be recent: a starting broker forgets producers whose last record has a timestamp
     * older than producer.id.expiration.ms (one day; before Kafka 3.4 seven), and then appends a batch that it already has.
     */
    private static final long FIRST_TIMESTAMP = System.currentTimeMillis();

    /** Waits until the broker answers. */
    private static boolean up(String brokers) throws Exception {
        try (Admin admin = admin(brokers)) {
            return eventually(() -> !admin.describeCluster().nodes().get().isEmpty());
        }
    }

    /** Creates a topic, with settings as name=value. */
    private static boolean topic(String brokers, String topic, int partitions, List<String> settings) throws Exception {
        Map<String, String> configs = settings.stream().map(text -> text.split("=", 2)).collect(Collectors.toMap(s -> s[0], s -> s[1]));
        try (Admin admin = admin(brokers)) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(configs))).all().get();
            return areWritable(admin, topic, partitions);
        }
    }

    /**
     * Waits for the leaders: a partition that is still being created can refuse a producer's first batch, accept its second, and never the
     * first.
     */
    private static boolean areWritable(Admin admin, String topic, int partitions) throws Exception {
        Map<TopicPartition, OffsetSpec> ends = IntStream.range(0, partitions)
                .boxed()
                .collect(Collectors.toMap(partition -> new TopicPartition(topic, partition), partition -> OffsetSpec.latest()));
        return eventually(() -> admin.listOffsets(ends).all().get().size() == partitions);
    }

    /** Checks the number of partitions of a topic. */
    private static boolean partitions(String brokers, String topic, int expected) throws Exception {
        try (Admin admin = admin(brokers)) {
            int found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
            System.out.println(topic + " has " + found + " partitions");
            return found == expected;
        }
    }

    /** Produces records numbered from `from` on, in the form of the recipe's timestamps; `rate` per second, 0 for full speed. */
    private static boolean produce(String brokers, String topic, int from, int count, int rate) throws Exception {
        long start = System.nanoTime();
        AtomicInteger written = new AtomicInteger();
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers)) {
            int partitions = producer.partitionsFor(topic).size();
            for (int i = 0; i < count; i++) {
                if (rate > 0) {
                    long due = start + i * 1_000_000_000L / rate;
                    for (long wait = due - System.nanoTime(); wait > 0; wait = due - System.nanoTime()) {
                        Thread.sleep(Math.max(1, wait / 1_000_000));
                    }
                }
                producer.send(numbered(topic, (from + i) % partitions, from + i), (metadata, error) -> {
                    if (error == null) {
                        written.incrementAndGet();
                    }
                });
            }
        }
        System.out.printf("produced %d records in %.1f s%n", written.get(), (System.nanoTime() - start) / 1e9);
        return written.get() == count;
    }

    private static ProducerRecord<byte[], byte[]> numbered(String topic, int partition, int number) {
        byte[] value = String.format("%010d 11/23/26 17:56:%02d", number, number % 60).getBytes(StandardCharsets.UTF_8);
        byte[] key = number % 3 == 0 ? null : ("key" + number % 100).getBytes(StandardCharsets.UTF_8);
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, FIRST_TIMESTAMP + number, key, value);
        for (int h = 0; h < number % 4; h++) {
            record.headers().add(new RecordHeader("h" + h, h == 1 ? null : new byte[] {(byte) number, 0, (byte) 0xff}));
        }
        return record;
    }

    /** Produces random values: tombstones, empty ones, any bytes, with and without a digit at the end. */
    private static boolean random(String brokers, String topic, long seed, int count) throws Exception {
        Random random = new Random(seed);
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers)) {
            for (int i = 0; i < count; i++) {
                byte[] value = switch (random.nextInt(8)) {
                    case 0 -> null;
                    case 1 -> new byte[0];
                    default -> bytes(random, 1 + random.nextInt(2000));
                };
                if (value != null && value.length > 0 && random.nextBoolean()) {
                    value[value.length - 1] = (byte) ('0' + random.nextInt(10));
                }
                byte[] key = random.nextInt(3) == 0 ? null : bytes(random, random.nextInt(20));
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, null, 1L + random.nextInt(Integer.MAX_VALUE), key, value);
                for (int h = random.nextInt(4); h > 0; h--) {
                    String name = "h" + random.nextInt(3) + (random.nextBoolean() ? "é" : "");
                    record.headers().add(new RecordHeader(name, random.nextInt(4) == 0 ? null : bytes(random, random.nextInt(30))));
                }
                producer.send(record);
            }
        }
        System.out.println("produced " + count + " random values, seed " + seed);
        return true;
    }

    static byte[] bytes(Random random, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    /** Produces one record whose value has `size` digits. */
    private static boolean large(String brokers, String topic, int size) throws Exception {
        byte[] value = new byte[size];
        Arrays.fill(value, (byte) '8');
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers)) {
            producer.send(new ProducerRecord<>(topic, value)).get();
        }
        return true;
    }

    /** Waits until the topics together have `count` records. */
    private static boolean await(String brokers, String topics, long count) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            return eventually(() -> records(consumer, topics) >= count);
        }
    }

    /** Prints the number of records of the topics together. */
    private static boolean count(String brokers, String topics) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            System.out.println(records(consumer, topics));
        }
        return true;
    }

    /**
     * Checks that the batches in a partition's folder are compressed with this codec. Small batches may be uncompressed, if that is
     * smaller.
     */
    private static boolean codec(String folder, String codec) throws Exception {
        Map<String, Integer> found = new TreeMap<>();
        boolean good = false;
        boolean bad = false;
        for (File file : new File(folder).listFiles((parent, name) -> name.endsWith(".log"))) {
            try (FileRecords records = FileRecords.open(file)) {
                for (var batch : records.batches()) {
                    boolean is = batch.compressionType().name.equals(codec);
                    found.merge(batch.compressionType().name, 1, Integer::sum);
                    good |= is;
                    bad |= !is && batch.countOrNull() >= 10;
                }
            }
        }
        System.out.println(folder.substring(folder.lastIndexOf('/') + 1) + " has batches " + found);
        return good && !bad;
    }

    /**
     * Checks that records with a key are in the partition that Java's producer would choose, and that those without one are in all
     * partitions, with many consecutive ones in the same partition.
     */
    private static boolean keyed(String brokers, String topic) {
        Map<Integer, Integer> keyless = new TreeMap<>();
        TreeMap<Long, Integer> sequence = new TreeMap<>();
        int[] keyed = {0, 0};
        int count;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            List<TopicPartition> partitions = partitionsOf(consumer, topic);
            count = partitions.size();
            read(consumer, partitions, record -> {
                if (record.key() == null) {
                    keyless.merge(record.partition(), 1, Integer::sum);
                    sequence.put(record.timestamp(), record.partition());
                } else {
                    boolean right = record.partition() == Utils.toPositive(Utils.murmur2(record.key())) % count;
                    keyed[right ? 0 : 1]++;
                }
            });
        }
        int changes = 0;
        Integer before = null;
        for (int partition : sequence.values()) {
            changes += before != null && before != partition ? 1 : 0;
            before = partition;
        }
        System.out.printf("%s: %d records in Java's partition for their key, %d elsewhere; without a key %s, partition changed %d times%n",
                topic, keyed[0], keyed[1], keyless, changes);
        return keyed[0] > 0 && keyed[1] == 0 && keyless.size() == count && changes < sequence.size() / 5;
    }

    private static boolean commit(String brokers, String group, String topic, int partition, long offset) throws Exception {
        try (Admin admin = admin(brokers)) {
            admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, partition), new OffsetAndMetadata(offset))).all().get();
        }
        return true;
    }

    /** Deletes a partition's records below an offset, as retention does. */
    private static boolean deleteRecords(String brokers, String topic, int partition, long offset) throws Exception {
        try (Admin admin = admin(brokers)) {
            admin.deleteRecords(Map.of(new TopicPartition(topic, partition), RecordsToDelete.beforeOffset(offset))).all().get();
        }
        return true;
    }

    private static boolean deleteTopic(String brokers, String topic) throws Exception {
        try (Admin admin = admin(brokers)) {
            admin.deleteTopics(List.of(topic)).all().get();
            // With ZooKeeper, deletion takes several steps. It is complete when the topic can be created again.
            NewTopic again = new NewTopic(topic, Optional.of(1), Optional.empty());
            return eventually(() -> {
                boolean listed = admin.listTopics().names().get().contains(topic);
                admin.createTopics(List.of(again), new CreateTopicsOptions().validateOnly(true)).all().get();
                return !listed;
            });
        }
    }

    /** Increases the number of partitions of a topic. */
    private static boolean grow(String brokers, String topic, int partitions) throws Exception {
        try (Admin admin = admin(brokers)) {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
            return areWritable(admin, topic, partitions);
        }
    }

    private static long records(KafkaConsumer<byte[], byte[]> consumer, String topics) {
        long records = 0;
        for (String topic : topics.split(",")) {
            records += consumer.endOffsets(partitionsOf(consumer, topic)).values().stream().mapToLong(Long::longValue).sum();
        }
        return records;
    }

    /** Checks that no group with this prefix has committed offsets. Kafka 3.9 supports only the deprecated listing. */
    @SuppressWarnings("removal")
    private static boolean uncommitted(String brokers, String prefix) throws Exception {
        try (Admin admin = admin(brokers)) {
            for (var group : admin.listConsumerGroups().all().get()) {
                if (group.groupId().startsWith(prefix)
                        && !admin.listConsumerGroupOffsets(group.groupId()).partitionsToOffsetAndMetadata().get().isEmpty()) {
                    System.out.println(group.groupId() + " has committed offsets");
                    return false;
                }
            }
        }
        return true;
    }

    /**
     * Waits until the group has committed the end of the inputs, then compares inputs and outputs record by record. `mode` is `once` (every
     * record exactly once) or `least` (none missing). `fidelity` is `full`; `small` for a client without headers and timestamps; or
     * `librdkafka`, which takes a timestamp of 0 for none.
     */
    private static boolean check(
            String brokers, String inputs, String even, String odd, String error, String group, String mode, String fidelity)
            throws Exception {
        Comparison comparison = new Comparison(Fidelity.valueOf(fidelity.toUpperCase(Locale.ROOT)));
        try (Admin admin = admin(brokers); KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String input : inputs.split(",")) {
                // With ZooKeeper, a broker that has just started answers before it knows any topic.
                if (!eventually(() -> !partitionsOf(consumer, input).isEmpty())) {
                    System.out.println("topic " + input + " does not exist");
                    return false;
                }
                partitions.addAll(partitionsOf(consumer, input));
            }
            // The committed offset can stay below the end of the partition: transaction markers at the end are offsets, but not records.
            Map<TopicPartition, Long> next = new HashMap<>();
            read(consumer, partitions, record -> {
                comparison.expect(record, even, odd, error + "." + record.topic() + "." + group);
                next.put(new TopicPartition(record.topic(), record.partition()), record.offset() + 1);
            });
            boolean committed = eventually(() -> {
                var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                return next.entrySet().stream()
                        .allMatch(at -> offsets.get(at.getKey()) != null && offsets.get(at.getKey()).offset() >= at.getValue());
            });
            if (!committed) {
                System.out.println("group " + group + " has not committed all of " + inputs);
                return false;
            }
            Set<String> outputs = new TreeSet<>(List.of(even, odd));
            Set<String> existing = consumer.listTopics().keySet();
            for (String input : inputs.split(",")) {
                outputs.add(error + "." + input + "." + group);
            }
            outputs.retainAll(existing);
            // The commit of the offsets does not mean that a consumer sees the outputs already: each partition gets its own transaction
            // marker.
            if (!areTransactionsOver(admin, consumer, outputs)) {
                System.out.println("a transaction is still open in " + outputs);
                return false;
            }
            for (String output : outputs) {
                read(consumer, partitionsOf(consumer, output), comparison::found);
            }
        }
        System.out.println(comparison.report());
        return mode.equals("once") ? comparison.isExact() : comparison.isComplete();
    }

    /** Plants faults, each of which the comparison must find: a comparison that cannot fail proves nothing. */
    private static boolean selfTest() {
        List<ConsumerRecord<byte[], byte[]>> inputs = new ArrayList<>();
        List<ConsumerRecord<byte[], byte[]>> outputs = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            ProducerRecord<byte[], byte[]> sent = numbered("in", 0, i);
            inputs.add(record("in", i, sent.timestamp(), sent.key(), sent.value(), sent.headers().toArray()));
            byte[] prefix = (i % 60 % 2 == 0 ? "Even timestamp: " : "Odd timestamp:").getBytes(StandardCharsets.UTF_8);
            String topic = i % 60 % 2 == 0 ? "even" : "odd";
            outputs.add(record(topic, i, sent.timestamp(), sent.key(), concat(prefix, sent.value()), sent.headers().toArray()));
        }
        boolean good = detects(inputs, outputs, "nothing", true, true);
        List<ConsumerRecord<byte[], byte[]>> faulty = new ArrayList<>(outputs);
        faulty.remove(50);
        good &= detects(inputs, faulty, "a loss", false, false);
        faulty = new ArrayList<>(outputs);
        faulty.add(outputs.get(50));
        good &= detects(inputs, faulty, "a double", false, true);
        faulty = new ArrayList<>(outputs);
        faulty.add(51, faulty.remove(53));
        good &= detects(inputs, faulty, "a reordering", false, false);
        ConsumerRecord<byte[], byte[]> right = outputs.get(51);
        for (ConsumerRecord<byte[], byte[]> wrong : List.of(
                record("even", 51, right.timestamp(), right.key(), right.value(), right.headers().toArray()),
                record("odd", 51, right.timestamp(), right.key(), concat(right.value(), new byte[1]), right.headers().toArray()),
                record("odd", 51, right.timestamp(), new byte[] {1}, right.value(), right.headers().toArray()),
                record("odd", 51, right.timestamp() + 1, right.key(), right.value(), right.headers().toArray()),
                record("odd", 51, STARTED, right.key(), right.value(), right.headers().toArray()),
                record("odd", 51, right.timestamp(), right.key(), right.value(), new Header[0]))) {
            faulty = new ArrayList<>(outputs);
            faulty.set(51, wrong);
            good &= detects(inputs, faulty, "a wrong record", false, false);
        }
        return good;
    }

    private static boolean detects(
            List<ConsumerRecord<byte[], byte[]>> inputs,
            List<ConsumerRecord<byte[], byte[]>> outputs,
            String planted,
            boolean exact,
            boolean complete) {
        Comparison comparison = new Comparison(Fidelity.FULL);
        inputs.forEach(input -> comparison.expect(input, "even", "odd", "error"));
        outputs.forEach(comparison::found);
        boolean good = comparison.isExact() == exact && comparison.isComplete() == complete;
        System.out.println((good ? "found: " : "NOT FOUND: ") + planted + ": " + comparison.report());
        return good;
    }

    private static ConsumerRecord<byte[], byte[]> record(
            String topic, long offset, long timestamp, byte[] key, byte[] value, Header[] headers) {
        ConsumerRecord<byte[], byte[]> record = new ConsumerRecord<>(
                topic, 0, offset, timestamp, TimestampType.CREATE_TIME, 0, 0, key, value,
                new org.apache.kafka.common.header.internals.RecordHeaders(headers), Optional.empty());
        return record;
    }

    /** Compares expected and found records by their counts, and the order of those that are expected once. */
    private static final class Comparison {
        private record Id(long high, long low) {}

        private static final class Entry {
            int expected;
            int found;
            String topic;
            int partition;
            long offset;
        }

        private final Fidelity fidelity;
        private final Map<Id, Entry> entries = new HashMap<>();
        private final Map<String, Long> last = new HashMap<>();
        private final Map<String, Long> topics = new TreeMap<>();
        private final List<String> samples = new ArrayList<>();
        private long inputs;
        private long skipped;
        private long unexpected;
        private long disordered;
        private long renewed;

        Comparison(Fidelity fidelity) {
            this.fidelity = fidelity;
        }

        void expect(ConsumerRecord<byte[], byte[]> input, String even, String odd, String error) {
            inputs++;
            byte[] value = input.value();
            if (value == null) {
                skipped++;
                return;
            }
            List<Header> headers = new ArrayList<>(List.of(input.headers().toArray()));
            String topic = error;
            int last = value.length == 0 ? -1 : value[value.length - 1];
            if (last >= '0' && last <= '9') {
                topic = last % 2 == 0 ? even : odd;
                String prefix = last % 2 == 0 ? "Even timestamp: " : "Odd timestamp:";
                value = concat(prefix.getBytes(StandardCharsets.UTF_8), value);
            } else {
                String reason = value.length == 0 ? "the value is empty" : "the last byte of the value is not a digit";
                headers.add(new RecordHeader("x-original-topic", input.topic().getBytes(StandardCharsets.UTF_8)));
                headers.add(new RecordHeader("x-original-partition", ByteBuffer.allocate(4).putInt(input.partition()).array()));
                headers.add(new RecordHeader("x-original-offset", ByteBuffer.allocate(8).putLong(input.offset()).array()));
                if (input.timestamp() != ConsumerRecord.NO_TIMESTAMP) {
                    byte[] type = input.timestampType().toString().getBytes(StandardCharsets.UTF_8);
                    headers.add(new RecordHeader("x-original-timestamp", ByteBuffer.allocate(8).putLong(input.timestamp()).array()));
                    headers.add(new RecordHeader("x-original-timestamp-type", type));
                }
                headers.add(new RecordHeader("x-exception-message", reason.getBytes(StandardCharsets.UTF_8)));
            }
            long timestamp = fidelity.isNone(input.timestamp()) ? ConsumerRecord.NO_TIMESTAMP : input.timestamp();
            Entry entry = entries.computeIfAbsent(id(topic, timestamp, input.key(), value, headers), id -> new Entry());
            entry.expected++;
            entry.topic = input.topic();
            entry.partition = input.partition();
            entry.offset = input.offset();
        }

        void found(ConsumerRecord<byte[], byte[]> output) {
            topics.merge(output.topic(), 1L, Long::sum);
            List<Header> headers = List.of(output.headers().toArray());
            Entry entry = entries.get(id(output.topic(), output.timestamp(), output.key(), output.value(), headers));
            // A record without a timestamp got the time at which it was written.
            if (entry == null && isRecent(output.timestamp())) {
                entry = entries.get(id(output.topic(), ConsumerRecord.NO_TIMESTAMP, output.key(), output.value(), headers));
                renewed += entry == null ? 0 : 1;
            }
            if (entry == null) {
                unexpected++;
                sample("unexpected: " + output.topic() + "-" + output.partition() + " offset " + output.offset());
                return;
            }
            entry.found++;
            // Only for the first copy: a duplicate is always out of order.
            if (entry.expected == 1 && entry.found == 1) {
                String route = output.topic() + "-" + output.partition() + " from " + entry.topic + "-" + entry.partition;
                Long before = last.put(route, entry.offset);
                if (before != null && before > entry.offset) {
                    disordered++;
                    sample("out of order: " + route + " offset " + entry.offset + " after " + before);
                }
            }
        }

        long missing() {
            return entries.values().stream().mapToLong(entry -> Math.max(0, entry.expected - entry.found)).sum();
        }

        long duplicated() {
            return entries.values().stream().mapToLong(entry -> Math.max(0, entry.found - entry.expected)).sum();
        }

        boolean isComplete() {
            return inputs > 0 && missing() == 0 && unexpected == 0 && disordered == 0;
        }

        boolean isExact() {
            return isComplete() && duplicated() == 0;
        }

        String report() {
            entries.values().stream()
                    .filter(entry -> entry.found > entry.expected)
                    .limit(2)
                    .forEach(entry -> sample("duplicated: " + entry.topic + "-" + entry.partition + " offset " + entry.offset));
            entries.values().stream()
                    .filter(entry -> entry.found < entry.expected)
                    .limit(3)
                    .forEach(entry -> sample("missing: " + entry.topic + "-" + entry.partition + " offset " + entry.offset));
            return String.format(
                    "%d in, %d tombstones, out %s: %d missing, %d duplicated, %d unexpected, %d out of order%s%s",
                    inputs, skipped, topics, missing(), duplicated(), unexpected, disordered,
                    renewed == 0 ? "" : ", " + renewed + " without a timestamp have the time at which they were written",
                    samples.isEmpty() ? "" : " " + samples);
        }

        private void sample(String text) {
            if (samples.size() < 5) {
                samples.add(text);
            }
        }

        private Id id(String topic, long timestamp, byte[] key, byte[] value, Collection<Header> headers) {
            MessageDigest digest = md5();
            part(digest, topic.getBytes(StandardCharsets.UTF_8));
            boolean full = fidelity != Fidelity.SMALL;
            // The client `kafka` does not distinguish an empty key from none, and has no headers or timestamps.
            part(digest, key == null || (!full && key.length == 0) ? null : key);
            part(digest, value);
            if (full) {
                digest.update(ByteBuffer.allocate(8).putLong(timestamp).array());
                parts(digest, headers);
            }
            ByteBuffer bytes = ByteBuffer.wrap(digest.digest());
            return new Id(bytes.getLong(), bytes.getLong());
        }
    }

    /** The parts of a record that a client can copy from input to output. */
    private enum Fidelity {
        FULL,
        SMALL,
        LIBRDKAFKA;

        /** True if the client takes this timestamp for none; Kafka's own value for none is -1. */
        boolean isNone(long timestamp) {
            return timestamp == ConsumerRecord.NO_TIMESTAMP || timestamp == 0 && this == LIBRDKAFKA;
        }
    }

    private static final long STARTED = System.currentTimeMillis();

    /** True if a program of this run can have written a record with this timestamp. */
    private static boolean isRecent(long timestamp) {
        return timestamp > STARTED - 3_600_000 && timestamp < STARTED + 3_600_000;
    }

    private static MessageDigest md5() {
        try {
            return MessageDigest.getInstance("MD5");
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void parts(MessageDigest digest, Iterable<Header> headers) {
        for (Header header : headers) {
            part(digest, header.key().getBytes(StandardCharsets.UTF_8));
            part(digest, header.value());
        }
    }

    private static void part(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
        if (bytes != null) {
            digest.update(bytes);
        }
    }

    /**
     * Checks that two topics with one partition have the same records in the same order: keys, values, headers in their order, timestamps.
     * Timestamps may differ if one of the two clients takes the input's for none; `check` verifies those.
     */
    private static boolean same(String brokers, String one, String other) {
        record Seen(long timestamp, ByteBuffer rest) {}
        List<List<Seen>> both = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers)) {
            for (String topic : List.of(one, other)) {
                List<Seen> seen = new ArrayList<>();
                read(consumer, partitionsOf(consumer, topic), record -> {
                    MessageDigest digest = md5();
                    part(digest, record.key());
                    part(digest, record.value());
                    parts(digest, record.headers());
                    seen.add(new Seen(record.timestamp(), ByteBuffer.wrap(digest.digest())));
                });
                both.add(seen);
            }
        }
        int timed = 0;
        for (int i = 0; i < Math.min(both.get(0).size(), both.get(1).size()); i++) {
            Seen a = both.get(0).get(i);
            Seen b = both.get(1).get(i);
            boolean noTime = (a.timestamp <= 0 || isRecent(a.timestamp)) && (b.timestamp <= 0 || isRecent(b.timestamp));
            timed += a.timestamp == b.timestamp ? 0 : 1;
            if (!a.rest.equals(b.rest) || a.timestamp != b.timestamp && !noTime) {
                System.out.println(one + " and " + other + " differ at " + i + ", timestamps " + a.timestamp + " and " + b.timestamp);
                return false;
            }
        }
        System.out.println(one + " and " + other + ": " + both.get(0).size() + " and " + both.get(1).size() + " records in the same order, "
                + timed + " of them with different timestamps");
        return both.get(0).size() == both.get(1).size() && !both.get(0).isEmpty();
    }

    static byte[] concat(byte[] a, byte[] b) {
        return ByteBuffer.allocate(a.length + b.length).put(a).put(b).array();
    }

    /** Reads the partitions from the first record to the one that is the last when it is called. */
    static void read(
            KafkaConsumer<byte[], byte[]> consumer,
            List<TopicPartition> partitions,
            java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> taker) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
            consumer.poll(Duration.ofMillis(200)).forEach(taker);
        }
    }

    private static List<TopicPartition> partitionsOf(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
    }

    /** Waits until all records that are in the topics now are visible to a read_committed consumer. */
    private static boolean areTransactionsOver(Admin admin, KafkaConsumer<byte[], byte[]> consumer, Set<String> topics) throws Exception {
        List<TopicPartition> partitions = topics.stream().flatMap(topic -> partitionsOf(consumer, topic).stream()).toList();
        Map<TopicPartition, OffsetSpec> latest = partitions.stream().collect(Collectors.toMap(at -> at, at -> OffsetSpec.latest()));
        var ends = admin.listOffsets(latest, new ListOffsetsOptions(IsolationLevel.READ_UNCOMMITTED)).all().get();
        return eventually(() -> {
            Map<TopicPartition, Long> stable = consumer.endOffsets(partitions);
            return partitions.stream().allMatch(partition -> stable.get(partition) >= ends.get(partition).offset());
        });
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static boolean eventually(Condition condition) throws Exception {
        long until = System.nanoTime() + PATIENCE.toNanos();
        while (System.nanoTime() < until) {
            try {
                if (condition.holds()) {
                    return true;
                }
            } catch (ExecutionException | org.apache.kafka.common.KafkaException e) {
                // Expected until the condition holds.
            }
            Thread.sleep(20);
        }
        return false;
    }

    static Admin admin(String brokers) {
        return Admin.create(Map.of("bootstrap.servers", brokers));
    }

    static KafkaConsumer<byte[], byte[]> consumer(String brokers) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", brokers,
                "allow.auto.create.topics", "false",
                "isolation.level", "read_committed",
                "fetch.max.wait.ms", "20",
                "max.poll.records", "5000");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static KafkaProducer<byte[], byte[]> producer(String brokers) {
        Map<String, Object> settings =
                Map.of("bootstrap.servers", brokers, "acks", "all", "linger.ms", "5", "batch.size", "100000", "max.request.size", "2000000");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }
}
