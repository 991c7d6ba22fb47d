import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of the router's group that uses Java's own consumer: it routes as the router does, and prints its assignments in the router's
 * words. And the check of such a group from outside, by the members' logs and by the broker's description.
 */
final class Member {
    /** Routes until SIGTERM. `settings` are Kafka's consumer settings, as name=value. */
    static boolean run(String brokers, String group, String input, String even, String odd, List<String> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", brokers, "group.id", group, "client.id", "java", "auto.offset.reset", "earliest",
                "enable.auto.commit", "false", "isolation.level", "read_committed"));
        settings.stream().map(text -> text.split("=", 2)).forEach(pair -> all.put(pair[0], pair[1]));
        CountDownLatch ended = new CountDownLatch(1);
        try (KafkaProducer<byte[], byte[]> producer = Judge.producer(brokers);
                KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                consumer.wakeup();
                try {
                    ended.await(20, TimeUnit.SECONDS);
                } catch (InterruptedException e) {
                    // The JVM ends in either case.
                }
            }));
            consumer.subscribe(List.of(input), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    say("partitions assigned: ", partitions);
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    commit(consumer);
                    say("partitions revoked: ", partitions);
                }
            });
            while (true) {
                var records = consumer.poll(Duration.ofMillis(200));
                records.forEach(record -> {
                    boolean isEven = record.value()[record.value().length - 1] % 2 == 0;
                    byte[] prefix = (isEven ? "Even timestamp: " : "Odd timestamp:").getBytes(StandardCharsets.UTF_8);
                    byte[] value = Judge.concat(prefix, record.value());
                    producer.send(new ProducerRecord<>(isEven ? even : odd, null, record.timestamp(), record.key(), value, record.headers()));
                });
                producer.flush();
                commit(consumer);
            }
        } catch (WakeupException e) {
            System.out.println("stopped");
        }
        ended.countDown();
        return true;
    }

    /** Commits records that have been routed. During a rebalance they are committed by the next call, or when partitions are revoked. */
    private static void commit(KafkaConsumer<byte[], byte[]> consumer) {
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException | CommitFailedException e) {
            System.out.println("not committed: " + e.getMessage());
        }
    }

    private static void say(String what, Collection<TopicPartition> partitions) {
        String names = partitions.stream().map(TopicPartition::toString).collect(Collectors.joining(", "));
        System.out.println(what + (names.isEmpty() ? "none" : names));
    }

    /**
     * Waits until the broker reports the group as stable and each partition of the topic is owned by exactly one member, according to the
     * members' logs and to the broker, with at most one partition more for one member than for another. `logs` are the logs of the current
     * members.
     */
    static boolean balanced(String brokers, String group, String topic, List<String> logs) throws Exception {
        AtomicReference<String> why = new AtomicReference<>("the broker does not answer");
        boolean balanced;
        try (Admin admin = Judge.admin(brokers)) {
            Set<String> partitions = new TreeSet<>();
            int count = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
            for (int i = 0; i < count; i++) {
                partitions.add(topic + "-" + i);
            }
            balanced = Judge.eventually(() -> {
                List<Set<String>> own = new ArrayList<>();
                for (String log : logs) {
                    own.add(owned(log));
                }
                var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                List<Set<String>> assigned = new ArrayList<>();
                described.members().forEach(member -> assigned.add(new TreeSet<>(
                        member.assignment().topicPartitions().stream().map(TopicPartition::toString).toList())));
                why.set("the members say " + own + ", the broker " + assigned + ", " + described.groupState());
                List<String> all = own.stream().flatMap(Set::stream).toList();
                int most = own.stream().mapToInt(Set::size).max().orElse(0);
                int least = own.stream().mapToInt(Set::size).min().orElse(0);
                return described.groupState() == GroupState.STABLE
                        && all.size() == partitions.size()
                        && partitions.equals(new TreeSet<>(all))
                        && most - least <= 1
                        && assigned.size() == own.size()
                        && new HashSet<>(assigned).equals(new HashSet<>(own));
            });
        }
        System.out.println((balanced ? "balanced: " : "not balanced: ") + why.get().replace(topic + "-", ""));
        return balanced;
    }

    /** Partitions that a member owns, according to its log. */
    private static Set<String> owned(String log) throws Exception {
        Set<String> owned = new TreeSet<>();
        for (String line : Files.readAllLines(Path.of(log))) {
            for (String what : List.of("partitions assigned: ", "partitions revoked: ")) {
                int at = line.indexOf(what);
                if (at >= 0 && !line.endsWith(": none")) {
                    boolean assigned = what.contains("assigned");
                    for (String partition : line.substring(at + what.length()).split(", ")) {
                        if (assigned ? !owned.add(partition) : !owned.remove(partition)) {
                            throw new IllegalStateException(log + ": assigned twice, or revoked though it was not assigned: " + line);
                        }
                    }
                }
            }
        }
        return owned;
    }
}
