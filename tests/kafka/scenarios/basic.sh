# Scenarios of one router on one broker: streams of records, stops and kills, log lines and created topics. Sourced by `run`, which calls
# each scenario by its name in a subshell.

# Routes a million records through topics that the router creates: each exactly once, complete and in order. This run has its full size in
# the short form too, on the newest version.
million() {
    local count=1000000
    [[ $version == 4.* ]] || count=$(scaled 1000000)
    stream_of "$count" "$default_bin" million
}
stream_of() {
    local count=$1 bin=$2 name=$3 topic
    shift 3
    router "$bin" "$name" "$@"
    ready
    for topic in "$name-in" "$name-even" "$name-odd" "error.$name-in.$name"; do
        judge partitions "$broker" "$topic" 1 || fail "partitions of $topic"
    done
    produce "$name-in" 0 "$count" 0
    check "$name" once
    router_stop
}

# Routes from four partitions; most of the records are older than the router.
partitions() {
    judge topic "$broker" partitions-in 4
    produce partitions-in 0 "$(scaled 700000)" 0
    router "$default_bin" partitions
    produce partitions-in "$(scaled 700000)" "$(scaled 300000)" 0
    check partitions once
    router_stop
}

# Stops with SIGTERM in the middle of the stream, twice: no record is lost or duplicated.
sigterm() {
    local count
    judge topic "$broker" sigterm-in 4
    start_producing sigterm-in 0 "$(scaled 1000000)" "$(scaled 200000)"
    for count in 100000 500000; do
        router "$default_bin" sigterm
        routed sigterm "$(scaled "$count")"
        router_stop
    done
    router "$default_bin" sigterm
    produced
    check sigterm once
    router_stop
}

# SIGKILL in the middle of the stream: no record is lost. The group waits for the killed member until its session times out.
killed() {
    judge topic "$broker" killed-in 1
    start_producing killed-in 0 "$(scaled 1000000)" "$(scaled 200000)"
    router "$default_bin" killed "--$CONSUMER.session.timeout.ms=6000"
    routed killed "$(scaled 300000)"
    router_kill
    router "$default_bin" killed "--$CONSUMER.session.timeout.ms=6000"
    produced
    check killed least
    router_stop
}

# The broker restarts in the middle of the stream: the router stays alive, is not ready meanwhile, and routes every record once.
broker_restart() {
    judge topic "$broker" restart-in 4
    produce restart-in 0 "$(scaled 1000000)" 0
    router "$default_bin" restart
    routed restart "$(scaled 100000)"
    broker_stop
    until_true 30 not probe readiness || fail "ready without a broker"
    probe liveness || fail "not live without a broker"
    broker_start
    probe liveness || fail "not live after the broker's restart"
    ready
    check restart once
    router_stop
}

# Routes 10,000 random values of all kinds: none stops the router, and all arrive.
random() {
    router "$default_bin" random
    ready
    judge random "$broker" random-in "${SEED:-$(date +%s)}" 10000 || fail "produce failed"
    check random once
    router_stop
}

# Routes nothing but dead letters: all of them arrive, and the log stays short.
poison_flood() {
    router "$default_bin" poison --parity-router.invalid=dlq
    ready
    for seed in 1 2 3; do judge random "$broker" poison-in "$seed" 20000 || fail "produce failed"; done
    check poison once
    router_stop
    local lines
    lines=$(grep -c 'dead-letter topic' "$router_log")
    [ "$lines" -lt 120 ] || fail "$lines log lines about dead letters"
}

# A record that fits its topic, but is too large with the prefix, becomes a dead letter, and the stream continues.
large() {
    router "$default_bin" large
    ready
    judge large "$broker" large-in 1048510 || fail "produce failed"
    produce large-in 0 1000 0
    routed large 1000
    judge await "$broker" error.large-in.large 1 || fail "no dead letter"
    router_stop
    grep -q '1001 records in, 500 even, 500 odd, 1 dead-lettered' "$router_log" || fail "wrong counts"
}

# Reads several input topics, none of which exists.
topics() {
    router "$default_bin" topics "--spring.cloud.stream.bindings.input.destination=topics-a, topics-b" \
        --spring.cloud.stream.kafka.binder.minPartitionCount=3
    ready
    produce topics-a 0 1000 0
    produce topics-b 1000 1000 0
    judge check "$broker" topics-a,topics-b topics-even topics-odd error topics least full || fail "check failed"
    judge partitions "$broker" topics-b 3 || fail "minPartitionCount has no effect"
    router_stop
    router "$default_bin" missing --spring.cloud.stream.kafka.binder.autoCreateTopics=false
    until_true 20 grep -q 'missing topics: missing-in, missing-even, missing-odd' "$router_log" || fail "missing topics are not logged"
    probe readiness && fail "ready without topics"
    router_stop
}

# The router starts before the broker: live, but not ready.
late_broker() {
    broker_stop
    router "$default_bin" late
    until_true 20 grep -q 'waiting: ' "$router_log" || fail "the wait for the broker is not logged"
    probe liveness || fail "not live without a broker"
    probe readiness && fail "ready without a broker"
    broker_start
    ready
    produce late-in 0 1000 0
    check late once
    router_stop
}

# Without a group, only new records are routed, and nothing is committed.
anonymous() {
    judge topic "$broker" anonymous-in 1
    produce anonymous-in 0 1000 0
    router "$default_bin" anonymous --spring.cloud.stream.bindings.input.group=
    ready
    # The end offset is looked up after the assignment, so records are produced until one arrives.
    local from=1000
    until [ "$(judge count "$broker" anonymous-even,anonymous-odd)" -gt 0 ]; do
        produce anonymous-in "$from" 10 0
        from=$((from + 10))
        [ "$from" -lt 3000 ] || fail "no record arrives"
    done
    router_stop
    local input
    input=$(sed -n 's/.*stopped: \([0-9]*\) records in.*/\1/p' "$router_log")
    [ "$input" -gt 0 ] && [ "$input" -le $((from - 1000)) ] || fail "$input records read, $((from - 1000)) were produced after the start"
    judge uncommitted "$broker" anonymous || fail "offsets were committed"
}

# Takes the recipe's arguments and environment, and then what Data Flow's local platform passes.
recipe() {
    router_log=$(new_log recipe)
    env -i SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS="PLAINTEXT://$broker" SPRING_CLOUD_STREAM_KAFKA_BINDER_ZK_NODES=zk:2181 \
        SPRING_CLOUD_APPLICATION_GUID=guid SPRING_CLOUD_APPLICATION_GROUP=recipe SERVER_PORT=0 "$default_bin" \
        --spring.cloud.stream.bindings.input.destination=recipe-in --spring.cloud.stream.bindings.even.destination=recipe-even \
        --spring.cloud.stream.bindings.odd.destination=recipe-odd --spring.cloud.dataflow.stream.name=recipe \
        --spring.cloud.dataflow.stream.app.label=python-router >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'partitions assigned: ' "$router_log" || fail "no partitions assigned"
    produce recipe-in 0 100 0
    routed recipe 100
    router_stop
    router_log=$(new_log recipe)
    env -i SPRING_APPLICATION_JSON="$(sed -e "s/127.0.0.1:9092/$broker/; s/19548/0/; s/timeStampStream/recipe/g; s/timeDest/recipe-in/; \
        s/evenDest/recipe-even/; s/oddDest/recipe-odd/" "$root/tests/fixtures/spring-application-json.json")" \
        "$default_bin" -Xmx64m -jar router-1.0.jar >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'partitions assigned: ' "$router_log" || fail "no partitions assigned"
    produce recipe-in 100 100 0
    check recipe once
    router_stop
}

# Two routers share four partitions and one of them is stopped in the middle of the stream: no record is lost or duplicated. At the end, two
# stop at the same time.
sharing() {
    local first third
    judge topic "$broker" sharing-in 4
    router "$default_bin" sharing
    first=$router_pid
    ready
    router "$default_bin" sharing
    ready
    start_producing sharing-in 0 "$(scaled 1000000)" "$(scaled 200000)"
    routed sharing "$(scaled 300000)"
    router_stop
    routed sharing "$(scaled 600000)"
    router "$default_bin" sharing
    third=$router_pid
    produced
    check sharing once
    router_pid=$first
    kill -TERM "$third"
    router_stop
    wait "$third" || fail "the third router ended with $?"
    forget "$third"
}

# Runs the recipe's whole stream with the roles time, router and log: every timestamp is routed and printed once, with each client that the
# broker supports.
stream() {
    local client name logs count output prefix entry routing
    for client in native librdkafka kafka; do
        [[ $version == 4.* && $client == kafka ]] && continue
        name=stream-$client
        # The client `kafka` cannot create topics.
        for topic in in even odd error; do judge topic "$broker" "$name-$topic" 1; done
        logs=()
        for output in even odd; do
            launch "$name-$output" "$default_bin" log "--parity-router.client=$client" --log.name="$output" \
                "--spring.cloud.stream.bindings.input.destination=$name-$output" "--spring.cloud.stream.bindings.input.group=$name-$output"
            logs+=("$router_pid:$router_log")
            ready
        done
        router "$default_bin" "$name" "--parity-router.client=$client" \
            "--spring.cloud.stream.kafka.bindings.input.consumer.dlqName=$name-error"
        routing=$router_pid:$router_log
        ready
        launch "$name-time" "$default_bin" time "--parity-router.client=$client" --spring.integration.poller.fixed-rate=2ms \
            --time.date-format=HH:mm:ss.SSSSSSSSS "--spring.cloud.stream.bindings.output.destination=$name-in"
        ready
        routed "$name" 2000
        router_stop
        count=$(judge count "$broker" "$name-in")
        grep -q "stopped: $count times sent" "$router_log" || fail "the log does not say that $count timestamps were sent"
        routed "$name" "$count"
        for output in even odd; do
            [ $output = even ] && prefix='Even timestamp: ' || prefix='Odd timestamp:'
            entry=${logs[0]}
            logs=("${logs[@]:1}")
            router_pid=${entry%%:*} router_log=${entry#*:}
            count=$(judge count "$broker" "$name-$output")
            printed() { [ "$(grep -c "\[consumer\] $output : ${prefix}[0-9:.]*$" "$router_log")" -ge "$count" ]; }
            until_true 30 printed || fail "fewer than $count lines"
            router_stop
            grep -q "stopped: $count records in, $count printed" "$router_log" || fail "the log does not say that $count records were printed"
            [ "$(grep -o "${prefix}.*" "$router_log" | sort | uniq -d | wc -l)" = 0 ] || fail "a record was printed twice"
        done
        router_pid=${routing%%:*} router_log=${routing#*:}
        router_stop
    done
}

# Runs the small build with its only client, and the client `kafka` of the default build; Kafka 4 must be refused with a clear message.
small() {
    local bin=$default_bin name=small-kafka topic
    stream_of "$(scaled 1000000)" "$small_bin" small --parity-router.client=native
    if [[ $version == 4.* ]]; then
        router "$bin" "$name" --parity-router.client=kafka
        router_wait
        [ "$status" = 1 ] || fail "ended with $status"
        grep -q 'the client `kafka` requires version 0, which Kafka 4.0 removed (KIP-896); use the client `native`' "$router_log" ||
            fail "no clear refusal"
        ! grep -q 'failed to fill whole buffer\|UnexpectedEOF' "$router_log" || fail "an unclear refusal"
        return
    fi
    judge topic "$broker" "$name-in" 2
    for topic in even odd; do judge topic "$broker" "$name-$topic" 1; done
    judge topic "$broker" "error.$name-in.$name" 1
    start_producing "$name-in" 0 "$(scaled 400000)" "$(scaled 100000)"
    router "$bin" "$name" --parity-router.client=kafka
    routed "$name" "$(scaled 100000)"
    router_stop
    router "$bin" "$name" --parity-router.client=kafka
    produced
    check "$name" once small
    start_producing "$name-in" "$(scaled 400000)" "$(scaled 200000)" "$(scaled 100000)"
    routed "$name" "$(scaled 450000)"
    router_kill
    router "$bin" "$name" --parity-router.client=kafka
    produced
    check "$name" least small
    router_stop
}
