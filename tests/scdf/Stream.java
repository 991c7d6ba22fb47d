import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The judge of the recipe's stream: what the topics hold and what the loggers printed, read with Apache Kafka's own client. A judgement
 * that is not as expected ends with exit code 1.
 */
public final class Stream {
    private static final List<String> HEADERS =
            List.of("contentType=application/json", "spring_json_header_types={\"contentType\":\"java.lang.String\"}");
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("MM/dd/yy HH:mm:ss");
    private static final String EVEN = "Even timestamp: ";
    private static final String ODD = "Odd timestamp:";

    public static void main(String[] args) throws Exception {
        boolean good = switch (args[0]) {
            case "ports" -> ports(Integer.parseInt(args[1]));
            case "clean" -> clean(args[1], args[2]);
            case "check" -> check(args);
            case "self-test" -> selfTest();
            default -> throw new IllegalArgumentException(args[0]);
        };
        System.exit(good ? 0 : 1);
    }

    /**
     * The first of so many ports in a row that are free now. They are below those that the system hands out by itself, because the deployer
     * takes its own out of them much later.
     */
    private static boolean ports(int count) throws Exception {
        String handedOut = Files.readString(Path.of("/proc/sys/net/ipv4/ip_local_port_range"));
        int end = Math.max(20_000, Integer.parseInt(handedOut.trim().split("\\s+")[0]));
        int first;
        do {
            first = new Random().nextInt(10_000, end - count);
        } while (!areFree(first, count));
        System.out.println(first);
        return true;
    }

    private static boolean areFree(int first, int count) {
        for (int port = first; port < first + count; port++) {
            try {
                new ServerSocket(port).close();
            } catch (java.io.IOException e) {
                return false;
            }
        }
        return true;
    }

    /** Deletes all topics and the group, for the next stream of the same names. */
    private static boolean clean(String brokers, String group) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            admin.deleteConsumerGroups(List.of(group)).all().get();
            admin.deleteTopics(admin.listTopics().names().get()).all().get();
            while (!admin.listTopics().names().get().isEmpty()) {
                Thread.sleep(50);
            }
        }
        return true;
    }

    /**
     * brokers, group, whether the loggers print "all" or from the "latest" record on, how often the time source was started again, how many
     * seconds the last undeployment took, the loggers' log files.
     */
    private static boolean check(String[] args) throws Exception {
        String brokers = args[1];
        Seen seen = new Seen();
        seen.time.addAll(read(brokers, "timeDest"));
        seen.even.addAll(read(brokers, "evenDest"));
        seen.odd.addAll(read(brokers, "oddDest"));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            Map<TopicPartition, OffsetAndMetadata> offsets =
                    admin.listConsumerGroupOffsets(args[2]).partitionsToOffsetAndMetadata().get();
            offsets.forEach((partition, offset) -> {
                if (partition.topic().equals("timeDest")) {
                    seen.committed.put(partition.partition(), offset.offset());
                }
            });
        }
        seen.fromStart = args[3].equals("all");
        seen.restarts = Integer.parseInt(args[4]);
        seen.tail = Integer.parseInt(args[5]);
        for (String file : Arrays.copyOfRange(args, 6, args.length)) {
            (file.contains(".evenLogger-") ? seen.evenLines : seen.oddLines).addAll(Files.readAllLines(Path.of(file)));
        }
        List<String> faults = seen.faults();
        seen.time.stream()
                .collect(Collectors.groupingBy(Entry::headers, Collectors.counting()))
                .forEach((headers, count) -> System.out.println(count + " timestamps with the headers " + headers));
        System.out.println(seen.report());
        faults.forEach(fault -> System.out.println("WRONG: " + fault));
        return faults.isEmpty();
    }

    private record Entry(int partition, long offset, long timestamp, String key, String value, List<String> headers) {
        /** Everything that the router keeps, with another value. */
        List<Object> content(String value) {
            return Arrays.asList(timestamp, key, value, headers);
        }

        LocalDateTime time() {
            return LocalDateTime.parse(value, TIME);
        }

        boolean isEven() {
            return (value.charAt(value.length() - 1) - '0') % 2 == 0;
        }
    }

    private static final class Seen {
        final List<Entry> time = new ArrayList<>();
        final List<Entry> even = new ArrayList<>();
        final List<Entry> odd = new ArrayList<>();
        /** Up to where the router has read each partition of the time. What is behind came after its end. */
        final Map<Integer, Long> committed = new HashMap<>();
        final List<String> evenLines = new ArrayList<>();
        final List<String> oddLines = new ArrayList<>();
        /** Whether the loggers print their topics from the first record on; an anonymous consumer begins with the latest one. */
        boolean fromStart;
        int restarts;
        /** The apps end one after the other: the last records, of this many seconds, need not have been printed. */
        int tail;

        private final StringBuilder summary = new StringBuilder();

        List<String> faults() {
            List<String> faults = new ArrayList<>();
            time.sort(Comparator.comparingLong(Entry::timestamp));
            source(faults);
            router(faults);
            logger(faults, "even", even, evenLines, Pattern.compile("Even timestamp: \\d\\d/\\d\\d/\\d\\d \\d\\d:\\d\\d:\\d[02468]$"));
            logger(faults, "odd", odd, oddLines, Pattern.compile("Odd timestamp:\\d\\d/\\d\\d/\\d\\d \\d\\d:\\d\\d:\\d[13579]$"));
            return faults;
        }

        String report() {
            return summary.toString();
        }

        /** A fixed delay of a second drifts, so that a second is skipped now and then, but never two. */
        private void source(List<String> faults) {
            int skips = 0;
            int breaks = 0;
            for (int i = 0; i < time.size(); i++) {
                if (!time.get(i).headers.equals(HEADERS)) {
                    faults.add("headers " + time.get(i).headers + " of " + time.get(i));
                }
                if (i == 0) {
                    continue;
                }
                long seconds = Duration.between(time.get(i - 1).time(), time.get(i).time()).toSeconds();
                if (seconds == 2) {
                    skips++;
                } else if (seconds > 2 && breaks < restarts) {
                    breaks++;
                } else if (seconds != 1) {
                    faults.add(seconds + " s from " + time.get(i - 1) + " to " + time.get(i));
                }
            }
            long seconds = time.isEmpty() ? 0 : Duration.between(time.get(0).time(), time.get(time.size() - 1).time()).toSeconds();
            if (seconds < 60) {
                faults.add("only " + seconds + " s of time");
            }
            summary.append(time.size() + " timestamps in " + seconds + " s, " + skips + " seconds skipped");
        }

        /** Each timestamp that the router has read is in one of its topics, as it was but for the value's prefix, and once. */
        private void router(List<String> faults) {
            Map<List<Object>, Integer> evenDue = new HashMap<>();
            Map<List<Object>, Integer> oddDue = new HashMap<>();
            int late = 0;
            for (Entry entry : time) {
                if (entry.offset >= committed.getOrDefault(entry.partition, 0L)) {
                    late++;
                } else if (entry.isEven()) {
                    evenDue.merge(entry.content(EVEN + entry.value), 1, Integer::sum);
                } else {
                    oddDue.merge(entry.content(ODD + entry.value), 1, Integer::sum);
                }
            }
            int doubled = routed(faults, "evenDest", evenDue, even) + routed(faults, "oddDest", oddDue, odd);
            summary.append(String.format("; %d even, %d odd, %d doubled, %d after the router's end",
                    even.size(), odd.size(), doubled, late));
            if (late > tail) {
                faults.add(late + " timestamps after the router's end");
            }
        }

        private static int routed(List<String> faults, String topic, Map<List<Object>, Integer> due, List<Entry> found) {
            Map<List<Object>, Integer> open = new HashMap<>(due);
            int doubled = 0;
            for (Entry entry : found) {
                List<Object> content = entry.content(entry.value);
                if (!due.containsKey(content)) {
                    faults.add("unexpected in " + topic + ": " + entry);
                } else if (open.merge(content, -1, Integer::sum) < 0) {
                    doubled++;
                    faults.add("doubled in " + topic + ": " + entry);
                }
            }
            open.forEach((content, count) -> {
                if (count > 0) {
                    faults.add("missing in " + topic + ": " + content);
                }
            });
            return doubled;
        }

        /** The logger has printed its topic in order, from its beginning on, or from the record that it began with. */
        private void logger(List<String> faults, String name, List<Entry> topic, List<String> lines, Pattern form) {
            List<String> printed = new ArrayList<>();
            for (String line : lines) {
                Matcher matcher = form.matcher(line);
                if (matcher.find()) {
                    printed.add(matcher.group());
                } else if (line.contains("timestamp:")) {
                    faults.add(name + " logger: " + line);
                }
            }
            List<String> values = topic.stream().map(Entry::value).toList();
            int first = printed.isEmpty() || fromStart ? 0 : values.indexOf(printed.get(0));
            int common = 0;
            while (first >= 0 && common < printed.size() && first + common < values.size()
                    && printed.get(common).equals(values.get(first + common))) {
                common++;
            }
            if (common < printed.size()) {
                faults.add(name + " logger: line " + (common + 1) + " should not be \"" + printed.get(common) + "\"");
            } else if (printed.isEmpty() || values.size() - first - common > tail) {
                faults.add(name + " logger: the last " + (values.size() - first - common) + " records are not printed");
            }
            summary.append(String.format("; %s logger: %d lines, %d records before, %d after", name, printed.size(), first,
                    values.size() - first - common));
        }
    }

    /** A comparison that cannot fail proves nothing: faults are planted, and each must be seen. */
    private static boolean selfTest() {
        boolean good = planted("nothing", seen -> {}, "");
        good &= planted("a skipped second", seen -> skip(seen, 1), "");
        good &= planted("two skipped seconds", seen -> skip(seen, 2), "3 s from");
        good &= planted("a time twice", seen -> skip(seen, -1), "0 s from");
        good &= planted("too little time", seen -> seen.time.subList(50, 62).clear(), "only 49 s of time");
        good &= planted("other headers", seen -> seen.time.set(7, with(seen.time.get(7), List.of("a=b"))), "headers [a=b]");
        good &= planted("a loss", seen -> seen.even.remove(7), "missing in evenDest");
        good &= planted("a double", seen -> seen.odd.add(seen.odd.get(7)), "doubled in oddDest");
        good &= planted("the wrong topic", seen -> seen.odd.add(seen.even.remove(7)), "unexpected in oddDest");
        good &= planted("lost headers", seen -> seen.even.set(7, with(seen.even.get(7), List.of())), "unexpected in evenDest");
        good &= planted("routed, not committed", seen -> seen.committed.put(0, 61L), "unexpected in oddDest");
        good &= planted("a long tail", seen -> seen.committed.put(0, 50L), "12 timestamps after the router's end");
        good &= planted("a line of the other logger", seen -> seen.evenLines.add(7, seen.oddLines.get(7)), "even logger: INFO: Odd");
        good &= planted("a missing line", seen -> seen.evenLines.remove(7), "even logger: line 8 should not be");
        good &= planted("a missing first line", seen -> seen.evenLines.remove(0), "even logger: line 1 should not be");
        good &= planted("a doubled line", seen -> seen.oddLines.add(7, seen.oddLines.get(7)), "odd logger: line 9 should not be");
        good &= planted("last lines", seen -> seen.oddLines.subList(29, 31).clear(), "");
        good &= planted("too many last lines", seen -> seen.oddLines.subList(20, 31).clear(), "the last 11 records are not printed");
        good &= planted("no lines", seen -> seen.oddLines.clear(), "the last 31 records are not printed");
        return good;
    }

    private static boolean planted(String name, java.util.function.Consumer<Seen> fault, String expected) {
        Seen seen = new Seen();
        seen.fromStart = true;
        seen.tail = 5;
        fill(seen, i -> i);
        fault.accept(seen);
        List<String> faults = seen.faults();
        boolean good = expected.isEmpty() ? faults.isEmpty() : faults.stream().anyMatch(found -> found.contains(expected));
        System.out.println((good ? "seen: " : "NOT SEEN: ") + name + ": " + faults);
        return good;
    }

    /** So many seconds are left out in the middle. */
    private static void skip(Seen seen, int seconds) {
        for (List<?> list : List.of(seen.time, seen.even, seen.odd, seen.evenLines, seen.oddLines)) {
            list.clear();
        }
        fill(seen, i -> i < 33 ? i : i + seconds);
    }

    private static void fill(Seen seen, java.util.function.IntUnaryOperator seconds) {
        for (int i = 0; i < 62; i++) {
            String value = LocalDateTime.of(2026, 11, 23, 17, 56, 0).plusSeconds(seconds.applyAsInt(i)).format(TIME);
            Entry entry = new Entry(0, i, i, null, value, HEADERS);
            seen.time.add(entry);
            String routed = (entry.isEven() ? EVEN : ODD) + value;
            (entry.isEven() ? seen.even : seen.odd).add(new Entry(0, i, i, null, routed, HEADERS));
            (entry.isEven() ? seen.evenLines : seen.oddLines).add("INFO: " + routed);
        }
        seen.committed.put(0, 62L);
    }

    private static Entry with(Entry entry, List<String> headers) {
        return new Entry(entry.partition, entry.offset, entry.timestamp, entry.key, entry.value, headers);
    }

    /** All records of a topic that are there now, those of a partition in their order. */
    private static List<Entry> read(String brokers, String topic) {
        List<Entry> entries = new ArrayList<>();
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers, "allow.auto.create.topics", "false");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            List<TopicPartition> partitions =
                    consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    List<String> headers = new ArrayList<>();
                    for (Header header : record.headers()) {
                        headers.add(header.key() + "=" + text(header.value()));
                    }
                    headers.sort(null);
                    entries.add(new Entry(record.partition(), record.offset(), record.timestamp(), text(record.key()),
                            text(record.value()), headers));
                }
            }
        }
        return entries;
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }
}
