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
 * Checks the recipe's stream: the records of the topics, read with Apache Kafka's own client, and the lines that the log sinks printed. A
 * failed check ends with exit code 1.
 */
public final class Stream {
    private static final List<String> HEADERS =
            List.of("contentType=application/json", "spring_json_header_types={\"contentType\":\"java.lang.String\"}");
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("MM/dd/yy HH:mm:ss");
    private static final String EVEN = "Even timestamp: ";
    private static final String ODD = "Odd timestamp:";

    static boolean run(String[] args) throws Exception {
        return switch (args[0]) {
            case "clean" -> clean(args[1], args[2]);
            case "check" -> check(args);
            case "self-test" -> selfTest();
            default -> throw new IllegalArgumentException(args[0]);
        };
    }

    /** Deletes all topics and the group, for the next stream with the same names. */
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
     * Arguments: brokers; group; whether the log sinks start at the first record, "all", or at the "latest"; number of restarts of the time
     * source; duration of the last undeployment in seconds; log files of the log sinks.
     */
    private static boolean check(String[] args) throws Exception {
        String brokers = args[1];
        Observed observed = new Observed();
        observed.time.addAll(read(brokers, "timeDest"));
        observed.even.addAll(read(brokers, "evenDest"));
        observed.odd.addAll(read(brokers, "oddDest"));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            Map<TopicPartition, OffsetAndMetadata> offsets =
                    admin.listConsumerGroupOffsets(args[2]).partitionsToOffsetAndMetadata().get();
            offsets.forEach((partition, offset) -> {
                if (partition.topic().equals("timeDest")) {
                    observed.committed.put(partition.partition(), offset.offset());
                }
            });
        }
        observed.fromStart = args[3].equals("all");
        observed.restarts = Integer.parseInt(args[4]);
        observed.tail = Integer.parseInt(args[5]);
        for (String file : Arrays.copyOfRange(args, 6, args.length)) {
            (file.contains(".evenLogger-") ? observed.evenLines : observed.oddLines).addAll(Files.readAllLines(Path.of(file)));
        }
        List<String> faults = observed.faults();
        observed.time.stream()
                .collect(Collectors.groupingBy(Entry::headers, Collectors.counting()))
                .forEach((headers, count) -> System.out.println(count + " timestamps with the headers " + headers));
        System.out.println(observed.report());
        faults.forEach(fault -> System.out.println("WRONG: " + fault));
        return faults.isEmpty();
    }

    private record Entry(int partition, long offset, long timestamp, String key, String value, List<String> headers) {
        /** The parts of the record that the router keeps, with another value. */
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

    private static final class Observed {
        final List<Entry> time = new ArrayList<>();
        final List<Entry> even = new ArrayList<>();
        final List<Entry> odd = new ArrayList<>();
        /** Committed offset of each partition of the time topic. Records above it arrived after the router's end. */
        final Map<Integer, Long> committed = new HashMap<>();
        final List<String> evenLines = new ArrayList<>();
        final List<String> oddLines = new ArrayList<>();
        /** True if the log sinks start at the first record; an anonymous consumer starts at the latest. */
        boolean fromStart;
        int restarts;
        /** Seconds at the end whose records need not be printed, because the applications end one after the other. */
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

        /** Checks the time source. Its fixed delay of a second drifts, so a second can be skipped, but never two in a row. */
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

        /**
         * Checks that each timestamp that the router has read is exactly once in one of its outputs, unchanged but for the value's prefix.
         */
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
            int duplicated = routed(faults, "evenDest", evenDue, even) + routed(faults, "oddDest", oddDue, odd);
            summary.append(String.format("; %d even, %d odd, %d duplicated, %d after the router's end",
                    even.size(), odd.size(), duplicated, late));
            if (late > tail) {
                faults.add(late + " timestamps after the router's end");
            }
        }

        private static int routed(List<String> faults, String topic, Map<List<Object>, Integer> due, List<Entry> found) {
            Map<List<Object>, Integer> open = new HashMap<>(due);
            int duplicated = 0;
            for (Entry entry : found) {
                List<Object> content = entry.content(entry.value);
                if (!due.containsKey(content)) {
                    faults.add("unexpected in " + topic + ": " + entry);
                } else if (open.merge(content, -1, Integer::sum) < 0) {
                    duplicated++;
                    faults.add("duplicated in " + topic + ": " + entry);
                }
            }
            open.forEach((content, count) -> {
                if (count > 0) {
                    faults.add("missing in " + topic + ": " + content);
                }
            });
            return duplicated;
        }

        /** Checks that a log sink has printed its topic in order, from the first record or from the one at which it started. */
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

    /** Plants faults, each of which the checks must find: a check that cannot fail proves nothing. */
    private static boolean selfTest() {
        boolean good = planted("nothing", observed -> {}, "");
        good &= planted("a skipped second", observed -> skip(observed, 1), "");
        good &= planted("two skipped seconds", observed -> skip(observed, 2), "3 s from");
        good &= planted("a time twice", observed -> skip(observed, -1), "0 s from");
        good &= planted("too little time", observed -> observed.time.subList(50, 62).clear(), "only 49 s of time");
        good &= planted("other headers", observed -> observed.time.set(7, with(observed.time.get(7), List.of("a=b"))), "headers [a=b]");
        good &= planted("a loss", observed -> observed.even.remove(7), "missing in evenDest");
        good &= planted("a double", observed -> observed.odd.add(observed.odd.get(7)), "duplicated in oddDest");
        good &= planted("the wrong topic", observed -> observed.odd.add(observed.even.remove(7)), "unexpected in oddDest");
        good &= planted("lost headers", observed -> observed.even.set(7, with(observed.even.get(7), List.of())), "unexpected in evenDest");
        good &= planted("routed, not committed", observed -> observed.committed.put(0, 61L), "unexpected in oddDest");
        good &= planted("a long tail", observed -> observed.committed.put(0, 50L), "12 timestamps after the router's end");
        good &= planted("a line of the other logger", observed -> observed.evenLines.add(7, observed.oddLines.get(7)), "even logger: INFO: Odd");
        good &= planted("a missing line", observed -> observed.evenLines.remove(7), "even logger: line 8 should not be");
        good &= planted("a missing first line", observed -> observed.evenLines.remove(0), "even logger: line 1 should not be");
        good &= planted("a duplicated line", observed -> observed.oddLines.add(7, observed.oddLines.get(7)), "odd logger: line 9 should not be");
        good &= planted("last lines", observed -> observed.oddLines.subList(29, 31).clear(), "");
        good &= planted("too many last lines", observed -> observed.oddLines.subList(20, 31).clear(), "the last 11 records are not printed");
        good &= planted("no lines", observed -> observed.oddLines.clear(), "the last 31 records are not printed");
        return good;
    }

    private static boolean planted(String name, java.util.function.Consumer<Observed> fault, String expected) {
        Observed observed = new Observed();
        observed.fromStart = true;
        observed.tail = 5;
        fill(observed, i -> i);
        fault.accept(observed);
        List<String> faults = observed.faults();
        boolean good = expected.isEmpty() ? faults.isEmpty() : faults.stream().anyMatch(found -> found.contains(expected));
        System.out.println((good ? "found: " : "NOT FOUND: ") + name + ": " + faults);
        return good;
    }

    /** Leaves out seconds in the middle. */
    private static void skip(Observed observed, int seconds) {
        for (List<?> list : List.of(observed.time, observed.even, observed.odd, observed.evenLines, observed.oddLines)) {
            list.clear();
        }
        fill(observed, i -> i < 33 ? i : i + seconds);
    }

    private static void fill(Observed observed, java.util.function.IntUnaryOperator seconds) {
        for (int i = 0; i < 62; i++) {
            String value = LocalDateTime.of(2026, 11, 23, 17, 56, 0).plusSeconds(seconds.applyAsInt(i)).format(TIME);
            Entry entry = new Entry(0, i, i, null, value, HEADERS);
            observed.time.add(entry);
            String routed = (entry.isEven() ? EVEN : ODD) + value;
            (entry.isEven() ? observed.even : observed.odd).add(new Entry(0, i, i, null, routed, HEADERS));
            (entry.isEven() ? observed.evenLines : observed.oddLines).add("INFO: " + routed);
        }
        observed.committed.put(0, 62L);
    }

    private static Entry with(Entry entry, List<String> headers) {
        return new Entry(entry.partition, entry.offset, entry.timestamp, entry.key, entry.value, headers);
    }

    /** Returns all current records of a topic, those of a partition in order. */
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
