"""A minimal Kafka client for measure.py, with the standard library only: topics, offsets, a fast producer of prepared batches, and a reader
of samples. One broker, no compression; every error raises WireError with the topic's name."""

import random
import socket
import struct
import time

# The default `batch.size` of producers: preloaded batches are not larger than a producer's.
BATCH_SIZE = 16384
# Number of prepared batches, which are sent repeatedly: enough that branch prediction cannot learn the order of the records.
PREPARED = 64
BASE_TIMESTAMP = 1_700_000_000_000
# Requests in flight.
WINDOW = 32

PREFIXES = {"even": b"Even timestamp: ", "odd": b"Odd timestamp:"}


class WireError(Exception):
    pass


class Connection:
    """A connection. Requests have versions that Kafka 4 still supports and that need no tagged fields."""

    def __init__(self, broker):
        host, port = broker.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, api, version, body):
        head = struct.pack(">hhih", api, version, 0, 5) + b"bench"
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)

    def receive(self):
        (length,) = struct.unpack(">i", self._exactly(4))
        return Reader(self._exactly(length), 4)

    def ask(self, api, version, body):
        self.send(api, version, body)
        return self.receive()

    def _exactly(self, length):
        parts = []
        while length > 0:
            part = self.socket.recv(min(length, 1 << 20))
            if not part:
                raise WireError("the broker has closed the connection")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    # --- topics

    def create(self, topics):
        """CreateTopics: names and numbers of partitions; returns when they have leaders."""
        body = struct.pack(">i", len(topics))
        for name, partitions in topics.items():
            body += string(name) + struct.pack(">ihi", partitions, 1, 0)
            # Deletes files at once instead of after a minute, because runs follow each other.
            body += struct.pack(">i", 1) + string("file.delete.delay.ms") + string("100")
        answer = self.ask(19, 2, body + struct.pack(">i?", 30_000, False))
        answer.i32()
        for _ in range(answer.i32()):
            name, error, _ = answer.string(), answer.i16(), answer.string()
            check(error, f"creating {name}")
        # The metadata can name leaders before these know that they lead, so the leaders themselves are asked.
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.ends(topics)
            except WireError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    @staticmethod
    def _topics(answer):
        for _ in range(answer.i32()):
            answer.i32(), answer.string(), answer.i32(), answer.string()
        answer.i32()
        topics = []
        for _ in range(answer.i32()):
            error, name = answer.i16(), answer.string()
            answer.take(1)
            partitions = []
            for _ in range(answer.i32()):
                partitions.append(answer.i16())
                answer.i32(), answer.i32()
                answer.take(4 * answer.i32())
                answer.take(4 * answer.i32())
            topics.append((name, error, partitions))
        return topics

    def names(self):
        """Returns all topics that are not internal."""
        return [name for name, _, _ in self._topics(self.ask(3, 1, struct.pack(">i", -1))) if not name.startswith("__")]

    def delete(self, names):
        """DeleteTopics; a topic that no longer exists is not an error."""
        if not names:
            return
        body = struct.pack(">i", len(names)) + b"".join(map(string, names)) + struct.pack(">i", 30_000)
        answer = self.ask(20, 1, body)
        answer.i32()
        for _ in range(answer.i32()):
            name, error = answer.string(), answer.i16()
            if error != 3:
                check(error, f"deleting {name}")

    def ends(self, topics):
        """ListOffsets: for each topic the sum of its partitions' end offsets."""
        body = struct.pack(">ii", -1, len(topics))
        for name, partitions in topics.items():
            body += string(name) + struct.pack(">i", partitions)
            body += b"".join(struct.pack(">iq", partition, -1) for partition in range(partitions))
        answer = self.ask(2, 1, body)
        sums = {}
        for _ in range(answer.i32()):
            name = answer.string()
            sums[name] = 0
            for _ in range(answer.i32()):
                _, error, _, offset = answer.i32(), answer.i16(), answer.i64(), answer.i64()
                check(error, f"offsets of {name}")
                sums[name] += offset
        return sums

    # --- records

    def produce(self, topic, batches):
        """Produce: sends one batch to each of the partitions without waiting for the acknowledgement."""
        parts = [struct.pack(">hhii", -1, -1, 30_000, 1), string(topic), struct.pack(">i", len(batches))]
        for partition, batch in batches.items():
            parts += [struct.pack(">ii", partition, len(batch)), batch]
        self.send(0, 3, b"".join(parts))

    def acknowledged(self):
        answer = self.receive()
        for _ in range(answer.i32()):
            name = answer.string()
            for _ in range(answer.i32()):
                _, error, _, _ = answer.i32(), answer.i16(), answer.i64(), answer.i64()
                check(error, f"producing to {name}")

    def preload(self, topic, partitions, load, batches_each):
        """Produces a number of the load's batches to each partition."""
        in_flight = 0
        for number in range(batches_each):
            batch = load.batches[number % PREPARED]
            self.produce(topic, dict.fromkeys(range(partitions), batch))
            in_flight += 1
            if in_flight == WINDOW:
                self.acknowledged()
                in_flight -= 1
        for _ in range(in_flight):
            self.acknowledged()

    def sample(self, topic, offset, count):
        """Fetch: returns up to `count` records of partition 0 from the offset on, as (offset, timestamp, key, value, headers)."""
        limit = 1 << 18
        body = struct.pack(">iiiib", -1, 500, 1, limit, 0) + struct.pack(">i", 1) + string(topic)
        answer = self.ask(1, 4, body + struct.pack(">iiqi", 1, 0, offset, limit))
        answer.i32(), answer.i32(), answer.string(), answer.i32(), answer.i32()
        check(answer.i16(), f"reading {topic}")
        answer.i64(), answer.i64()
        answer.take(12 * max(answer.i32(), 0))
        records = []
        for record in decode(answer.take(answer.i32())):
            if record[0] >= offset:
                records.append(record)
            if len(records) == count:
                break
        return records


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def i16(self):
        return struct.unpack(">h", self.take(2))[0]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def string(self):
        length = self.i16()
        return None if length < 0 else self.take(length).decode()

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return (value >> 1) ^ -(value & 1)
            shift += 7

    def bytes(self):
        length = self.varint()
        return None if length < 0 else self.take(length)


def string(text):
    return struct.pack(">h", len(text.encode())) + text.encode()


def check(error, what):
    if error:
        raise WireError(f"{what}: the broker answers with error {error}")


def decode(data):
    """Yields the records of a fetch response, whose last batch can be incomplete."""
    at = 0
    while at + 61 <= len(data):
        base, length = struct.unpack(">qi", data[at : at + 12])
        if at + 12 + length > len(data):
            return
        batch = Reader(data, at + 21)
        attributes = batch.i16()
        batch.take(4)
        timestamp = batch.i64()
        batch.take(8 + 8 + 2 + 4)
        if attributes & 7:
            raise WireError("an output is compressed: figures with and without compression are not comparable")
        for _ in range(batch.i32()):
            batch.varint(), batch.take(1)
            when, offset = timestamp + batch.varint(), base + batch.varint()
            key, value = batch.bytes(), batch.bytes()
            headers = [(batch.bytes(), batch.bytes()) for _ in range(batch.varint())]
            yield offset, when, key, value, headers
        at += 12 + length


# --- the preloaded records ----------------------------------------------------------------------------------------------------------------


def timestamps(numbers):
    """Values of 17 bytes in the form of the recipe's timestamps. Their last digits are random: with alternating ones, as of a clock, branch
    prediction would know the output of each record."""
    while True:
        second = numbers.randrange(86_400)
        yield b"11/23/26 %02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)


def kilobytes(numbers):
    """Values of 1,024 bytes."""
    filler = bytes(numbers.choice(b"abcdefghijklmnopqrstuvwxyz ") for _ in range(4096))
    for timestamp in timestamps(numbers):
        start = numbers.randrange(3000)
        yield filler[start : start + 1007] + timestamp


def headers(numbers):
    """Headers as a Spring application with tracing sends them."""
    return [
        (b"contentType", b"application/json"),
        (b"spring_json_header_types", b'{"contentType":"java.lang.String"}'),
        (b"traceparent", b"00-%032x-%016x-01" % (numbers.getrandbits(128), numbers.getrandbits(64))),
        (b"source", b"time"),
        (b"sequence", b"%08d" % numbers.randrange(10**8)),
    ]


class Load:
    """Prepared batches of one shape of records, and the expected outputs."""

    def __init__(self, shape):
        numbers = random.Random(20261123)
        values = {"17": timestamps, "1k": kilobytes, "headers": timestamps}[shape](numbers)
        self.records = []
        self.batches = []
        self.batch_records = None
        for _ in range(PREPARED):
            records, size = [], 61
            while True:
                key = b"key-%06d" % numbers.randrange(10**6) if shape == "headers" else None
                record = (key, next(values), headers(numbers) if shape == "headers" else [])
                size += len(encode(len(records), record))
                # All have the same number of records, so that records can be counted by batches.
                if size > BATCH_SIZE or len(records) == self.batch_records:
                    break
                records.append(record)
            self.batch_records = len(records) if self.batch_records is None else self.batch_records
            if len(records) != self.batch_records:
                raise WireError(f"the shape {shape} does not fill its batches evenly")
            self.records += records
            self.batches.append(batch_of(records))
        self.parities = {
            "even": [number for number, record in enumerate(self.records) if record[1][-1] % 2 == 0],
            "odd": [number for number, record in enumerate(self.records) if record[1][-1] % 2 == 1],
        }
        self.value_bytes = len(self.records[0][1])
        self.known = {(record[1], record[0], tuple(record[2])) for record in self.records}

    def expected(self, batches):
        """Returns the number of even and odd records in a number of batches."""
        whole, rest = divmod(batches, PREPARED)
        return {
            parity: whole * len(numbers) + sum(number < rest * self.batch_records for number in numbers)
            for parity, numbers in self.parities.items()
        }

    def differs(self, parity, record, keeps, in_order):
        """Returns the difference of an output's record from the expected one, or None. `in_order`: its offset identifies the input record."""
        offset, when, key, value, found = record
        prefix = PREFIXES[parity]
        if not value.startswith(prefix):
            return f"a value begins with {value[:20]!r}"
        value = value[len(prefix) :]
        numbers = self.parities[parity]
        if in_order:
            number = numbers[offset % len(numbers)]
            key_sent, value_sent, headers_sent = self.records[number]
            if value != value_sent:
                return f"the value at {offset} is {value[-17:]!r}, not {value_sent[-17:]!r}"
            if "key" in keeps and key != key_sent:
                return f"the key at {offset} is {key!r}, not {key_sent!r}"
            if "headers" in keeps and not set(headers_sent) <= set(found):
                return f"the headers at {offset} are {found!r}, not {headers_sent!r}"
            if "timestamp" in keeps and when != BASE_TIMESTAMP + number % self.batch_records:
                return f"the timestamp at {offset} is {when}"
        elif value[-1] % 2 != (parity == "odd") or ("headers" in keeps and (value, key, tuple(found)) not in self.known):
            return f"the value at {offset}, {value[-17:]!r}, was not sent or is of the other topic"
        return None


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def encode(number, record):
    key, value, headers = record
    body = b"\0" + varint(number) + varint(number) + sized(key) + sized(value) + varint(len(headers))
    body += b"".join(sized(name) + sized(content) for name, content in headers)
    return varint(len(body)) + body


def batch_of(records):
    """Returns a record batch, format v2. Its checksum does not cover the offset, which the broker sets, so that it can be sent repeatedly."""
    count = len(records)
    body = struct.pack(">hiqqqhii", 0, count - 1, BASE_TIMESTAMP, BASE_TIMESTAMP + count - 1, -1, -1, -1, count)
    body += b"".join(encode(number, record) for number, record in enumerate(records))
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = crc_table()
