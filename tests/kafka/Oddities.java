import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.DefaultRecord;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes unusual but valid records for the scenario `differential`: batches of one record and of thousands, in each codec, interleaved
 * transactions of several producers, gaps of a compaction, values and headers of all sizes. The same seed writes the same records.
 */
final class Oddities {
    private final String brokers;
    private final String topic;
    private final Random random;
    private final List<String> codecs;
    private int written;

    private Oddities(String brokers, String topic, long seed, String codecs) {
        this.codecs = List.of(codecs.split(","));
        this.brokers = brokers;
        this.topic = topic;
        this.random = new Random(seed);
    }

    /** Writes all kinds except those of a compacted topic, into partition 0. */
    static boolean write(String brokers, String topic, long seed, String codecs) throws Exception {
        Oddities oddities = new Oddities(brokers, topic, seed, codecs);
        for (String codec : oddities.codecs) {
            oddities.singles(codec, 20);
            oddities.many(codec, 3000);
            oddities.large(codec);
        }
        oddities.unusualTimestamps();
        oddities.transactions(60);
        System.out.println("wrote " + oddities.written + " records of all kinds into " + topic + ", seed " + seed);
        return true;
    }

    /** Writes what a topic with an old message format accepts: no headers, no producer ids; in batches of one record and of hundreds. */
    static boolean plain(String brokers, String topic, String codecs) throws Exception {
        Oddities oddities = new Oddities(brokers, topic, 1, codecs);
        for (String codec : oddities.codecs) {
            for (String linger : List.of("0", "200")) {
                try (KafkaProducer<byte[], byte[]> producer =
                        oddities.producer(codec, Map.of("linger.ms", linger, "enable.idempotence", "false"))) {
                    for (int i = 0; i < 500; i++) {
                        byte[] value = ("value " + oddities.written).getBytes(StandardCharsets.UTF_8);
                        byte[] key = i % 3 == 0 ? null : ("key" + i).getBytes(StandardCharsets.UTF_8);
                        oddities.send(producer, new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, key, value));
                    }
                }
            }
        }
        return true;
    }

    /** Writes batches of one record. */
    private void singles(String codec, int count) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, Map.of("linger.ms", "0"))) {
            for (int i = 0; i < count; i++) {
                producer.send(record()).get();
            }
        }
    }

    /** Writes batches of as many records as fit. */
    private void many(String codec, int count) {
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, Map.of("linger.ms", "1000"))) {
            for (int i = 0; i < count; i++) {
                send(producer, record());
            }
        }
    }

    /** Writes values of 1 MB, incompressible and compressible, eight of the latter in one batch; and records with a hundred headers. */
    private void large(String codec) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, Map.of("linger.ms", "0"))) {
            for (String end : List.of("1", "x")) {
                byte[] noise = Judge.bytes(random, 1_000_000);
                noise[noise.length - 1] = (byte) end.charAt(0);
                producer.send(new ProducerRecord<>(topic, 0, time(), null, noise)).get();
                ProducerRecord<byte[], byte[]> headers =
                        new ProducerRecord<>(topic, 0, time(), new byte[0], end.getBytes(StandardCharsets.UTF_8));
                for (int i = 0; i < 100; i++) {
                    headers.headers().add(header());
                }
                producer.send(headers).get();
                written += 2;
            }
        }
        if (codec.equals("none")) {
            return;
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, Map.of("linger.ms", "1000"))) {
            for (int i = 0; i < 8; i++) {
                byte[] even = new byte[1_000_000];
                Arrays.fill(even, (byte) ('1' + i));
                send(producer, new ProducerRecord<>(topic, 0, time(), null, even));
            }
        }
    }

    /** Writes timestamps that Java's producer does not write: before 1970, none, and far apart within one batch. */
    private void unusualTimestamps() throws Exception {
        for (long[] times : new long[][] {{-1}, {0}, {0, 1_700_000_000_000L, 1, -1}, {1_700_000_000_000L, -5_000, -1}}) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            DataOutputStream out = new DataOutputStream(bytes);
            for (int i = 0; i < times.length; i++) {
                byte[] value = ("unusual " + written + i + "7").getBytes(StandardCharsets.UTF_8);
                DefaultRecord.writeTo(out, i, times[i] - times[0], null, ByteBuffer.wrap(value), new Header[0]);
            }
            int size = DefaultRecordBatch.RECORD_BATCH_OVERHEAD + bytes.size();
            ByteBuffer batch = ByteBuffer.allocate(size);
            batch.position(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
            batch.put(bytes.toByteArray());
            batch.position(0);
            DefaultRecordBatch.writeHeader(
                    batch, 0, times.length - 1, size, RecordBatch.MAGIC_VALUE_V2, CompressionType.NONE, TimestampType.CREATE_TIME, times[0],
                    Arrays.stream(times).max().getAsLong(), RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH,
                    RecordBatch.NO_SEQUENCE, false, false, false, RecordBatch.NO_PARTITION_LEADER_EPOCH, times.length);
            batch.position(0);
            Errors error = produce(MemoryRecords.readableRecords(batch));
            if (error == Errors.NONE) {
                written += times.length;
            } else {
                System.out.println("the broker refuses the timestamps " + Arrays.toString(times) + ": " + error);
            }
        }
    }

    /** Sends an encoded batch. */
    private Errors produce(MemoryRecords records) throws Exception {
        ProduceRequestData data = new ProduceRequestData().setAcks((short) -1).setTimeoutMs(10_000);
        data.topicData().add(new ProduceRequestData.TopicProduceData()
                .setName(topic)
                .setPartitionData(List.of(new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records))));
        RequestHeader header = new RequestHeader(ApiKeys.PRODUCE, (short) 7, "judge", 1);
        ByteBuffer request = new ProduceRequest(data, (short) 7).serializeWithHeader(header);
        String[] address = brokers.split(":");
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(request.remaining());
            out.write(request.array(), request.arrayOffset() + request.position(), request.remaining());
            DataInputStream in = new DataInputStream(socket.getInputStream());
            byte[] response = in.readNBytes(in.readInt());
            var answer = (ProduceResponse) AbstractResponse.parseResponse(ByteBuffer.wrap(response), header);
            return Errors.forCode(answer.data().responses().iterator().next().partitionResponses().get(0).errorCode());
        }
    }

    /**
     * Writes with three transactional producers, an idempotent one and one that is not, in random order, so that their batches interleave.
     * The last one is an aborted transaction, so that the last visible record is not the last one of the log.
     */
    private void transactions(int steps) throws Exception {
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            producers.add(producer(codec(i + 2), Map.of("linger.ms", "100", "transactional.id", topic + "-" + i)));
            producers.get(i).initTransactions();
        }
        producers.add(producer(codec(1), Map.of("linger.ms", "100")));
        producers.add(producer(codec(0), Map.of("linger.ms", "100", "enable.idempotence", "false")));
        boolean[] open = new boolean[3];
        for (int step = 0; step < steps; step++) {
            int chosen = random.nextInt(producers.size());
            KafkaProducer<byte[], byte[]> producer = producers.get(chosen);
            if (chosen < 3 && !open[chosen]) {
                producer.beginTransaction();
                open[chosen] = true;
            }
            for (int i = random.nextInt(4) == 0 ? 1 : random.nextInt(200); i >= 0; i--) {
                send(producer, record());
            }
            producer.flush();
            if (chosen < 3 && random.nextInt(3) == 0) {
                if (random.nextBoolean()) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                open[chosen] = false;
            }
        }
        for (int i = 0; i < 3; i++) {
            if (open[i] && i > 0) {
                producers.get(i).commitTransaction();
            } else if (open[i]) {
                producers.get(i).abortTransaction();
            }
        }
        producers.get(0).beginTransaction();
        send(producers.get(0), record());
        producers.get(0).flush();
        producers.get(0).abortTransaction();
        producers.forEach(KafkaProducer::close);
    }

    /**
     * Fills a compacted topic, partly in transactions, some of which are aborted, and waits until only the last record of each key is left:
     * a log full of gaps and of empty batches. Jumps in the records' timestamps end its segments.
     */
    static boolean compacted(String brokers, String topic, long seed, String codecs) throws Exception {
        Oddities oddities = new Oddities(brokers, topic, seed, codecs);
        // Ahead of the transaction markers, which have the broker's time: a segment is rolled by a timestamp that is later than that of its
        // first record.
        long time = System.currentTimeMillis() + 10_000;
        int keys = 60;
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Map<String, String> settings = i < 2 ? Map.of("transactional.id", topic + "-" + i) : Map.of();
            producers.add(oddities.producer(oddities.codec(i), settings));
        }
        producers.get(0).initTransactions();
        producers.get(1).initTransactions();
        for (int step = 0; step < 100; step++) {
            int chosen = oddities.random.nextInt(producers.size());
            KafkaProducer<byte[], byte[]> producer = producers.get(chosen);
            if (chosen < 2) {
                producer.beginTransaction();
            }
            for (int i = oddities.random.nextInt(60); i >= 0; i--) {
                byte[] key = ("key" + oddities.random.nextInt(keys)).getBytes(StandardCharsets.UTF_8);
                byte[] value = oddities.random.nextInt(10) == 0 ? null : oddities.value();
                oddities.send(producer, new ProducerRecord<>(topic, 0, time++, key, value));
            }
            producer.flush();
            if (chosen < 2 && oddities.random.nextInt(3) > 0) {
                producer.commitTransaction();
            } else if (chosen < 2) {
                producer.abortTransaction();
            }
            // Longer than segment.ms.
            time += 10_000;
        }
        producers.get(3).send(new ProducerRecord<>(topic, 0, time, "last".getBytes(StandardCharsets.UTF_8), new byte[] {'1'}));
        producers.forEach(KafkaProducer::close);
        Map<String, Integer> count = new HashMap<>();
        boolean clean = Judge.eventually(() -> {
            count.clear();
            try (KafkaConsumer<byte[], byte[]> consumer = Judge.consumer(brokers)) {
                Judge.read(consumer, List.of(new TopicPartition(topic, 0)),
                        record -> count.merge(new String(record.key(), StandardCharsets.UTF_8), 1, Integer::sum));
            }
            return count.values().stream().allMatch(n -> n == 1);
        });
        System.out.println(topic + " has " + count.size() + " of " + oddities.written + " records after its compaction, seed " + seed);
        return clean;
    }

    private String codec(int index) {
        return codecs.get(index % codecs.size());
    }

    private void send(KafkaProducer<byte[], byte[]> producer, ProducerRecord<byte[], byte[]> record) {
        written++;
        producer.send(record, (metadata, error) -> {
            if (error != null) {
                System.out.println("not written: " + error);
                System.exit(1);
            }
        });
    }

    private ProducerRecord<byte[], byte[]> record() {
        byte[] key = switch (random.nextInt(4)) {
            case 0 -> null;
            case 1 -> new byte[0];
            default -> Judge.bytes(random, random.nextInt(20) == 0 ? 2000 : 1 + random.nextInt(20));
        };
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, 0, time(), key, value());
        for (int h = Math.max(0, random.nextInt(6) - 2); h > 0; h--) {
            record.headers().add(header());
        }
        return record;
    }

    private byte[] value() {
        int length = switch (random.nextInt(20)) {
            case 0 -> -1;
            case 1 -> 0;
            case 2 -> 20_000;
            default -> 8 + random.nextInt(200);
        };
        if (length <= 0) {
            return length < 0 ? null : new byte[0];
        }
        byte[] value = Judge.bytes(random, length);
        if (random.nextBoolean()) {
            Arrays.fill(value, 8, length, (byte) 'a');
        }
        value[length - 1] = random.nextInt(10) == 0 ? (byte) 'a' : (byte) ('0' + random.nextInt(10));
        return value;
    }

    private Header header() {
        String name = List.of("", "a", "a", "b", "é", "x".repeat(300)).get(random.nextInt(6));
        byte[] value = switch (random.nextInt(4)) {
            case 0 -> null;
            case 1 -> new byte[0];
            default -> Judge.bytes(random, random.nextInt(200));
        };
        return new RecordHeader(name, value);
    }

    private long time() {
        return switch (random.nextInt(20)) {
            case 0 -> 0;
            case 1 -> 1 + random.nextInt(1000);
            default -> 1_600_000_000_000L + random.nextInt();
        };
    }

    private KafkaProducer<byte[], byte[]> producer(String codec, Map<String, String> more) {
        Map<String, Object> settings = new HashMap<>(Map.of(
                "bootstrap.servers", brokers, "acks", "all", "compression.type", codec, "linger.ms", "100",
                // Large enough for thousands of records, or some compressible megabytes, in one batch.
                "batch.size", codec.equals("none") ? "1000000" : "10000000", "max.request.size", "20000000", "buffer.memory", "100000000"));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }
}
