# Scenarios of consumer groups: who reads which partitions when members come and go. Sourced by `run`, as `basic.sh` is.

CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties

# One group of three: a router with each client, and Java's consumer, which routes too (`Member.java`). They come and go in an order drawn
# by the seed, in order or killed, for each strategy, once with Java and once with the router as the first, which then is the leader and
# assigns. Whenever the group has settled, each of twelve partitions is owned by exactly one, by their own account and the broker's; and of
# what is written all the while nothing is lost.
three() {
    RANDOM=${SEED:-$(date +%s)}
    say "seed ${SEED:-$RANDOM}"
    [ -z "${SEED:-}" ] || RANDOM=$SEED
    local strategy leader
    asking
    for strategy in range roundrobin cooperative-sticky; do
        for leader in java native; do three_members "three-$strategy-$leader" "$strategy" "$leader"; done
    done
}

three_members() {
    local name=$1 strategy=$2 leader=$3 change number=0 other produced=0
    local -A pids=() logs=()
    ask topic "$broker" "$name-in" 12 || fail "topic"
    for topic in even odd; do ask topic "$broker" "$name-$topic" 1 || fail "topic"; done
    ask topic "$broker" "error.$name-in.$name" 1 || fail "topic"
    come "$leader"
    settle
    for other in java native librdkafka; do [ "$other" = "$leader" ] || come "$other"; done
    settle
    for change in 1 2 3 4 5 6; do
        # One of them: one that is away comes, one that is there goes, but not the last.
        while true; do
            local all=(java native librdkafka) one
            one=${all[RANDOM % 3]}
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
    ask check "$broker" "$name-in" "$name-even" "$name-odd" error "$name" least full || fail "judged"
    for one in "${!pids[@]}"; do go "$one" TERM; done
}

# A member comes to the group of `three_members`.
come() {
    say "$name: $1 comes"
    case $1 in
        java)
            local class
            case $strategy in
                range) class=RangeAssignor ;;
                roundrobin) class=RoundRobinAssignor ;;
                *) class=CooperativeStickyAssignor ;;
            esac
            router_log=$(new_log "$name-java")
            java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$classes:$judge_libs/*" Judge member "$broker" "$name" "$name-in" \
                "$name-even" "$name-odd" session.timeout.ms=6000 heartbeat.interval.ms=1000 \
                "partition.assignment.strategy=org.apache.kafka.clients.consumer.$class" >"$router_log" 2>>"$work/judge.log" &
            router_pid=$!
            started+=("$router_pid")
            ;;
        *)
            router "$default_bin" "$name" "--parity-router.client=$(client_of "$1")" "--$CONSUMER.session.timeout.ms=6000" \
                "--$CONSUMER.heartbeat.interval.ms=1000" "--$CONSUMER.partition.assignment.strategy=$strategy"
            ;;
    esac
    pids[$1]=$router_pid
    logs[$1]=$router_log
}

# One of them goes, in order or not.
go() {
    say "$name: $1 goes by SIG$2"
    router_pid=${pids[$1]} router_log=${logs[$1]}
    unset "pids[$1]" "logs[$1]"
    if [ "$2" = KILL ]; then
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
    ask produce "$broker" "$name-in" "$produced" 3000 0 >/dev/null || fail "produce"
    produced=$((produced + 3000))
    ask settled "$broker" "$name" "$name-in" "${logs[@]}" || fail "the group does not settle"
}
