# Faults of brokers. Sourced by `run`, which calls each scenario by its name in a subshell.

# The broker is stopped or killed, and started again; the router waits for it and stays live.
broker_stopped() { restarts TERM "broker: stopped, started again"; }
broker_killed() { restarts KILL "broker: kill -9, started again"; }
restarts() {
    local signal=$1 times
    times=$(pick 10 2)
    stream 4
    router
    ready
    feed
    for ((i = 0; i < times; i++)); do
        routed_on $((RANDOM % 20000))
        kill "-$signal" "$(cat "$data/pid")"
        until_true 60 not broker_runs || fail "the broker does not end"
        until_true 30 not probe readiness || fail "ready without a broker"
        probe liveness || fail "not live without a broker"
        broker_start
        ready
    done
    fed
    check "$2" "$times" 0
    stop
}

# A cluster of three brokers, listed in $broker. Each topic has three replicas, of which two must be in sync.
CLUSTER='default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2'
cluster_start() {
    local id voters= all=
    reserve_ports 6
    for id in 1 2 3; do
        voters+=${voters:+,}$id@127.0.0.1:$((port + id + 2))
        all+=${all:+,}127.0.0.1:$((port + id - 1))
    done
    brokers=()
    for id in 1 2 3; do
        data=$(mktemp -d "$work/broker.XXXXXX")
        brokers+=("$data")
        cat >"$data/server.properties" <<P
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$((port + id - 1)),CONTROLLER://127.0.0.1:$((port + id + 2))
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$data/logs
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
$CLUSTER
P
        java "${BROKER_JVM[@]}" -cp "$libs/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$data/server.properties" >"$data/format.log" 2>&1
        java -Xmx512m "${BROKER_JVM[@]}" -cp "$libs/*" kafka.Kafka "$data/server.properties" >>"$data/broker.log" 2>&1 &
        echo $! >"$data/pid"
        started+=($!)
    done
    broker=$all
    until_true 60 has_brokers 3 || fail "the cluster does not have three brokers"
}
has_brokers() { [ "$(faults brokers "$broker")" = "$1" ]; }

# Every partition of the input and the outputs is reassigned so that its leader is no longer a replica.
leaders() {
    local times
    times=$(pick 10 2)
    # With two replicas, one broker has none and gets the new one.
    CLUSTER=${CLUSTER//replication.factor=3/replication.factor=2}
    CLUSTER=${CLUSTER//min.insync.replicas=2/min.insync.replicas=1}
    cluster_start
    stream 4
    router
    ready
    feed
    for ((i = 0; i < times; i++)); do
        routed_on 10000
        faults move "$broker" "$scenario-in" "$scenario-even" "$scenario-odd" >/dev/null || fail "the leaders did not move"
    done
    fed
    check "leaders moved by reassignment" "$times" 0
    stop
}

# One of three brokers is killed and not restarted: it may be the group's coordinator, or leader of inputs and outputs.
broker_gone() {
    cluster_start
    stream 12
    router
    ready
    feed
    routed_on 10000
    data=${brokers[RANDOM % 3]}
    kill -9 "$(cat "$data/pid")"
    routed_on "$(pick 500000 50000)"
    ready
    fed
    check "one of three brokers lost for good" 1 0
    stop
}

# The broker's disk is full, and it ends, as Kafka does. It is restarted when there is room again.
full() {
    local size
    size=$(pick 60 16)
    broker_config
    mkdir -p "$data/disk"
    mount -t tmpfs -o "size=${size}m" tmpfs "$data/disk"
    mounted=$data/disk
    sed -i "s|^log.dirs=.*|log.dirs=$data/disk/logs|" "$data/server.properties"
    # Each partition's indexes are allocated in this size.
    echo log.index.size.max.bytes=100000 >>"$data/server.properties"
    java "${BROKER_JVM[@]}" -cp "$libs/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$data/server.properties" >"$data/format.log" 2>&1
    broker_start
    started+=("$(cat "$data/pid")")
    stream 4
    router
    ready
    feed
    until_true 120 not broker_runs || fail "the broker's disk does not fill"
    until_true 30 not probe readiness || fail "ready without a broker"
    probe liveness || fail "not live without a broker"
    mount -o remount,size=4g "$data/disk"
    broker_start
    started+=("$(cat "$data/pid")")
    ready
    fed
    check "broker's disk full" 1 0
    stop
}

# The broker's certificate expires: the router stays live, waits for a new one, and continues. TLS needs librdkafka and a build of its own.
certificate() {
    local i tls client=librdkafka default_bin
    install_commands pkg-config pkg-config
    [ -e /usr/include/openssl/ssl.h ] || install_packages libssl-dev
    build_program default_bin parity-router-ssl --features ssl
    broker_config
    certificate_make good -1d
    certificate_make expired -10d
    cat "$data/good.pem" "$data/expired.pem" >"$data/ca.pem"
    reserve_ports 1
    tls=127.0.0.1:$port
    sed -i "s|^listeners=.*|&,TLS://$tls|; s|^advertised.listeners=.*|&,TLS://$tls|" "$data/server.properties"
    cat >>"$data/server.properties" <<P
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL
inter.broker.listener.name=PLAINTEXT
ssl.keystore.location=$data/keys
ssl.keystore.password=changeit
P
    broker_with expired
    stream 4
    broker=$tls router "--$BINDER.security.protocol=SSL" "--$BINDER.ssl.ca.location=$data/ca.pem"
    until_true 30 grep -q "WARN.*waiting:.*certificate verify failed" "$router_log" || fail "the log does not name the cause"
    feed
    for ((i = 0; i < $(pick 3 1); i++)); do
        until_true 30 not probe readiness || fail "ready with an expired certificate"
        probe liveness || fail "not live with an expired certificate"
        broker_with good
        ready
        routed_on 10000
        broker_with expired
    done
    until_true 30 not probe readiness || fail "ready with an expired certificate"
    broker_with good
    ready
    fed
    check "broker's certificate expired" $(($(pick 3 1) + 1)) 0
    stop
}

# Creates a key and certificate for the broker, valid for five days from the day $2 on.
certificate_make() {
    keytool -genkeypair -alias broker -keyalg RSA -dname CN=127.0.0.1 -ext san=ip:127.0.0.1 -startdate "$2" -validity 5 \
        -keystore "$data/$1" -storetype PKCS12 -storepass changeit 2>>"$work/judge.log"
    keytool -exportcert -rfc -alias broker -keystore "$data/$1" -storepass changeit >"$data/$1.pem" 2>>"$work/judge.log"
}

# Restarts the broker with a certificate.
broker_with() {
    ! broker_runs || broker_stop
    cp "$data/$1" "$data/keys"
    broker_start
    started+=("$(cat "$data/pid")")
}
