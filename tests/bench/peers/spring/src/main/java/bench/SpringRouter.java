package bench;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.stream.config.ProducerMessageHandlerCustomizer;
import org.springframework.cloud.stream.function.StreamBridge;
import org.springframework.context.annotation.Bean;
import org.springframework.integration.kafka.outbound.KafkaProducerMessageHandler;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.support.KafkaHeaders;
import org.springframework.kafka.support.ProducerListener;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;

/**
 * A router written with Spring Cloud Stream, which the bench suite compares with ours: a batch consumer, and StreamBridge to both outputs.
 * At least once: each batch is flushed, and fails if a record could not be sent, before its offsets are committed. Its settings are in
 * application.properties.
 */
@SpringBootApplication
public class SpringRouter {
    private static final byte[] EVEN = "Even timestamp: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] ODD = "Odd timestamp:".getBytes(StandardCharsets.US_ASCII);

    private final Map<String, KafkaTemplate<?, ?>> templates = new ConcurrentHashMap<>();
    private final AtomicReference<Exception> failure = new AtomicReference<>();

    public static void main(String[] args) {
        SpringApplication.run(SpringRouter.class, args);
    }

    @Bean
    Consumer<Message<List<byte[]>>> router(StreamBridge bridge) {
        return batch -> {
            List<byte[]> values = batch.getPayload();
            List<?> keys = batch.getHeaders().get(KafkaHeaders.RECEIVED_KEY, List.class);
            @SuppressWarnings("unchecked")
            List<Map<String, Object>> headers = batch.getHeaders().get(KafkaHeaders.BATCH_CONVERTED_HEADERS, List.class);
            for (int i = 0; i < values.size(); i++) {
                byte[] value = values.get(i);
                byte last = value.length == 0 ? 0 : value[value.length - 1];
                if (last < '0' || last > '9') {
                    continue;
                }
                boolean even = (last & 1) == 0;
                MessageBuilder<byte[]> message = MessageBuilder.withPayload(prefixed(even ? EVEN : ODD, value));
                if (headers != null && !headers.get(i).isEmpty()) {
                    message.copyHeaders(headers.get(i));
                }
                if (keys != null && keys.get(i) != null) {
                    message.setHeader(KafkaHeaders.KEY, keys.get(i));
                }
                bridge.send(even ? "even" : "odd", message.build());
            }
            templates.values().forEach(KafkaTemplate::flush);
            Exception failed = failure.getAndSet(null);
            if (failed != null) {
                throw new IllegalStateException("a record of the batch was not sent", failed);
            }
        };
    }

    /** Collects the producers of the bindings, which are flushed and report failed records. */
    @Bean
    ProducerMessageHandlerCustomizer<KafkaProducerMessageHandler<Object, Object>> producers() {
        return (handler, destination) -> templates.put(destination, watched(handler.getKafkaTemplate()));
    }

    private <K, V> KafkaTemplate<K, V> watched(KafkaTemplate<K, V> template) {
        template.setProducerListener(new ProducerListener<>() {
            @Override
            public void onError(ProducerRecord<K, V> record, RecordMetadata metadata, Exception exception) {
                failure.compareAndSet(null, exception);
            }
        });
        return template;
    }

    private static byte[] prefixed(byte[] prefix, byte[] value) {
        byte[] whole = new byte[prefix.length + value.length];
        System.arraycopy(prefix, 0, whole, 0, prefix.length);
        System.arraycopy(value, 0, whole, prefix.length, value.length);
        return whole;
    }
}
