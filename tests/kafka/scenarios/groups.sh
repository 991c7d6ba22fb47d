# Scenarios of consumer groups: which member reads which partitions when members join and leave. Sourced by `run`, which calls each scenario
# by its name in a subshell.

CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties
# The maximum age of metadata, by Kafka's name and by librdkafka's.
METADATA_AGE=(--spring.cloud.stream.kafka.binder.configuration.metadata.max.age.ms=2000
    --spring.cloud.stream.kafka.binder.configuration.topic.metadata.refresh.interval.ms=2000)

# Groups of three members that use the classic protocol: a router with each client, and Java's consumer, which routes too (`Member.java`).
# They join and leave in an order drawn from the seed, with SIGTERM or SIGKILL, for each assignment strategy, once with Java and once with
# the router as the first member, which becomes the leader and assigns. After each rebalance, each of twelve partitions is owned by exactly
# one member, according to the members and to the broker; and no record that is produced meanwhile is lost.
classic_group() {
    draw_order
    local strategy leader
    for strategy in range roundrobin cooperative-sticky; do
        for leader in java native; do members "classic-$strategy-$leader" "$strategy" "$leader" java native librdkafka; done
    done
}

# The same with the consumer protocol (KIP-848), where the broker assigns, and with two routers of the same client.
kip848() {
    draw_order
    members kip848 consumer native java native native-2 librdkafka
}

# Seeds the random order of joins and leaves.
draw_order() {
    RANDOM=${SEED:=$(date +%s)}
    say "SEED=$SEED"
}

# Runs one group: its name, the assignment strategy or `consumer` for KIP-848, the first member, all members.
members() {
    local name=$1 strategy=$2 leader=$3 change other produced=0 settings mode=once one
    shift 3
    local all=("$@")
    local -A pids=() logs=()
    case $strategy in
        consumer) settings=(group.protocol=consumer) ;;
        *) settings=(session.timeout.ms=6000 heartbeat.interval.ms=1000 "partition.assignment.strategy=$(class_of "$strategy")") ;;
    esac
    judge topic "$broker" "$name-in" 12 || fail "topic"
    for topic in even odd; do judge topic "$broker" "$name-$topic" 1 || fail "topic"; done
    judge topic "$broker" "error.$name-in.$name" 1 || fail "topic"
    member_start "$leader"
    rebalanced
    for other in "${all[@]}"; do [ "$other" = "$leader" ] || member_start "$other"; done
    rebalanced
    for change in 1 2 3 4 5 6; do
        # Draws a member: it joins if it is not in the group, and leaves unless it is the last one.
        while true; do
            one=${all[RANDOM % ${#all[@]}]}
            [ -n "${pids[$one]:-}" ] && [ ${#pids[@]} = 1 ] || break
        done
        if [ -z "${pids[$one]:-}" ]; then
            member_start "$one"
        elif [ $((RANDOM % 3)) = 0 ]; then
            member_end "$one" KILL
        else
            member_end "$one" TERM
        fi
        rebalanced
    done
    judge check "$broker" "$name-in" "$name-even" "$name-odd" error "$name" "$mode" full || fail "check failed"
    for one in "${!pids[@]}"; do member_end "$one" TERM; done
}

class_of() {
    case $1 in
        range) echo org.apache.kafka.clients.consumer.RangeAssignor ;;
        roundrobin) echo org.apache.kafka.clients.consumer.RoundRobinAssignor ;;
        *) echo org.apache.kafka.clients.consumer.CooperativeStickyAssignor ;;
    esac
}

# Starts a member of the group of `members`.
member_start() {
    say "$name: $1 joins"
    if [ "$1" = java ]; then
        router_log=$(new_log "$name-java")
        java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$classes:$judge_libs/*" Serve Judge member "$broker" "$name" "$name-in" \
            "$name-even" "$name-odd" "${settings[@]}" >"$router_log" 2>>"$work/judge.log" &
        router_pid=$!
        started+=("$router_pid")
    else
        router "$default_bin" "$name" "--parity-router.client=${1%-2}" "${settings[@]/#/--$CONSUMER.}"
    fi
    pids[$1]=$router_pid
    logs[$1]=$router_log
}

# Ends a member with a signal. After SIGKILL, records that it had not committed are routed again.
member_end() {
    say "$name: $1 leaves by SIG$2"
    router_pid=${pids[$1]} router_log=${logs[$1]}
    unset "pids[$1]" "logs[$1]"
    if [ "$2" = KILL ]; then
        mode=least
        router_kill
    elif [ "$1" = java ]; then
        kill -TERM "$router_pid"
        wait "$router_pid" || true
        forget "$router_pid"
        grep -qx stopped "$router_log" || fail "the Java member did not shut down cleanly"
    else
        router_stop
    fi
}

# Waits for the end of a rebalance, while records are produced.
rebalanced() {
    judge produce "$broker" "$name-in" "$produced" 3000 0 >/dev/null || fail "produce failed"
    produced=$((produced + 3000))
    judge balanced "$broker" "$name" "$name-in" "${logs[@]}" || fail "the group does not become stable"
}

# Static members (KIP-345): one that restarts within the session timeout gets its partitions back at once, without a rebalance for the other
# one, whether it was stopped or killed.
static() {
    local other other_log how before from=20000
    judge topic "$broker" static-in 4 || fail "topic"
    router "$default_bin" static "--$CONSUMER.group.instance.id=other"
    other=$router_pid:$router_log other_log=$router_log
    router "$default_bin" static "--$CONSUMER.group.instance.id=one"
    judge produce "$broker" static-in 0 20000 0 || fail "produce failed"
    judge balanced "$broker" static static-in "$other_log" "$router_log" || fail "the group does not become stable"
    before=$(grep -c 'partitions \(assigned\|revoked\)' "$other_log")
    for how in router_stop router_kill; do
        "$how"
        judge produce "$broker" static-in "$from" 20000 0 || fail "produce failed"
        from=$((from + 20000))
        router "$default_bin" static "--$CONSUMER.group.instance.id=one"
        until_true 15 grep -q 'partitions assigned: static-in' "$router_log" || fail "$how: it does not get its partitions back"
        judge balanced "$broker" static static-in "$other_log" "$router_log" || fail "the group does not become stable"
    done
    judge check "$broker" static-in static-even static-odd error static least full || fail "check failed"
    [ "$(grep -c 'partitions \(assigned\|revoked\)' "$other_log")" = "$before" ] || { router_log=$other_log; fail "the other member was rebalanced"; }
    routers_stop "$router_pid:$router_log" "$other"
}

# Assigns partitions by instance index, without a group: each instance reads its own and continues at its committed offsets.
manual() {
    local start index routers manual=spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled
    judge topic "$broker" manual-in 6 || fail "topic"
    for start in 0 1 2; do
        routers=()
        for index in 0 1; do
            router "$default_bin" manual "--$manual=false" "--spring.cloud.stream.instanceIndex=$index" --spring.cloud.stream.instanceCount=2
            routers+=("$router_pid:$router_log")
            ready
            [ "$(grep -o 'manual-in-[0-9]' "$router_log" | sort -u | tr '\n' ' ')" = \
                "manual-in-$index manual-in-$((index + 2)) manual-in-$((index + 4)) " ] || fail "wrong partitions for instance $index"
        done
        judge produce "$broker" manual-in "$(scaled $((start * 60000)))" "$(scaled 60000)" 0 || fail "produce failed"
        judge check "$broker" manual-in manual-even manual-odd error manual once full || fail "check failed"
        routers_stop "${routers[@]}"
    done
}

# Reads partitions that are added to the topic, from their first record, after the next metadata refresh.
new_partitions() {
    judge topic "$broker" growing-in 1 || fail "topic"
    router "$default_bin" growing "${METADATA_AGE[@]}"
    ready
    judge produce "$broker" growing-in 0 1000 0 || fail "produce failed"
    judge await "$broker" growing-even,growing-odd 1000 || fail "not routed"
    judge grow "$broker" growing-in 4 || fail "new partitions"
    judge produce "$broker" growing-in 1000 3000 0 || fail "produce failed"
    until_true 20 grep -q 'partitions assigned: .*growing-in-3' "$router_log" || fail "the new partitions are not assigned"
    judge check "$broker" growing-in growing-even growing-odd error growing once full || fail "check failed"
    router_stop
}

# Committed offsets below the log start and beyond the end of the log: the group continues at the earliest record, and the log says so.
retention() {
    judge topic "$broker" retention-in 2 || fail "topic"
    judge produce "$broker" retention-in 0 6000 0 || fail "produce failed"
    judge commit "$broker" retention retention-in 0 1000 || fail "commit"
    judge commit "$broker" retention retention-in 1 5000 || fail "commit"
    judge delete-records "$broker" retention-in 0 1500 || fail "delete"
    router "$default_bin" retention
    judge await "$broker" retention-even,retention-odd 4500 || fail "not routed"
    judge check "$broker" retention-in retention-even retention-odd error retention once full || fail "check failed"
    router_stop
    # librdkafka logs nothing.
    [ "$client" = librdkafka ] && return
    for partition in 0 1; do
        grep -Eiq "retention-in-$partition.*(earliest|out of range)" "$router_log" || fail "the log does not say that partition $partition was reset"
    done
}

# The input topic is deleted and recreated while it is read: it is read from its first record again.
recreated() {
    judge topic "$broker" recreated-in 1 || fail "topic"
    router "$default_bin" recreated "${METADATA_AGE[@]}" \
        --spring.cloud.stream.kafka.binder.autoCreateTopics=false
    for topic in recreated-even recreated-odd error.recreated-in.recreated; do judge topic "$broker" "$topic" 1 || fail "topic"; done
    judge produce "$broker" recreated-in 0 1000 0 || fail "produce failed"
    judge await "$broker" recreated-even,recreated-odd 1000 || fail "not routed"
    judge delete-topic "$broker" recreated-in || fail "delete"
    judge topic "$broker" recreated-in 1 || fail "topic"
    judge produce "$broker" recreated-in 1000 500 0 || fail "produce failed"
    judge await "$broker" recreated-even,recreated-odd 1500 || fail "not routed"
    router_stop
}
