# Scenarios of consumer groups: who reads which partitions when members come and go. Sourced by `run`, as `basic.sh` is.

CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties
# The metadata's age by Kafka's own name, and by librdkafka's.
METADATA_AGE=(--spring.cloud.stream.kafka.binder.configuration.metadata.max.age.ms=2000
    --spring.cloud.stream.kafka.binder.configuration.topic.metadata.refresh.interval.ms=2000)

# One group of three: a router with each client, and Java's consumer, which routes too (`Member.java`). They come and go in an order drawn
# by the seed, in order or killed, for each strategy, once with Java and once with the router as the first, which then is the leader and
# assigns. Whenever the group has settled, each of twelve partitions is owned by exactly one, by their own account and the broker's; and of
# what is written all the while nothing is lost.
three() {
    draw
    local strategy leader
    for strategy in range roundrobin cooperative-sticky; do
        for leader in java native; do members "three-$strategy-$leader" "$strategy" "$leader" java native librdkafka; done
    done
}

# The same by the newer group protocol (KIP-848), where the broker assigns; with two routers of the same client.
kip848() {
    draw
    members kip848 consumer native java native native-2 librdkafka
}

# Sets what the order is drawn by.
draw() {
    RANDOM=${SEED:=$(date +%s)}
    say "SEED=$SEED"
}

# These members come to a group, the third argument first, and then come and go; the second argument is the strategy, or `consumer` for the
# newer protocol.
members() {
    local name=$1 strategy=$2 leader=$3 change other produced=0 settings mode=once
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
    come "$leader"
    settle
    for other in "${all[@]}"; do [ "$other" = "$leader" ] || come "$other"; done
    settle
    for change in 1 2 3 4 5 6; do
        # One of them: one that is away comes, one that is there goes, but not the last.
        while true; do
            local one=${all[RANDOM % ${#all[@]}]}
            [ -n "${pids[$one]:-}" ] && [ ${#pids[@]} = 1 ] || break
        done
        if [ -z "${pids[$one]:-}" ]; then
            come "$one"
        elif [ $((RANDOM % 3)) = 0 ]; then
            go "$one" KILL
        else
            go "$one" TERM
        fi
        settle
    done
    judge check "$broker" "$name-in" "$name-even" "$name-odd" error "$name" "$mode" full || fail "judged"
    for one in "${!pids[@]}"; do go "$one" TERM; done
}

class_of() {
    case $1 in
        range) echo org.apache.kafka.clients.consumer.RangeAssignor ;;
        roundrobin) echo org.apache.kafka.clients.consumer.RoundRobinAssignor ;;
        *) echo org.apache.kafka.clients.consumer.CooperativeStickyAssignor ;;
    esac
}

# A member comes to the group of `members`.
come() {
    say "$name: $1 comes"
    if [ "$1" = java ]; then
        router_log=$(new_log "$name-java")
        java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$classes:$judge_libs/*" Judge member "$broker" "$name" "$name-in" \
            "$name-even" "$name-odd" "${settings[@]}" >"$router_log" 2>>"$work/judge.log" &
        router_pid=$!
        started+=("$router_pid")
    else
        router "$default_bin" "$name" "--parity-router.client=${1%-2}" "${settings[@]/#/--$CONSUMER.}"
    fi
    pids[$1]=$router_pid
    logs[$1]=$router_log
}

# One of them goes, in order or not.
go() {
    say "$name: $1 goes by SIG$2"
    router_pid=${pids[$1]} router_log=${logs[$1]}
    unset "pids[$1]" "logs[$1]"
    if [ "$2" = KILL ]; then
        mode=least
        router_kill
    elif [ "$1" = java ]; then
        kill -TERM "$router_pid"
        wait "$router_pid" || true
        forget "$router_pid"
        grep -qx stopped "$router_log" || fail "Java's member did not stop in order"
    else
        router_stop
    fi
}

# While some records come, the group settles.
settle() {
    judge produce "$broker" "$name-in" "$produced" 3000 0 >/dev/null || fail "produce"
    produced=$((produced + 3000))
    judge settled "$broker" "$name" "$name-in" "${logs[@]}" || fail "the group does not settle"
}

# Static members (KIP-345): one that is gone for less than the session's timeout has its partitions back at once, and the other one is not
# disturbed, whether it was stopped or killed.
static() {
    local first one_log other_log how
    judge topic "$broker" static-in 4 || fail "topic"
    router "$default_bin" static "--$CONSUMER.group.instance.id=other"
    local other=$router_pid:$router_log other_log=$router_log
    router "$default_bin" static "--$CONSUMER.group.instance.id=one"
    judge produce "$broker" static-in 0 20000 0 || fail "produce"
    judge settled "$broker" static static-in "$other_log" "$router_log" || fail "the group does not settle"
    local before
    before=$(grep -c 'partitions \(assigned\|revoked\)' "$other_log")
    local from=20000
    for how in router_stop router_kill; do
        "$how"
        judge produce "$broker" static-in "$from" 20000 0 || fail "produce"
        from=$((from + 20000))
        router "$default_bin" static "--$CONSUMER.group.instance.id=one"
        until_true 15 grep -q 'partitions assigned: static-in' "$router_log" || fail "$how: its partitions are not back"
        judge settled "$broker" static static-in "$other_log" "$router_log" || fail "the group does not settle"
    done
    judge check "$broker" static-in static-even static-odd error static least full || fail "judged"
    [ "$(grep -c 'partitions \(assigned\|revoked\)' "$other_log")" = "$before" ] || { router_log=$other_log; fail "the other was disturbed"; }
    routers_stop "$router_pid:$router_log" "$other"
}

# No group shares the partitions out: each instance has its own by its index, and finds what it committed.
manual() {
    local round index routers manual=spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled
    judge topic "$broker" manual-in 6 || fail "topic"
    for round in 0 1 2; do
        routers=()
        for index in 0 1; do
            router "$default_bin" manual "--$manual=false" "--spring.cloud.stream.instanceIndex=$index" --spring.cloud.stream.instanceCount=2
            routers+=("$router_pid:$router_log")
            ready
            [ "$(grep -o 'manual-in-[0-9]' "$router_log" | sort -u | tr '\n' ' ')" = \
                "manual-in-$index manual-in-$((index + 2)) manual-in-$((index + 4)) " ] || fail "not the partitions of instance $index"
        done
        judge produce "$broker" manual-in $((round * 60000)) 60000 0 || fail "produce"
        judge check "$broker" manual-in manual-even manual-odd error manual once full || fail "judged"
        routers_stop "${routers[@]}"
    done
}

# Partitions that the topic gets while it is read are read too, from their first record, as soon as the metadata is asked for again.
new_partitions() {
    judge topic "$broker" growing-in 1 || fail "topic"
    router "$default_bin" growing "${METADATA_AGE[@]}"
    ready
    judge produce "$broker" growing-in 0 1000 0 || fail "produce"
    judge await "$broker" growing-even,growing-odd 1000 || fail "not routed"
    judge grow "$broker" growing-in 4 || fail "new partitions"
    judge produce "$broker" growing-in 1000 3000 0 || fail "produce"
    until_true 20 grep -q 'partitions assigned: .*growing-in-3' "$router_log" || fail "the new partitions are not assigned"
    judge check "$broker" growing-in growing-even growing-odd error growing once full || fail "judged"
    router_stop
}

# Offsets that the partition has no more, or not yet: the group goes on at the earliest record, and the log says so.
retention() {
    judge topic "$broker" retention-in 2 || fail "topic"
    judge produce "$broker" retention-in 0 6000 0 || fail "produce"
    judge commit "$broker" retention retention-in 0 1000 || fail "commit"
    judge commit "$broker" retention retention-in 1 5000 || fail "commit"
    judge delete-records "$broker" retention-in 0 1500 || fail "delete"
    router "$default_bin" retention
    judge await "$broker" retention-even,retention-odd 4500 || fail "not routed"
    judge check "$broker" retention-in retention-even retention-odd error retention once full || fail "judged"
    router_stop
    # librdkafka does so without a word.
    [ "$client" = librdkafka ] && return
    for partition in 0 1; do
        grep -Eiq "retention-in-$partition.*(earliest|out of range)" "$router_log" || fail "it does not say that partition $partition is reset"
    done
}

# A topic that is deleted and made again while it is read: read again from its first record.
recreated() {
    judge topic "$broker" recreated-in 1 || fail "topic"
    router "$default_bin" recreated "${METADATA_AGE[@]}" \
        --spring.cloud.stream.kafka.binder.autoCreateTopics=false
    for topic in recreated-even recreated-odd error.recreated-in.recreated; do judge topic "$broker" "$topic" 1 || fail "topic"; done
    judge produce "$broker" recreated-in 0 1000 0 || fail "produce"
    judge await "$broker" recreated-even,recreated-odd 1000 || fail "not routed"
    judge delete-topic "$broker" recreated-in || fail "delete"
    judge topic "$broker" recreated-in 1 || fail "topic"
    judge produce "$broker" recreated-in 1000 500 0 || fail "produce"
    judge await "$broker" recreated-even,recreated-odd 1500 || fail "not routed"
    router_stop
}
