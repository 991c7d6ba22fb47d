# What the suites on real brokers have in common: sourced by their `run` scripts, which set `root`, the project's folder, and have
# `fail` end a scenario with a reason. Sourcing it makes the folder $work for a run's files, and ends at the run's end what is in $started.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/parity-router
work=$(mktemp -d)
started=()

# Ends what was started here, waiting for its end, so that nothing is left that still writes.
finish() {
    # So that bash does not tell of each that it was killed.
    disown -a 2>/dev/null || true
    for pid in "${started[@]}" $(cat "$work"/broker.*/pid "$work"/broker.*/zookeeper.pid 2>/dev/null); do
        kill -9 "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '%s %s\n' "$(date +%T)" "$*"; }

# Waits until a command succeeds, for so many seconds.
until_true() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.05
    done
}

not() { ! "$@"; }

# A file for the log of a program: a new one each time, since what an earlier one left in it would be taken for what is waited for.
new_log() { mktemp "$work/$1.XXXXXX.log"; }

# What has ended is not killed at the end: its id can be another process's by then.
forget() {
    local pid still=()
    for pid in "${started[@]}"; do [ "$pid" = "$1" ] || still+=("$pid"); done
    started=("${still[@]}")
}

# --- what is needed -------------------------------------------------------------------------------------------------------------------

install_tools() {
    command -v javac >/dev/null && command -v mvn >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "needed: a Java 17 JDK and Maven; they are not here, and only root can install them by apt-get" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jdk-headless maven >/dev/null
}

# Installs one more Debian package, unless it is there.
install_package() {
    dpkg-query -W "$1" >/dev/null 2>&1 && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
}

# Has Maven fill the folder $cache/$1 with the further arguments, where `{}` stands for the folder, unless it is there. It is made aside
# and moved, so that runs at the same time do not meet half of it.
fetch() {
    local name=$1 aside
    shift
    [ -d "$cache/$name" ] && return
    say "fetching $name"
    mkdir -p "$cache"
    aside=$(mktemp -d "$cache/fetching.XXXXXX")
    mvn -q -B "${@//\{\}/$aside}" >"$work/maven.log" 2>&1 || { cat "$work/maven.log" >&2; rm -rf "$aside"; exit 1; }
    mv -T "$aside" "$cache/$name" 2>/dev/null || rm -rf "$aside"
}

# The Kafka whose own clients judge, whichever version the broker has: they work with brokers from 2.1 on (KIP-896).
JUDGE_KAFKA=4.3.1

fetch_kafka() {
    fetch "kafka-$1" -f "$root/tests/kafka/pom.xml" dependency:copy-dependencies "-Dkafka.version=$1" '-DoutputDirectory={}'
}

# The broker of this version, in $libs; the judge's classes and the clients that it uses, in $classes and $judge_libs.
use_kafka() {
    kafka=$1
    fetch_kafka "$kafka"
    fetch_kafka "$JUDGE_KAFKA"
    libs=$cache/kafka-$kafka
    judge_libs=$cache/kafka-$JUDGE_KAFKA
    classes=$work/classes
    touch "$work/judge.log"
    [ -d "$classes" ] || javac -nowarn -Xlint:none -cp "$judge_libs/*" -d "$classes" "$root"/tests/kafka/*.java
}

build() {
    default_bin=${PARITY_ROUTER_BIN:-}
    small_bin=${PARITY_ROUTER_SMALL_BIN:-}
    if [ -z "$default_bin" ]; then
        say "building the program"
        cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --target-dir "$root/target"
        default_bin=$root/target/release/parity-router
    fi
    if [ -z "$small_bin" ]; then
        cargo build --quiet --release --locked --no-default-features --manifest-path "$root/Cargo.toml" --target-dir "$root/target/small"
        small_bin=$root/target/small/release/parity-router
    fi
}

# --- the router -----------------------------------------------------------------------------------------------------------------------

router_log=/dev/null
# Empty: the program's default.
client=

# Starts the program in any role; $router_pid, $router_log and $router_port are its. (Of a property given twice the first counts.)
launch() {
    router_log=$(new_log "$1")
    shift
    env -i ROUTER=1 "$@" --server.port=0 "--spring.cloud.stream.kafka.binder.brokers=$broker" ${client:+"--parity-router.client=$client"} \
        >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'actuator on port ' "$router_log" || fail "no actuator"
    router_port=$(sed -n 's/.*actuator on port //p' "$router_log" | head -1)
}

probe() { "$default_bin" probe "$1" "--server.port=$router_port"; }
ready() {
    until_true 100 probe readiness && return
    kill -0 "$router_pid" 2>/dev/null || fail "not ready: the router is gone"
    fail "not ready: $(probe readiness 2>&1)"
}

# Waits for the router's end; $status is what it ended with.
router_wait() {
    status=0
    wait "$router_pid" || status=$?
    forget "$router_pid"
}

# SIGTERM, and an exit with 0 within 25 s. Of a router what came in is all accounted for; a role of another kind has other books.
router_stop() {
    local before=$SECONDS status in even odd dead skipped
    kill -TERM "$router_pid"
    router_wait
    [ "$status" = 0 ] || fail "the router ended with $status"
    [ $((SECONDS - before)) -le 25 ] || fail "the router took $((SECONDS - before)) s to stop"
    read -r in even odd dead skipped <<<"$(sed -n 's/.*stopped: \([0-9]*\) records in, \([0-9]*\) even, \([0-9]*\) odd, \([0-9]*\) dead-lettered, \([0-9]*\) skipped.*/\1 \2 \3 \4 \5/p' "$router_log")"
    [ -z "$in" ] || [ "$in" = $((even + odd + dead + skipped)) ] || fail "$in records in, but $even + $odd + $dead + $skipped out"
}

router_kill() {
    kill -9 "$router_pid"
    wait "$router_pid" 2>/dev/null || true
    forget "$router_pid"
}

# Stops these, each as its process id, a colon and its log, one after the other.
routers_stop() {
    local entry
    for entry in "$@"; do
        router_pid=${entry%%:*} router_log=${entry#*:}
        router_stop
    done
}

# --- the broker -----------------------------------------------------------------------------------------------------------------------

# The judge, by a Java of its own; or, in a shell that began by `asking`, by one for all its questions: starting it takes longer than most
# answers.
judge() {
    if [ "${JUDGE_SHELL:-}" = "$BASHPID" ]; then
        ask "$@"
    else
        java -Xmx1500m -XX:+UseSerialGC -cp "$classes:$judge_libs/*" Judge "$@" 2>>"$work/judge.log"
    fi
}
asking() {
    coproc JUDGE { exec java -Xmx1500m -XX:+UseSerialGC -cp "$classes:$judge_libs/*" Judge serve 2>>"$work/judge.log"; }
    started+=("$JUDGE_PID")
    JUDGE_SHELL=$BASHPID
}
ask() {
    local line
    printf '%s\n' "$*" >&"${JUDGE[1]}"
    while IFS= read -r -t 240 line <&"${JUDGE[0]}"; do
        case $line in
            'judged good') return ;;
            'judged bad') return 1 ;;
            *)
                printf '%s\n' "$line"
                printf '%s\n' "$line" >>"$work/answers.log"
                ;;
        esac
    done
    return 1
}

# One broker with the settings of all versions; the first argument is auto.create.topics.enable. Before 3.3, where KRaft was finished, it
# has a ZooKeeper beside it.
broker_config() {
    local ports
    read -r -a ports <<<"$(judge ports 2)"
    broker=127.0.0.1:${ports[0]}
    data=$(mktemp -d "$work/broker.XXXXXX")
    cat >"$data/server.properties" <<P
advertised.listeners=PLAINTEXT://$broker
log.dirs=$data/logs
auto.create.topics.enable=${1:-false}
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# Some records' timestamps are years old: by default they would be gone after a while.
log.retention.ms=-1
P
    if [[ $kafka == 2.* ]]; then
        cat >>"$data/server.properties" <<P
broker.id=1
listeners=PLAINTEXT://$broker
zookeeper.connect=127.0.0.1:${ports[1]}
P
        cat >"$data/zookeeper.properties" <<P
dataDir=$data/zookeeper
clientPort=${ports[1]}
clientPortAddress=127.0.0.1
admin.enableServer=false
P
        return
    fi
    cat >>"$data/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports[1]}
listeners=PLAINTEXT://$broker,CONTROLLER://127.0.0.1:${ports[1]}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
P
    java -cp "$libs/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$data/server.properties" >"$data/format.log" 2>&1
}

# One broker for all scenarios of a version. Its process id is in a file: a scenario that stops and starts it runs in a shell of its own.
broker_start() {
    if [ -e "$data/zookeeper.properties" ] && ! process_runs "$data/zookeeper.pid"; then
        java -Xmx256m -cp "$libs/*" org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zookeeper.properties" \
            >>"$data/zookeeper.log" 2>&1 &
        echo $! >"$data/zookeeper.pid"
    fi
    java -Xmx1g -cp "$libs/*" kafka.Kafka "$data/server.properties" >>"$data/broker.log" 2>&1 &
    echo $! >"$data/pid"
    judge up "$broker" || fail "the broker does not answer: $(tail -5 "$data/broker.log")"
}

process_runs() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
broker_runs() { process_runs "$data/pid"; }

# It starts again on the same ports: clients know these.
broker_stop() {
    process_stop "$data/pid" || fail "the broker does not stop"
}

# Ends what stays up beside the broker, and removes its data.
broker_remove() {
    broker_stop
    ! process_runs "$data/zookeeper.pid" || process_stop "$data/zookeeper.pid" || fail "ZooKeeper does not stop"
    rm -rf "$data"
}

process_stop() {
    kill -TERM "$(cat "$1")"
    until_true 60 not process_runs "$1" || return 1
    : >"$1"
}

# --- Data Flow ------------------------------------------------------------------------------------------------------------------------

# The newest server that Maven Central has.
DATAFLOW=2.7.0

# One of Data Flow's executable jars, as spring-cloud-dataflow-server and its version.
fetch_server() {
    fetch "$1-$2" dependency:copy "-Dartifact=org.springframework.cloud:$1:$2" '-DoutputDirectory={}'
}

# Starts a server. Both were made for Java 8, so that they need to be let into Java 17.
server() {
    local name=$1 version=$2 log=$3 package opens=()
    shift 3
    for package in lang lang.reflect util io net text time; do opens+=("--add-opens=java.base/java.$package=ALL-UNNAMED"); done
    mkdir -p "$work/tmp"
    (
        cd "$work/tmp"
        exec java "${opens[@]}" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Djava.io.tmpdir=$work/tmp" \
            -jar "$cache/$name-$version/$name-$version.jar" --server.address=127.0.0.1 --spring.cloud.config.enabled=false "$@"
    ) >"$work/$log.log" 2>&1 &
    started+=($!)
}
