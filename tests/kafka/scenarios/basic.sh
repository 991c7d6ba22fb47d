# Scenarios of the router by itself, on one broker: streams of records, stops, kills, what it says and makes. Sourced by `run`, which calls
# each by its name in a shell of its own.

# A million records through topics that the router makes; every one once, whole and in order.
million() { a_million "$default_bin" million; }
a_million() {
    local bin=$1 name=$2 topic
    shift 2
    router "$bin" "$name" "$@"
    ready
    for topic in "$name-in" "$name-even" "$name-odd" "error.$name-in.$name"; do
        judge partitions "$broker" "$topic" 1 || fail "partitions of $topic"
    done
    produce "$name-in" 0 1000000 0
    check "$name" once
    router_stop
}

# The same from four partitions, most of the records there before the router.
partitions() {
    judge topic "$broker" partitions-in 4
    produce partitions-in 0 700000 0
    router "$default_bin" partitions
    produce partitions-in 700000 300000 0
    check partitions once
    router_stop
}

# A stop in order in mid-stream, twice: nothing lost, nothing doubled.
sigterm() {
    judge topic "$broker" sigterm-in 4
    produce sigterm-in 0 1000000 200000 &
    local producer=$!
    for count in 100000 500000; do
        router "$default_bin" sigterm
        routed sigterm "$count"
        router_stop
    done
    router "$default_bin" sigterm
    wait "$producer" || fail "the producer"
    check sigterm once
    router_stop
}

# SIGKILL in mid-stream: nothing lost. (The group waits for the one that is gone as long as its session's timeout.)
killed() {
    judge topic "$broker" killed-in 1
    produce killed-in 0 1000000 200000 &
    local producer=$!
    router "$default_bin" killed "--$CONSUMER.session.timeout.ms=6000"
    routed killed 300000
    router_kill
    router "$default_bin" killed "--$CONSUMER.session.timeout.ms=6000"
    wait "$producer" || fail "the producer"
    check killed least
    router_stop
}

# The broker stops and starts in mid-stream: alive all the time, unready meanwhile, and then everything once.
broker_restart() {
    judge topic "$broker" restart-in 4
    produce restart-in 0 1000000 0
    router "$default_bin" restart
    routed restart 100000
    broker_stop
    until_true 30 not probe readiness || fail "ready without a broker"
    probe liveness || fail "dead without a broker"
    broker_start
    probe liveness || fail "dead after the broker came back"
    ready
    check restart once
    router_stop
}

# 10,000 values of all kinds: none stops it, all are found again.
random() {
    router "$default_bin" random
    ready
    judge random "$broker" random-in "${SEED:-$(date +%s)}" 10000 || fail "produce"
    check random once
    router_stop
}

# Nothing but dead letters: all of them arrive, and the log stays short.
poison_flood() {
    router "$default_bin" poison --parity-router.invalid=dlq
    ready
    for seed in 1 2 3; do judge random "$broker" poison-in "$seed" 20000 || fail "produce"; done
    check poison once
    router_stop
    local lines
    lines=$(grep -c 'dead-letter topic' "$router_log")
    [ "$lines" -lt 120 ] || fail "$lines lines about dead letters"
}

# A record that fits its topic, but not with the prefix in front: a dead letter, and the stream goes on.
large() {
    router "$default_bin" large
    ready
    judge large "$broker" large-in 1048510 || fail "produce"
    produce large-in 0 1000 0
    routed large 1000
    judge await "$broker" error.large-in.large 1 || fail "no dead letter"
    router_stop
    grep -q '1001 records in, 500 even, 500 odd, 1 dead-lettered' "$router_log" || fail "counts"
}

# Several inputs, none of which is there.
topics() {
    router "$default_bin" topics "--spring.cloud.stream.bindings.input.destination=topics-a, topics-b" \
        --spring.cloud.stream.kafka.binder.minPartitionCount=3
    ready
    produce topics-a 0 1000 0
    produce topics-b 1000 1000 0
    judge check "$broker" topics-a,topics-b topics-even topics-odd error topics least full || fail "judged"
    judge partitions "$broker" topics-b 3 || fail "minPartitionCount"
    router_stop
    local status=0
    router "$default_bin" missing --spring.cloud.stream.kafka.binder.autoCreateTopics=false
    until_true 20 grep -q 'missing topics: missing-in, missing-even, missing-odd' "$router_log" || fail "missing topics are not told"
    probe readiness && fail "ready without topics"
    router_stop
}

# The router is there first, alive but not ready.
late_broker() {
    broker_stop
    router "$default_bin" late
    until_true 20 grep -q 'waiting: ' "$router_log" || fail "it does not tell that it waits"
    probe liveness || fail "dead without a broker"
    probe readiness && fail "ready without a broker"
    broker_start
    ready
    produce late-in 0 1000 0
    check late once
    router_stop
}

# An empty group: what comes is routed, what was there is not, nothing is committed.
anonymous() {
    judge topic "$broker" anonymous-in 1
    produce anonymous-in 0 1000 0
    router "$default_bin" anonymous --spring.cloud.stream.bindings.input.group=
    ready
    # "Latest" is looked up after the assignment: written until something arrives.
    local from=1000
    until [ "$(judge count "$broker" anonymous-even,anonymous-odd)" -gt 0 ]; do
        produce anonymous-in "$from" 10 0
        from=$((from + 10))
        [ "$from" -lt 3000 ] || fail "nothing arrives"
    done
    router_stop
    local input
    input=$(sed -n 's/.*stopped: \([0-9]*\) records in.*/\1/p' "$router_log")
    [ "$input" -gt 0 ] && [ "$input" -le $((from - 1000)) ] || fail "$input records read, $((from - 1000)) came after the start"
    judge uncommitted "$broker" anonymous || fail "committed"
}

# The recipe's own arguments and environment; and what Data Flow's local platform passes.
recipe() {
    router_log=$(new_log recipe)
    env -i SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS="PLAINTEXT://$broker" SPRING_CLOUD_STREAM_KAFKA_BINDER_ZK_NODES=zk:2181 \
        SPRING_CLOUD_APPLICATION_GUID=guid SPRING_CLOUD_APPLICATION_GROUP=recipe SERVER_PORT=0 "$default_bin" \
        --spring.cloud.stream.bindings.input.destination=recipe-in --spring.cloud.stream.bindings.even.destination=recipe-even \
        --spring.cloud.stream.bindings.odd.destination=recipe-odd --spring.cloud.dataflow.stream.name=recipe \
        --spring.cloud.dataflow.stream.app.label=python-router >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'partitions assigned: ' "$router_log" || fail "no partitions"
    produce recipe-in 0 100 0
    routed recipe 100
    router_stop
    router_log=$(new_log recipe)
    env -i SPRING_APPLICATION_JSON="$(sed -e "s/127.0.0.1:9092/$broker/; s/19548/0/; s/timeStampStream/recipe/g; s/timeDest/recipe-in/; \
        s/evenDest/recipe-even/; s/oddDest/recipe-odd/" "$root/tests/fixtures/spring-application-json.json")" \
        "$default_bin" -Xmx64m -jar router-1.0.jar >"$router_log" 2>&1 &
    router_pid=$!
    started+=("$router_pid")
    until_true 20 grep -q 'partitions assigned: ' "$router_log" || fail "no partitions"
    produce recipe-in 100 100 0
    check recipe once
    router_stop
}

# Two routers share four partitions; one is stopped in mid-stream: nothing lost, nothing doubled. Then both at once.
sharing() {
    judge topic "$broker" sharing-in 4
    router "$default_bin" sharing
    local first=$router_pid
    ready
    router "$default_bin" sharing
    ready
    local second=$router_pid
    produce sharing-in 0 1000000 200000 &
    local producer=$!
    routed sharing 300000
    router_stop
    routed sharing 600000
    router "$default_bin" sharing
    local third=$router_pid
    wait "$producer" || fail "the producer"
    check sharing once
    router_pid=$first
    kill -TERM "$third"
    router_stop
    wait "$third" || fail "the third router ended with $?"
    forget "$third"
}

# The recipe's whole stream of our roles: every time is routed and printed once, with each client that the broker takes.
stream() {
    local client name logs count lane prefix
    for client in native librdkafka kafka; do
        [[ $version == 4.* && $client == kafka ]] && continue
        name=stream-$client
        # The client `kafka` cannot make them.
        for topic in in even odd error; do judge topic "$broker" "$name-$topic" 1; done
        logs=()
        for lane in even odd; do
            launch "$name-$lane" "$default_bin" log "--parity-router.client=$client" --log.name="$lane" \
                "--spring.cloud.stream.bindings.input.destination=$name-$lane" "--spring.cloud.stream.bindings.input.group=$name-$lane"
            logs+=("$router_pid:$router_log")
            ready
        done
        router "$default_bin" "$name" "--parity-router.client=$client" \
            "--spring.cloud.stream.kafka.bindings.input.consumer.dlqName=$name-error"
        local routing=$router_pid:$router_log
        ready
        launch "$name-time" "$default_bin" time "--parity-router.client=$client" --spring.integration.poller.fixed-rate=2ms \
            --time.date-format=HH:mm:ss.SSSSSSSSS "--spring.cloud.stream.bindings.output.destination=$name-in"
        ready
        routed "$name" 2000
        router_stop
        count=$(judge count "$broker" "$name-in")
        grep -q "stopped: $count times sent" "$router_log" || fail "times sent are not the $count there"
        routed "$name" "$count"
        for lane in even odd; do
            [ $lane = even ] && prefix='Even timestamp: ' || prefix='Odd timestamp:'
            local entry=${logs[0]}
            logs=("${logs[@]:1}")
            router_pid=${entry%%:*} router_log=${entry#*:}
            count=$(judge count "$broker" "$name-$lane")
            printed() { [ "$(grep -c "\[consumer\] $lane : ${prefix}[0-9:.]*$" "$router_log")" -ge "$count" ]; }
            until_true 30 printed || fail "fewer than $count lines"
            router_stop
            grep -q "stopped: $count records in, $count printed" "$router_log" || fail "lines are not the $count records there"
            [ "$(grep -o "${prefix}.*" "$router_log" | sort | uniq -d | wc -l)" = 0 ] || fail "printed twice"
        done
        router_pid=${routing%%:*} router_log=${routing#*:}
        router_stop
    done
}

# The small build with its only client; and the client `kafka`, of the default build; on Kafka 4 its clear refusal.
small() {
    local bin=$default_bin name=small-kafka
    a_million "$small_bin" small --parity-router.client=native
    if [[ $version == 4.* ]]; then
        router "$bin" "$name" --parity-router.client=kafka
        local status=0
        wait "$router_pid" || status=$?
        forget "$router_pid"
        [ "$status" = 1 ] || fail "ended with $status"
        grep -q 'the client `kafka` sends version 0, which Kafka 4.0 removed (KIP-896): use parity-router.client=' "$router_log" ||
            fail "no clear refusal"
        ! grep -q 'failed to fill whole buffer\|UnexpectedEOF' "$router_log" || fail "an unclear refusal"
        return
    fi
    judge topic "$broker" "$name-in" 2
    for topic in even odd; do judge topic "$broker" "$name-$topic" 1; done
    judge topic "$broker" "error.$name-in.$name" 1
    produce "$name-in" 0 400000 100000 &
    local producer=$!
    router "$bin" "$name" --parity-router.client=kafka
    routed "$name" 100000
    router_stop
    router "$bin" "$name" --parity-router.client=kafka
    wait "$producer" || fail "the producer"
    check "$name" once small
    produce "$name-in" 400000 200000 100000 &
    producer=$!
    routed "$name" 450000
    router_kill
    router "$bin" "$name" --parity-router.client=kafka
    wait "$producer" || fail "the producer"
    check "$name" least small
    router_stop
}
