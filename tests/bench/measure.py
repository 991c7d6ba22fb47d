"""Measures the contenders of the bench suite with a running broker. Started by tests/bench/run, which describes the method. Writes
results.json into --out, from which report.py makes tables and plot. Needs only Python's standard library, and Linux."""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import wire

TOPICS = ("in", "even", "odd")
# Seconds without a further record after which a contender counts as hanging.
PATIENCE = 90
# Records per second in the latency cell.
RATE = 1000
KEPT = frozenset(("key", "headers", "timestamp"))


class Failed(Exception):
    """A contender did not do what it should."""


class Unavailable(Exception):
    """A contender cannot be measured: it could not be built, or refuses its configuration."""


# --- the contenders -----------------------------------------------------------------------------------------------------------------------


def router(*arguments):
    def command(program, run):
        bindings = "--spring.cloud.stream.bindings."
        return [
            program,
            f"--spring.cloud.stream.kafka.binder.brokers={run.bench.broker}",
            f"{bindings}input.destination={run.topics['in']}",
            f"{bindings}input.group={run.group}",
            f"{bindings}even.destination={run.topics['even']}",
            f"{bindings}odd.destination={run.topics['odd']}",
            "--server.address=127.0.0.1",
            "--server.port=0",
            *arguments,
            *run.arguments,
        ]

    return command


def plain(program, run):
    """A program that takes its settings from the environment (Run.environment)."""
    return [program]


def java(*options):
    def command(program, run):
        return ["java", *options, *program.split()]

    return command


def script(program, run):
    python, path = program.split()
    bindings = "--spring.cloud.stream.bindings."
    return [
        python,
        path,
        f"{bindings}input.destination={run.topics['in']}",
        f"{bindings}even.destination={run.topics['even']}",
        f"{bindings}odd.destination={run.topics['odd']}",
    ]


class Contender:
    def __init__(self, title, command, records, keeps=KEPT, latest=False, markers=False):
        self.title, self.command, self.records, self.keeps = title, command, records, keeps
        # Transaction markers take offsets in the outputs, so that the end offsets exceed the number of records.
        self.markers = markers
        # It has no group and starts at the end of the topic, so that records are produced after its start.
        self.latest = latest


# The least CPU time for the memory among the tried options: half of the heap costs more time, twice the heap saves none, and the other
# collectors cost as much or more.
JVM_OPTIONS = ("-Xmx256m", "-XX:+UseParallelGC")

# Number of records of each shape: a second or more of work for fast contenders, ten for slow ones.
FAST = {"17": 5_000_000, "1k": 1_000_000, "headers": 2_000_000}
JVM = {"17": 10_000_000, "1k": 1_000_000, "headers": 2_000_000}
SPRING = {"17": 1_000_000, "1k": 500_000, "headers": 500_000}
SLOW = {"17": 200_000, "1k": 100_000, "headers": 100_000}

EXACTLY_ONCE = "--spring.cloud.stream.kafka.binder.transaction.transaction-id-prefix=bench-"

CONTENDERS = {
    "limit": Contender("limit", plain, FAST),
    # Named, so that a build without this client is noticed.
    "native": Contender("parity-router", router("--parity-router.client=native"), FAST),
    "musl": Contender("parity-router, static", router("--parity-router.client=native"), FAST),
    "once": Contender("parity-router, exactly once", router("--parity-router.client=native", EXACTLY_ONCE), FAST, markers=True),
    "small": Contender("parity-router, small", router("--parity-router.client=native"), FAST),
    "librdkafka": Contender("parity-router, librdkafka", router("--parity-router.client=librdkafka"), FAST),
    "franz-go": Contender("franz-go", plain, FAST),
    "kafka-streams": Contender("Kafka Streams", java(*JVM_OPTIONS), JVM),
    "spring": Contender("Spring Cloud Stream", java(*JVM_OPTIONS, "-jar"), SPRING, KEPT - {"timestamp"}),
    "recipe": Contender("the recipe's script", script, SLOW, frozenset(), latest=True),
}
OURS = ("native", "once", "musl", "small", "librdkafka")
PEERS = ("franz-go", "kafka-streams", "spring", "recipe")


# --- one run ------------------------------------------------------------------------------------------------------------------------------


class Run:
    """A contender's process and its own topics; both are removed at the end."""

    def __init__(self, bench, name, partitions=1, arguments=(), environment=None):
        self.bench, self.name, self.partitions, self.arguments = bench, name, partitions, arguments
        self.contender = CONTENDERS[name]
        bench.runs += 1
        self.group = f"bench-{bench.runs}"
        self.topics = {topic: f"bench-{bench.runs}-{topic}" for topic in TOPICS}
        self.outputs = {self.topics["even"]: 1, self.topics["odd"]: 1}
        self.more_environment = environment or {}
        self.process = None

    def __enter__(self):
        if self.name not in self.bench.programs:
            raise Unavailable(self.bench.missing.get(self.name, "it is not built"))
        self.bench.kafka.create({self.topics["in"]: self.partitions, **self.outputs})
        return self

    def __exit__(self, error, *_):
        self.end()
        if error:
            # The old one can be in the middle of an answer.
            self.bench.kafka = wire.Connection(self.bench.broker)
        self.bench.kafka.delete(self.bench.kafka.names())

    def environment(self):
        variables = {"BROKERS": self.bench.broker, "GROUP": self.group}
        variables.update((topic.upper(), name) for topic, name in self.topics.items())
        # For the recipe's script: its brokers, and the modules that the recipe's text does not contain.
        variables["SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS"] = self.bench.broker
        variables["PYTHONPATH"] = str(self.bench.root / "tests" / "recipe")
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables, **self.more_environment}

    def start(self):
        command = self.contender.command(self.bench.programs[self.name], self)
        self.log = self.bench.work / f"{self.name}-{self.bench.runs}.log"
        with open(self.log, "wb") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), cwd=self.bench.work
            )
        self.clock = cpu_clock(self.process.pid)

    def end(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def cpu(self):
        """CPU seconds so far, user and system, of all threads, including those that have ended."""
        return time.clock_gettime(self.clock)

    def status(self, *fields):
        found = {}
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in fields:
                found[name] = int(value.split()[0])
        return [found[field] for field in fields]

    def check_alive(self):
        code = self.process.poll()
        if code is None:
            return
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        reason = f"it ended with {code}: {lines[-1][:300] if lines else 'without a message'}"
        # 2 is the router's exit code for an invalid configuration, for example a client that this build does not include.
        raise Unavailable(reason) if code == 2 and self.name in OURS else Failed(reason)

    def routed(self):
        return sum(self.bench.kafka.ends(self.outputs).values())

    def until_up(self):
        """Sends single records until one is routed, and waits until no more arrive. Returns the time from the start to the first one."""
        probe = wire.batch_of([(None, b"11/23/26 17:56:04", [])])
        due, deadline = 0, time.monotonic() + PATIENCE
        while True:
            self.check_alive()
            now = time.monotonic()
            if self.routed() > 0:
                break
            if now > deadline:
                raise Failed(f"no record within {PATIENCE} s")
            if now >= due:
                self.bench.kafka.produce(self.topics["in"], {0: probe})
                self.bench.kafka.acknowledged()
                due = now + 0.1
            time.sleep(0.002)
        first = time.monotonic() - self.started
        routed, since = self.routed(), time.monotonic()
        while time.monotonic() - since < 0.5:
            time.sleep(0.02)
            if (now_routed := self.routed()) != routed:
                routed, since = now_routed, time.monotonic()
        return first


def cpu_clock(pid):
    """Returns the id of the process's CPU clock, as clock_getcpuclockid(3) does. It counts nanoseconds; /proc has ticks of 10 ms."""
    return ~pid << 3 | 2


class Machine:
    """CPU use of the machine during a run, since figures are less reliable if other processes use much of it."""

    def __init__(self, bench):
        self.bench = bench
        self.at = self._read()

    def _read(self):
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle = fields[3] + fields[4]
        busy = (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, time.clock_gettime(cpu_clock(self.bench.broker_pid)), time.process_time()

    def shares(self, contender):
        """Returns the CPU seconds of the broker, and the cores used by processes other than broker, contender and this one."""
        now = self._read()
        elapsed, busy, broker, own = (b - a for a, b in zip(self.at, now))
        return broker, max(0.0, busy - broker - own - contender) / elapsed


# --- cells --------------------------------------------------------------------------------------------------------------------------------


def throughput(bench, name, shape, partitions=1, arguments=(), records=None):
    """Routes preloaded records and checks the outputs."""
    contender = CONTENDERS[name]
    load = bench.load(shape)
    wanted = records or contender.records[shape]
    wanted = max(wanted // bench.divisor, 20_000)
    batches = -(-wanted // (load.batch_records * partitions))
    count = batches * load.batch_records * partitions
    with Run(bench, name, partitions, arguments, {"N": str(count), "LINGER": "100"}) as run:
        before = dict.fromkeys(run.outputs, 0)
        first = None
        if not contender.latest:
            bench.kafka.preload(run.topics["in"], partitions, load, batches)
        machine = Machine(bench)
        run.start()
        if contender.latest:
            first = run.until_up()
            before = bench.kafka.ends(run.outputs)
            bench.kafka.preload(run.topics["in"], partitions, load, batches)
        already = sum(before.values())
        start, steady, routed, moved, threads = time.monotonic(), None, 0, time.monotonic(), 0
        while True:
            run.check_alive()
            now_routed = run.routed() - already
            now, cpu = time.monotonic(), run.cpu()
            if now_routed > routed:
                routed, moved = now_routed, now
                first = first or now - run.started
                if steady is None and routed >= count / 10:
                    steady = (now, cpu, routed)
                    (threads,) = run.status("Threads")
            elif now - moved > PATIENCE:
                raise Failed(f"{routed} of {count} records after {now - run.started:.0f} s, and no further one for {PATIENCE} s")
            if routed >= count:
                break
            # Half a percent of the elapsed time is precise enough; more frequent requests would load the broker.
            time.sleep(min(0.02, max(0.001, (now - start) / 200)))
        (peak,) = run.status("VmHWM")
        broker, foreign = machine.shares(cpu)
        run.end()
        exact = judge(run, load, batches, before)
    since, cpu_since, routed_since = steady
    return {
        "records": count,
        "cpu_per_million": cpu / count * 1e6,
        # One response of the broker can contain more than nine tenths of the records: then there is no steady state.
        "cpu_per_million_steady": (cpu - cpu_since) / (routed - routed_since) * 1e6 if routed > routed_since else None,
        "records_per_second": (routed - routed_since) / (now - since) if routed > routed_since else None,
        "peak_kib": peak,
        "first_output_seconds": first,
        "seconds": now - run.started,
        "threads": threads,
        "broker_cpu_per_million": broker / count * 1e6,
        "foreign_cores": foreign,
        "exact": exact,
    }


def judge(run, load, batches, before):
    """Compares counts and samples of the outputs with the input. Returns True if each record was routed once and in order."""
    kafka, count, markers = run.bench.kafka, batches * load.batch_records * run.partitions, run.contender.markers
    ends = kafka.ends(run.outputs)
    expected = {parity: number * run.partitions for parity, number in load.expected(batches).items()}
    found = {parity: ends[run.topics[parity]] - before[run.topics[parity]] for parity in expected}
    for parity, number in expected.items():
        if found[parity] < number:
            raise Failed(f"{found[parity]} {parity} records, not {number}")
    exact = found == expected or markers
    in_order = exact and run.partitions == 1
    for parity, number in found.items():
        start = before[run.topics[parity]]
        # Offsets correspond to records only before the first transaction marker.
        for offset in [0] if markers else sorted({0, max(0, number // 2 - 100), max(0, number - 200)}):
            records = kafka.sample(run.topics[parity], start + offset, min(200, number))
            if not records:
                raise Failed(f"no {parity} records at {offset}")
            for record in records:
                record = (record[0] - start, *record[1:])
                if differs := load.differs(parity, record, run.contender.keeps, in_order):
                    raise Failed(f"of {count} records, {parity}: {differs}")
    return exact


def memory(bench, name):
    """Peak memory with a memory limit."""
    bound = ("--parity-router.memory=8MB",)
    return {
        f"{field}_{shape}": value
        for shape in ("17", "1k")
        for field, value in throughput(bench, name, shape, arguments=bound).items()
        if field in ("records", "peak_kib", "cpu_per_million_steady", "records_per_second", "exact")
    }


def idle(bench, name):
    """CPU time and memory without input, after a few records were routed."""
    with Run(bench, name, environment={"N": "1", "LINGER": "0"}) as run:
        run.start()
        first = run.until_up()
        time.sleep(2 if bench.quick else 5)
        machine = Machine(bench)
        seconds, before = (3 if bench.quick else 30), run.cpu()
        time.sleep(seconds)
        run.check_alive()
        cpu = run.cpu() - before
        _, foreign = machine.shares(cpu)
        resident, threads = run.status("VmRSS", "Threads")
        return {
            "resident_kib": resident,
            "cpu_percent": cpu / seconds * 100,
            "threads": threads,
            "first_output_seconds": first,
            "foreign_cores": foreign,
        }


def latency(bench, name):
    """Added latency, at a rate at which no queue forms."""
    seconds, warm_up = (3, 2) if bench.quick else (30, 8)
    with Run(bench, name, environment={"N": str(1 << 60), "FLUSH": "1", "LINGER": "0"}) as run:
        run.start()
        run.until_up()
        ends = bench.kafka.ends({run.topics["in"]: 1, **run.outputs})
        machine, before = Machine(bench), run.cpu()
        answer = subprocess.run(
            [bench.programs["latency"]],
            env={
                **run.environment(),
                **{f"{topic.upper()}_OFFSET": str(ends[run.topics[topic]]) for topic in TOPICS},
                "RATE": str(RATE),
                "SECONDS": str(seconds),
                "WARM_UP": str(warm_up),
            },
            capture_output=True,
            text=True,
            timeout=seconds + warm_up + 120,
        )
        run.check_alive()
        if answer.returncode:
            raise Failed(f"latency: {answer.stderr.strip()}")
        found = json.loads(answer.stdout)
        if found["lost"]:
            raise Failed(f"{found['lost']} of {found['lost'] + found['records']} records did not arrive")
        cpu = run.cpu() - before
        _, foreign = machine.shares(cpu)
        result = {"records": found["records"], "cpu_percent": cpu / (seconds + warm_up) * 100, "foreign_cores": foreign}
        for side in ("input", "output", "added"):
            result.update({f"{side}_{name}_us": value for name, value in found[side].items()})
        result["difference_p50_us"] = result["output_p50_us"] - result["input_p50_us"]
        result["difference_p99_us"] = result["output_p99_us"] - result["input_p99_us"]
        return result


def long(bench, name):
    """A hundred million records compared with one million."""
    records = 100_000_000
    # Bytes per record for input and outputs, with as much again in reserve.
    need = records // bench.divisor * 150
    free = shutil.disk_usage(bench.work).free
    if free < need:
        raise Unavailable(f"{free >> 30} GiB free in {bench.work}, {need >> 30} GiB are needed")
    short = throughput(bench, name, "17", records=1_000_000)
    whole = throughput(bench, name, "17", records=records)
    result = {f"short_{field}": value for field, value in short.items()}
    result.update({f"long_{field}": value for field, value in whole.items()})
    return result


def size(bench, name):
    """Bytes of the program file."""
    if name not in bench.programs:
        raise Unavailable(bench.missing.get(name, "it is not built"))
    return {"bytes": os.path.getsize(bench.programs[name])}


class Cell:
    def __init__(self, title, measure, contenders, rounds=5):
        self.title, self.measure, self.contenders, self.rounds = title, measure, contenders, rounds


def routing(shape, **more):
    return lambda bench, name: throughput(bench, name, shape, **more)


# All except the one that has a cell of its own.
ALL = tuple(name for name in CONTENDERS if name != "once")
MANY = ("native", "librdkafka", "franz-go")
CELLS = {
    "17": Cell("records of 17 bytes, one partition", routing("17"), ALL),
    "1k": Cell("records of 1 KiB, one partition", routing("1k"), ALL),
    "headers": Cell("records of 17 bytes with key and five headers, one partition", routing("headers"), ALL),
    "partitions-16": Cell("records of 17 bytes, 16 partitions", routing("17", partitions=16), MANY),
    "partitions-256": Cell("records of 17 bytes, 256 partitions", routing("17", partitions=256), MANY),
    "steady": Cell("20 million records of 17 bytes, one partition", routing("17", records=20_000_000), ("native", "once", "musl"), rounds=9),
    "memory": Cell("--parity-router.memory=8MB", memory, ("native", "musl", "small")),
    "idle": Cell("idle for 30 s", idle, tuple(name for name in ALL if name != "limit"), rounds=3),
    "latency": Cell("1,000 records a second for 30 s", latency, ALL),
    "sizes": Cell("program files, stripped", size, ("limit", "native", "small", "musl", "small-musl", "franz-go"), rounds=1),
    "long": Cell("100 million records of 17 bytes against one million", long, ("limit", "native", "librdkafka", "franz-go"), rounds=1),
}
ON_DEMAND = ("long",)


# --- the run ------------------------------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, options):
        self.broker, self.broker_pid = options.broker, options.broker_pid
        self.work, self.root, self.quick = Path(options.work), Path(options.root), options.quick
        self.divisor = 50 if self.quick else 1
        self.programs = dict(pair.split("=", 1) for pair in options.program)
        self.missing = dict(pair.split("=", 1) for pair in options.missing)
        self.kafka = wire.Connection(self.broker)
        self.runs = 0
        self.loads = {}

    def load(self, shape):
        if shape not in self.loads:
            self.loads[shape] = wire.Load(shape)
        return self.loads[shape]


def medians(runs):
    result = {}
    for field in runs[0]:
        values = [run[field] for run in runs if run[field] is not None]
        if values and isinstance(values[0], bool):
            result[field] = all(values)
        else:
            result[field] = statistics.median(values) if values else None
    return result


def measure_cell(bench, name, contenders, rounds):
    """Runs all contenders one after the other in each round, so that a drift of the machine affects all of them."""
    cell = CELLS[name]
    results, failed = {contender: {"runs": []} for contender in contenders}, False
    for round_number in range(rounds):
        for contender in contenders:
            result = results[contender]
            if "skipped" in result or "failed" in result:
                continue
            try:
                measured = cell.measure(bench, contender)
            except Unavailable as reason:
                result["skipped"] = str(reason)
                say(f"{name} {contender}: skipped: {reason}")
            except (Failed, wire.WireError, OSError) as reason:
                result["failed"], failed = str(reason), True
                say(f"{name} {contender}: FAILED: {reason}")
            else:
                result["runs"].append(measured)
                say(f"{name} {contender} {round_number + 1}/{rounds}: {summary(measured)}")
    for result in results.values():
        if result["runs"]:
            result["median"] = medians(result["runs"])
    return {"title": cell.title, "rounds": rounds, "quick": bench.quick, "made": now(), "results": results}, failed


def summary(measured):
    shown = []
    for field, value in measured.items():
        if value is None or field in ("broker_cpu_per_million",):
            continue
        shown.append(f"{field}={value if isinstance(value, (bool, int)) else format(value, '.3g' if value < 100 else ',.0f')}")
    return " ".join(shown)


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def machine():
    cpu = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split("\n")[0].split()[1]
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--needs", action="store_true", help="prints the contenders that the chosen cells need")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--rounds", type=int)
    for name in ("broker", "work", "root", "out"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--broker-pid", type=int)
    for name in ("program", "missing", "version"):
        parser.add_argument(f"--{name}", action="append", default=[])
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()

    if options.list:
        for name, cell in CELLS.items():
            print(f"cell       {name:15} {cell.title}{' (with --long, or by name)' if name in ON_DEMAND else ''}")
        for name, contender in CONTENDERS.items():
            print(f"contender  {name:15} {contender.title}")
        return 0
    unknown = [name for name in options.names if name not in CELLS and name not in CONTENDERS]
    if unknown:
        print(f"neither a cell nor a contender: {', '.join(unknown)} (--list shows them)", file=sys.stderr)
        return 2
    cells = [name for name in CELLS if name in options.names]
    cells = cells or [name for name in CELLS if name not in ON_DEMAND]
    if options.long and "long" not in cells:
        cells.append("long")
    chosen = [name for name in CONTENDERS if name in options.names]
    plan = {name: [one for one in CELLS[name].contenders if not chosen or one in chosen] for name in cells}
    if options.needs:
        print(" ".join(sorted({one for contenders in plan.values() for one in contenders} | set(cells) & {"latency"})))
        return 0

    # Raises SystemExit, so that the contender is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    # Keeps cells that were measured earlier on this machine.
    found = json.loads(path.read_text()) if path.exists() else {}
    kept = found.get("cells", {}) if found.get("machine") == machine() else {}
    results = {"machine": machine(), "versions": dict(pair.split("=", 1) for pair in options.version), "cells": kept}
    results["contenders"] = {name: contender.title for name, contender in CONTENDERS.items()}
    results["contenders"]["small-musl"] = "parity-router, small, static"
    # The broker's JVM compiles its code while it works, which must not affect the first contender.
    if any(cell not in ("sizes",) for cell in plan):
        for _ in range(1 if bench.quick else 3):
            warm_up(bench)
    any_failed = False
    for name, contenders in plan.items():
        if not contenders:
            continue
        rounds = 1 if bench.quick else options.rounds or CELLS[name].rounds
        if CELLS[name].rounds == 1:
            rounds = 1
        results["cells"][name], failed = measure_cell(bench, name, contenders, rounds)
        any_failed |= failed
        path.write_text(json.dumps(results, indent=1) + "\n")
    return int(any_failed)


def warm_up(bench):
    """Lets the broker store and return a million records."""
    load, topics = bench.load("17"), {"bench-warm-up": 1}
    bench.kafka.create(topics)
    batches = 1_000_000 // bench.divisor // load.batch_records
    bench.kafka.preload("bench-warm-up", 1, load, batches)
    offset = 0
    while offset < batches * load.batch_records:
        records = bench.kafka.sample("bench-warm-up", offset, 1)
        offset = records[0][0] + 10 * load.batch_records
    bench.kafka.delete(list(topics))


if __name__ == "__main__":
    sys.exit(main())
