import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Produces the numbered records, and changes and inspects a cluster as the faults need it. */
public final class Faults {
    static boolean run(String[] args) throws Exception {
        switch (args[0]) {
            case "feed" -> feed(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), Integer.parseInt(args[5]),
                    Integer.parseInt(args[6]), args.length > 7 ? Path.of(args[7]) : null);
            case "uncommitted" -> uncommitted(args[1], args[2], args[3], List.of(args).subList(4, args.length));
            case "members" -> members(args[1], args[2]);
            case "leader" -> leader(args[1], args[2]);
            case "move" -> move(args[1], List.of(args).subList(2, args.length));
            case "quota" -> quota(args[1], args[2], args[3].equals("none") ? null : Double.valueOf(args[3]));
            case "lag" -> lag(args[1], args[2], args[3]);
            case "brokers" -> brokers(args[1]);
            case "delete" -> delete(args[1], args[2], Long.parseLong(args[3]));
            case "deny" -> deny(args[1], args[2], args[3]);
            case "allow" -> allow(args[1], args[2]);
            case "empty" -> empty(args[1], List.of(args).subList(2, args.length));
            default -> throw new IllegalArgumentException(args[0]);
        }
        return true;
    }

    /**
     * Produces records numbered from `from` on, `rate` per second (0: full speed), one in `poison` (0: none) without a digit at its end.
     * Ends after `count` records, and not before the file `stop` exists, if one is given. Prints the next number.
     */
    private static void feed(String brokers, String topic, int from, int count, int rate, int poison, Path stop) throws Exception {
        // Idempotent, with timeouts that outlast every fault, so that each record is written exactly once.
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", brokers, "acks", "all", "linger.ms", "5", "batch.size", "100000", "delivery.timeout.ms", "1200000",
                "max.block.ms", "1200000", "request.timeout.ms", "10000");
        AtomicInteger written = new AtomicInteger();
        int number = from;
        long start = System.nanoTime();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            int partitions = producer.partitionsFor(topic).size();
            boolean stopped = stop == null;
            while (number - from < count || !stopped) {
                byte[] value = String.format("%010d 11/23/26 17:56:%02d%s", number, number % 60, poison > 0 && number % poison == 0 ? "x" : "")
                        .getBytes(StandardCharsets.UTF_8);
                byte[] key = number % 3 == 0 ? null : ("key" + number % 100).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, number % partitions, key, value), (metadata, error) -> {
                    if (error == null) {
                        written.incrementAndGet();
                    }
                });
                number++;
                if (number % 100 == 0) {
                    stopped = stopped || Files.exists(stop);
                    long wait = rate == 0 ? 0 : start + (number - from) * 1_000_000_000L / rate - System.nanoTime();
                    if (wait > 1_000_000) {
                        Thread.sleep(wait / 1_000_000);
                    }
                }
            }
        }
        if (written.get() != number - from) {
            throw new IllegalStateException("only " + written.get() + " of " + (number - from) + " written");
        }
        System.out.println(number);
    }

    /** Prints how many records in the outputs have no committed offset, which the group's next member routes again. */
    private static void uncommitted(String brokers, String group, String input, List<String> outputs) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            long committed = 0;
            for (var offset : admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet()) {
                committed += offset.getKey().topic().equals(input) ? offset.getValue().offset() : 0;
            }
            System.out.println(ends(admin, outputs).values().stream().mapToLong(Long::longValue).sum() - committed);
        }
    }

    /** Prints the number of input records without a committed offset. */
    private static void lag(String brokers, String group, String input) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            long lag = 0;
            for (var end : ends(admin, List.of(input)).entrySet()) {
                var offset = committed.get(end.getKey());
                lag += Math.max(0, end.getValue() - (offset == null ? 0 : offset.offset()));
            }
            System.out.println(lag);
        }
    }

    private static void brokers(String brokers) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            System.out.println(admin.describeCluster().nodes().get().size());
        }
    }

    private static void members(String brokers, String group) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            System.out.println(admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size());
        }
    }

    /** Prints the leader of the topic's first partition. */
    private static void leader(String brokers, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            System.out.println(partitions(admin, topic).get(0).leader().id());
        }
    }

    /** Replaces the leader of each partition by a broker that has no replica, and waits until another one leads. */
    private static void move(String brokers, List<String> topics) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            Map<TopicPartition, Optional<NewPartitionReassignment>> moves = new HashMap<>();
            Map<TopicPartition, Integer> before = new HashMap<>();
            for (String topic : topics) {
                for (TopicPartitionInfo info : partitions(admin, topic)) {
                    TopicPartition partition = new TopicPartition(topic, info.partition());
                    List<Integer> replicas = new ArrayList<>(info.replicas().stream().map(node -> node.id()).toList());
                    List<Integer> others = new ArrayList<>(admin.describeCluster().nodes().get().stream().map(node -> node.id()).toList());
                    others.removeAll(replicas);
                    Collections.sort(others);
                    replicas.remove((Integer) info.leader().id());
                    replicas.add(others.get(0));
                    moves.put(partition, Optional.of(new NewPartitionReassignment(replicas)));
                    before.put(partition, info.leader().id());
                }
            }
            admin.alterPartitionReassignments(moves).all().get();
            while (!admin.listPartitionReassignments().reassignments().get().isEmpty()) {
                Thread.sleep(100);
            }
            // The brokers report a decision of the controller with a delay.
            long until = System.nanoTime() + 60_000_000_000L;
            while (!isLedByOthers(admin, before)) {
                if (System.nanoTime() > until) {
                    throw new IllegalStateException("the leaders are still " + before);
                }
                Thread.sleep(100);
            }
            System.out.println(moves.size());
        }
    }

    private static boolean isLedByOthers(Admin admin, Map<TopicPartition, Integer> before) throws Exception {
        for (var leader : before.entrySet()) {
            for (TopicPartitionInfo info : partitions(admin, leader.getKey().topic())) {
                boolean same = info.leader() == null || info.leader().id() == leader.getValue();
                if (info.partition() == leader.getKey().partition() && same) {
                    return false;
                }
            }
        }
        return true;
    }

    /** Sets the producer quota of a client id in bytes per second, or removes it. */
    private static void quota(String brokers, String client, Double rate) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            var entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, client));
            var op = new ClientQuotaAlteration.Op("producer_byte_rate", rate);
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(op)))).all().get();
        }
    }

    /** Deletes the same number of records from each partition, all but `rest` of the shortest one, and prints how many. */
    private static void delete(String brokers, String topic, long rest) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            Map<TopicPartition, Long> ends = ends(admin, List.of(topic));
            long before = Collections.min(ends.values()) - rest;
            Map<TopicPartition, RecordsToDelete> all = new HashMap<>();
            ends.keySet().forEach(partition -> all.put(partition, RecordsToDelete.beforeOffset(before)));
            admin.deleteRecords(all).all().get();
            System.out.println(before * ends.size());
        }
    }

    /** Deletes all records of the topics, so that a long run needs no more disk space than a short one. */
    private static void empty(String brokers, List<String> topics) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            Map<TopicPartition, RecordsToDelete> all = new HashMap<>();
            ends(admin, topics).forEach((partition, end) -> all.put(partition, RecordsToDelete.beforeOffset(end)));
            admin.deleteRecords(all).all().get();
        }
    }

    /** Denies one operation on a topic to everybody. */
    private static void deny(String brokers, String topic, String operation) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            // A topic that has a list denies everything that is not in it.
            admin.createAcls(List.of(entry(topic, AclOperation.ALL, AclPermissionType.ALLOW),
                    entry(topic, AclOperation.valueOf(operation), AclPermissionType.DENY))).all().get();
        }
    }

    /** Removes the topic's list, so that everything is allowed. */
    private static void allow(String brokers, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            var pattern = new ResourcePatternFilter(ResourceType.TOPIC, topic, PatternType.LITERAL);
            admin.deleteAcls(List.of(new AclBindingFilter(pattern, AccessControlEntryFilter.ANY))).all().get();
        }
    }

    private static AclBinding entry(String topic, AclOperation operation, AclPermissionType permission) {
        return new AclBinding(new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL),
                new AccessControlEntry("User:*", "*", operation, permission));
    }

    private static Map<TopicPartition, Long> ends(Admin admin, List<String> topics) throws Exception {
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        for (String topic : topics) {
            partitions(admin, topic).forEach(info -> latest.put(new TopicPartition(topic, info.partition()), OffsetSpec.latest()));
        }
        Map<TopicPartition, Long> ends = new HashMap<>();
        admin.listOffsets(latest).all().get().forEach((partition, end) -> ends.put(partition, end.offset()));
        return ends;
    }

    private static List<TopicPartitionInfo> partitions(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
    }
}
