import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Branched;

/**
 * A router written with Kafka Streams, which the bench suite compares with ours: one split, two branches. At least once, its default.
 * Environment: BROKERS, GROUP, IN, EVEN, ODD, LINGER in milliseconds.
 */
public final class StreamsRouter {
    private static final byte[] EVEN = "Even timestamp: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] ODD = "Odd timestamp:".getBytes(StandardCharsets.US_ASCII);

    public static void main(String[] args) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream(env("IN"))
                .split()
                .branch((key, value) -> parity(value) == 0,
                        Branched.withConsumer(even -> even.mapValues(value -> prefixed(EVEN, value)).to(env("EVEN"))))
                .branch((key, value) -> parity(value) == 1,
                        Branched.withConsumer(odd -> odd.mapValues(value -> prefixed(ODD, value)).to(env("ODD"))));

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, env("GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("BROKERS"));
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/" + env("GROUP"));
        // Kafka's documentation advises this for throughput: larger batches and fetches, more records per poll, no metrics per record.
        settings.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), env("LINGER"));
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64L * 1024 * 1024);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 * 1024 * 1024);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
    }

    /** Returns 0 or 1; -1 if the value is neither even nor odd. */
    private static int parity(byte[] value) {
        if (value == null || value.length == 0) {
            return -1;
        }
        byte last = value[value.length - 1];
        return last < '0' || last > '9' ? -1 : last & 1;
    }

    private static byte[] prefixed(byte[] prefix, byte[] value) {
        byte[] whole = new byte[prefix.length + value.length];
        System.arraycopy(prefix, 0, whole, 0, prefix.length);
        System.arraycopy(value, 0, whole, prefix.length, value.length);
        return whole;
    }

    private static String env(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException("the variable " + name + " is missing");
        }
        return value;
    }
}
