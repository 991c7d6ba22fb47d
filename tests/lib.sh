# Helpers shared by the suites that run real brokers. Each suite's `run` script sets `root` (the project's folder) and `suite` (its name),
# sources this file, and defines `fail`, which ends the scenario with a reason.
#
# Sourcing creates the temporary folder $work. When the run ends, the folder is removed and every process listed in $started is killed, by
# its own process id. Suites can run beside each other: each has its own folder and its own ports.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/parity-router
work=$(mktemp -d)
started=()
passed=0
failed=()

# Kills the processes of this run and waits until they have ended, so that none of them still writes.
finish() {
    # Without job control bash prints no "Killed" message for each of them.
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

# Prints the comment at the top of the script $0, which is its help text.
usage() { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; }

# Repeats a command until it succeeds, for at most $1 seconds.
until_true() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.05
    done
}

not() { ! "$@"; }

# Creates an empty log file and prints its name. Each start of a program gets its own: a wait for a line must not find one of an earlier
# run.
new_log() { mktemp "$work/$1.XXXXXX.log"; }

# Removes a process that has ended from $started: by the end of the run, its id can belong to another process.
forget() {
    local pid still=()
    for pid in "${started[@]}"; do [ "$pid" = "$1" ] || still+=("$pid"); done
    started=("${still[@]}")
}

# --- results --------------------------------------------------------------------------------------------------------------------------

# Runs one scenario, `NAME COMMAND...`, in a subshell and counts its result. What it started is killed before the next one begins. It is not
# run inside a condition, because bash ignores `set -e` there.
scenario() {
    local name=$1 before=$SECONDS status
    shift
    set +e
    (
        set -e
        started=()
        trap end_scenario EXIT
        "$@"
    )
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        say "passed: $name ($((SECONDS - before)) s)"
        passed=$((passed + 1))
    else
        say "failed: $name ($((SECONDS - before)) s)"
        failed+=("$name")
    fi
}

end_scenario() {
    local pid
    disown -a 2>/dev/null || true
    for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; done
}

# Records that a part of the suite was not run, `NAME REASON`. In CI (CI=true) that is a failure, unless .ci/skips lists the suite and the
# name.
# It is recorded in files, because scenarios run in subshells.
skip() {
    say "skipped: $1: $2"
    if [ "${CI:-}" = true ] && ! grep -q "^$suite $1:" "$root/.ci/skips"; then
        echo "$1: skipped, but .ci/skips does not list \"$suite $1\"" >>"$work/unlisted"
    else
        echo "$1" >>"$work/skipped"
    fi
}

# Ends the suite. Its last line counts what passed, failed and was skipped; the exit status is 1 if anything failed.
summary() {
    local skipped=() unlisted=() line
    [ ! -e "$work/skipped" ] || mapfile -t skipped <"$work/skipped"
    [ ! -e "$work/unlisted" ] || mapfile -t unlisted <"$work/unlisted"
    failed+=("${unlisted[@]}")
    # The reasons again: at the end they are found even if only the end of the output is kept.
    [ ${#failed[@]} = 0 ] || cat "$work/failures.log" 2>/dev/null || true
    [ ${#failed[@]} = 0 ] || printf 'failed: %s\n' "${failed[@]}"
    line="$passed passed, ${#failed[@]} failed"
    [ ${#skipped[@]} = 0 ] || line+=", ${#skipped[@]} skipped ($(printf '%s\n' "${skipped[@]}" | paste -sd , | sed 's/,/, /g'))"
    echo "$line"
    [ ${#failed[@]} = 0 ] || exit 1
}

# --- tools ----------------------------------------------------------------------------------------------------------------------------

# Installs Debian packages, given as pairs of a command and the package that contains it, if the command is missing.
install_commands() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# Installs Debian packages. Suites that run beside each other take turns.
install_packages() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing packages: $*; only root can install them, with apt-get" >&2
        exit 1
    fi
    mkdir -p "$cache"
    (
        flock 9
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
    ) 9>"$cache/apt.lock"
}

install_java() { install_commands javac openjdk-17-jdk-headless mvn maven; }

# Lets Maven fill the folder $cache/$1, unless it exists. The further arguments are Maven's; `{}` in them stands for the folder. It is
# filled under another name and renamed, so that an interrupted run leaves no half of it. Runs beside each other take turns, because they
# often need the same files, and Maven does not lock its repository.
fetch() {
    local name=$1
    shift
    [ -d "$cache/$name" ] && return
    mkdir -p "$cache"
    (
        flock 9
        [ -d "$cache/$name" ] && exit
        say "fetching $name"
        partial=$(mktemp -d "$cache/fetching.XXXXXX")
        mvn -q -B "${@//\{\}/$partial}" >"$work/maven.log" 2>&1 9>&- || { cat "$work/maven.log" >&2; rm -rf "$partial"; exit 1; }
        mv -T "$partial" "$cache/$name"
    ) 9>"$cache/maven.lock" || exit 1
}

# The Kafka version whose Java clients check the results, for every broker version: its clients work with brokers from 2.1 on (KIP-896).
CLIENT_KAFKA=4.3.1

fetch_kafka() {
    fetch "kafka-$1" -f "$root/tests/kafka/pom.xml" dependency:copy-dependencies "-Dkafka.version=$1" '-DoutputDirectory={}'
}

# Selects a broker version: its jars are in $libs, the checker's classes in $classes and the jars that these need in $judge_libs.
use_kafka() {
    kafka=$1
    fetch_kafka "$kafka"
    fetch_kafka "$CLIENT_KAFKA"
    libs=$cache/kafka-$kafka
    judge_libs=$cache/kafka-$CLIENT_KAFKA
    classes=$work/classes
    touch "$work/judge.log"
    [ -d "$classes" ] || javac -nowarn -Xlint:none -cp "$judge_libs/*" -d "$classes" "$root"/tests/kafka/*.java
}

# Builds the program with the profile `ci` and sets $default_bin, unless PARITY_ROUTER_BIN names one.
build() {
    default_bin=${PARITY_ROUTER_BIN:-}
    [ -n "$default_bin" ] || build_program default_bin parity-router
}

# Builds the small build and sets $small_bin, unless PARITY_ROUTER_SMALL_BIN names one.
build_small() {
    small_bin=${PARITY_ROUTER_SMALL_BIN:-}
    [ -n "$small_bin" ] || build_program small_bin parity-router-small --no-default-features
}

# The Cargo profile of the programs under test: `ci` builds faster, without link-time optimization; `release` is what users get.
profile=${PARITY_ROUTER_PROFILE:-ci}

# Builds a program and sets the variable $1 to target/$profile/bin/$2; the further arguments are cargo's. All builds use one target folder,
# so that they share their dependencies; the program is copied out of it before the next build replaces it.
build_program() {
    local variable=$1 folder=$root/target/$profile/bin program=$root/target/$profile/bin/$2
    shift 2
    say "building ${program##*/}"
    mkdir -p "$folder"
    (
        flock 9
        cargo build --quiet --profile "$profile" --locked --manifest-path "$root/Cargo.toml" --target-dir "$root/target" "$@"
        cp "$root/target/$profile/parity-router" "$program.new"
        # A program that runs cannot be overwritten, but replaced.
        mv "$program.new" "$program"
    ) 9>"$folder/lock"
    printf -v "$variable" %s "$program"
}

# --- ports ----------------------------------------------------------------------------------------------------------------------------

# Reserves $1 consecutive ports and sets $port to the first one.
#
# The first call locks a block of 1,000 ports for this run: another run takes another block, as long as this one or a process that it
# started lives, since they inherit the lock. All blocks are below the range from which the system takes ports for outgoing connections and
# for port 0. Ports on which a program outside of these suites listens are left out.
reserve_ports() {
    local count=$1 offset=0
    [ -n "${port_block:-}" ] || reserve_block
    port=$next_port
    while [ "$offset" -lt "$count" ]; do
        [ $((port + count)) -le $((port_block + 1000)) ] || fail "no $count free ports left from $port_block on"
        if is_listening $((port + offset)); then
            port=$((port + offset + 1))
            offset=0
        else
            offset=$((offset + 1))
        fi
    done
    next_port=$((port + count))
}

reserve_block() {
    local end lock
    read -r end _ </proc/sys/net/ipv4/ip_local_port_range
    [ "$end" -ge 15000 ] || end=32768
    mkdir -p "$cache/ports"
    for ((port_block = 10000; port_block + 1000 <= end; port_block += 1000)); do
        exec {lock}>"$cache/ports/$port_block"
        if flock -n "$lock"; then
            next_port=$port_block
            return
        fi
        exec {lock}>&-
    done
    fail "all blocks of ports are reserved by other runs"
}

# True if a socket listens on the port, by the system's table, where ports are in hexadecimal and state 0A is listening.
is_listening() { grep -qsE ":$(printf %04X "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6; }

# --- the router -----------------------------------------------------------------------------------------------------------------------

router_log=/dev/null
# The Kafka client to use; empty: the program's default.
client=

# Starts the program in any role and sets $router_pid, $router_log and $router_port. If a property is given twice, the first one counts.
launch() {
    router_log=$(new_log "$1")
    shift
    env -i ROUTER=1 "$@" --server.port=0 "--spring.cloud.stream.kafka.binder.brokers=$broker" ${client:+"--parity-router.client=$client"} \
        >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'actuator on port ' "$router_log" || fail "the actuator does not start"
    router_port=$(sed -n 's/.*actuator on port //p' "$router_log" | head -1)
}

probe() { "$default_bin" probe "$1" "--server.port=$router_port"; }
ready() {
    until_true 100 probe readiness && return
    kill -0 "$router_pid" 2>/dev/null || fail "not ready: the router has ended"
    fail "not ready: $(probe readiness 2>&1)"
}

# Waits until the router has ended and sets $status to its exit status.
router_wait() {
    status=0
    wait "$router_pid" || status=$?
    forget "$router_pid"
}

# Sends SIGTERM and expects exit status 0 within 25 s. A router must have accounted for every record that it read; other roles log other
# counts.
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

# Stops several routers one after the other, each given as "process id:log".
routers_stop() {
    local entry
    for entry in "$@"; do
        router_pid=${entry%%:*} router_log=${entry#*:}
        router_stop
    done
}

# --- the broker -----------------------------------------------------------------------------------------------------------------------

# Runs a command of a Java class (`Serve.java`): in the JVM that `keep_jvm` started, or else in one of its own.
run_java() {
    local line
    if [ -z "$jvm_in" ]; then
        java "${JVM_OPTIONS[@]}" -cp "$classes:$judge_libs/*" Serve "$@" 2>>"$work/judge.log"
        return
    fi
    printf '%s\n' "$*" >&"$jvm_in"
    while IFS= read -r -t 600 line <&"$jvm_out"; do
        case $line in
            'command succeeded') return ;;
            'command failed') return 1 ;;
            *)
                printf '%s\n' "$line"
                printf '%s\n' "$line" >>"$work/answers.log"
                ;;
        esac
    done
    return 1
}
JVM_OPTIONS=(-Xmx2g -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
jvm_in=
jvm_out=

# Starts the JVM for all further commands of this shell: starting one takes longer than most commands.
keep_jvm() {
    coproc JVM { exec java "${JVM_OPTIONS[@]}" -cp "$classes:$judge_libs/*" Serve 2>>"$work/judge.log"; }
    started+=("$JVM_PID")
    # Copies, because command substitutions do not inherit the descriptors of a coprocess.
    exec {jvm_in}>&"${JVM[1]}" {jvm_out}<&"${JVM[0]}"
}
with_jvm() {
    keep_jvm
    "$@"
}

# Runs a command in the background, in a JVM of its own, whose process id is $!.
beside() {
    (exec java "${JVM_OPTIONS[@]}" -cp "$classes:$judge_libs/*" Serve "$@" 2>>"$work/judge.log") &
    started+=($!)
}

judge() { run_java Judge "$@"; }

# Options of the brokers' JVMs: without the second compiler and with the simplest collector, a broker needs half of the processor time in runs
# of minutes. The bench suite has its own.
BROKER_JVM=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1)

# Writes the configuration of one broker in the new folder $data; $1 is auto.create.topics.enable. Before Kafka 3.3, the first version with
# KRaft in production quality, the broker needs a ZooKeeper.
broker_config() {
    reserve_ports 2
    broker=127.0.0.1:$port
    local controller=127.0.0.1:$((port + 1))
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
# Some records have timestamps that are years old, which the default retention would delete.
log.retention.ms=-1
P
    if [[ $kafka == 2.* ]]; then
        cat >>"$data/server.properties" <<P
broker.id=1
listeners=PLAINTEXT://$broker
zookeeper.connect=$controller
P
        cat >"$data/zookeeper.properties" <<P
dataDir=$data/zookeeper
clientPort=${controller#*:}
clientPortAddress=127.0.0.1
admin.enableServer=false
P
        return
    fi
    cat >>"$data/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
listeners=PLAINTEXT://$broker,CONTROLLER://$controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
P
    java "${BROKER_JVM[@]}" -cp "$libs/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$data/server.properties" >"$data/format.log" 2>&1
}

# Starts the broker, and its ZooKeeper if it has one. The process ids are in files, because a scenario that restarts the broker runs in a
# subshell.
broker_start() {
    if [ -e "$data/zookeeper.properties" ] && ! process_runs "$data/zookeeper.pid"; then
        java -Xmx256m "${BROKER_JVM[@]}" -cp "$libs/*" org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zookeeper.properties" \
            >>"$data/zookeeper.log" 2>&1 &
        echo $! >"$data/zookeeper.pid"
    fi
    java -Xmx1g "${BROKER_JVM[@]}" -cp "$libs/*" kafka.Kafka "$data/server.properties" >>"$data/broker.log" 2>&1 &
    echo $! >"$data/pid"
    judge up "$broker" || fail "the broker does not answer: $(tail -5 "$data/broker.log")"
}

process_runs() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
broker_runs() { process_runs "$data/pid"; }

# Stops the broker. It starts again on the same ports, which the clients know.
broker_stop() {
    process_stop "$data/pid" || fail "the broker does not stop"
}

# Stops the broker and its ZooKeeper and removes their data.
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

# The newest server in Maven Central.
DATAFLOW=2.7.0

# Fetches an executable jar of Data Flow, for example spring-cloud-dataflow-server, in a version.
fetch_server() {
    fetch "$1-$2" dependency:copy "-Dartifact=org.springframework.cloud:$1:$2" '-DoutputDirectory={}'
}

# Starts one of Data Flow's servers: name, version, name of its log, arguments. They were written for Java 8 and use internals of the JDK,
# which Java 17 opens to them only if asked to.
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
