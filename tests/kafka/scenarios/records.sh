# Scenarios of unusual input records and of the form of the output records. Sourced by `run`, which calls each scenario by its name in a
# subshell.

# Runs two routers, one with each client, on the same topics full of unusual records (`Oddities.java`): one part exists before they start,
# one is written while they run. The outputs of both are what Java's consumer says they must be, and equal record by record, in order, dead
# letters included. There are two exceptions. librdkafka takes a timestamp of 0 for none and sets the current time, which `same` and `check`
# accept. And the librdkafka of this build does not read zstd, so zstd has topics of its own, which only the native client reads.
differential() {
    local seed=${SEED:-$(date +%s)} codecs=none,gzip,snappy,lz4 large=max.message.bytes=12000000 kind topic fidelity routers=() differing=()
    # Batches may be larger here than in the outputs, and larger than a client's fetch size.
    judge topic "$broker" diff-plain 1 "$large"
    judge topic "$broker" diff-zstd 1 "$large"
    judge topic "$broker" diff-append 1 "$large" message.timestamp.type=LogAppendTime
    judge topic "$broker" diff-compact 1 cleanup.policy=compact segment.ms=5000 min.cleanable.dirty.ratio=0.001
    judge compacted "$broker" diff-compact "$seed" "$codecs" || fail "the topic is not compacted"
    for kind in plain append; do judge oddities "$broker" "diff-$kind" "$seed" "$codecs" || fail "produce failed"; done
    for kind in plain append compact; do
        start_differing "$kind" native
        start_differing "$kind" librdkafka
    done
    for kind in plain append; do judge oddities "$broker" "diff-$kind" $((seed + 1)) "$codecs" || fail "produce failed"; done
    judge oddities "$broker" diff-zstd "$seed" zstd || fail "produce failed"
    start_differing zstd native
    judge oddities "$broker" diff-zstd $((seed + 1)) zstd,none || fail "produce failed"
    for topic in "${differing[@]}"; do
        kind=${topic#diff-} kind=${kind%-*} fidelity=full
        [ "${topic##*-}" = librdkafka ] && fidelity=librdkafka
        judge check "$broker" "diff-$kind" "$topic-even" "$topic-odd" error "$topic" once "$fidelity" || fail "check failed"
    done
    for kind in plain append compact; do
        for topic in even odd; do
            judge same "$broker" "diff-$kind-native-$topic" "diff-$kind-librdkafka-$topic" || fail "the clients differ"
        done
        judge same "$broker" "error.diff-$kind.diff-$kind-native" "error.diff-$kind.diff-$kind-librdkafka" || fail "the clients differ"
    done
    routers_stop "${routers[@]}"
}

# Starts a router with client $2 on the topic of kind $1.
start_differing() {
    router "$default_bin" "diff-$1-$2" "--parity-router.client=$2" "--spring.cloud.stream.bindings.input.destination=diff-$1"
    routers+=("$router_pid:$router_log")
    differing+=("diff-$1-$2")
}

# Batches are compressed with the configured codec.
codecs() {
    local codec output name all=(none gzip snappy lz4 zstd) routers=() producer=producer.compressionType
    # The librdkafka of this build does not support zstd.
    [ "$client" = librdkafka ] && all=(none gzip snappy lz4)
    judge topic "$broker" codecs-in 1
    produce codecs-in 0 20000 0
    for codec in "${all[@]}"; do
        router "$default_bin" "codecs-$codec" --spring.cloud.stream.bindings.input.destination=codecs-in \
            "--spring.cloud.stream.kafka.bindings.even.$producer=$codec" "--spring.cloud.stream.kafka.bindings.odd.$producer=$codec"
        routers+=("$router_pid:$router_log")
    done
    produce codecs-in 20000 20000 0
    for codec in "${all[@]}"; do
        name=codecs-$codec
        judge check "$broker" codecs-in "$name-even" "$name-odd" error "$name" once full || fail "check failed"
        for output in even odd; do judge codec "$data/logs/$name-$output-0" "$codec" || fail "not compressed with $codec"; done
    done
    routers_stop "${routers[@]}"
}

# Writes to outputs with six partitions: records with a key go where Java's producer would put them, so that producers in both languages
# agree; those without a key are spread over all partitions.
keyed() {
    judge topic "$broker" keyed-in 1
    for topic in even odd; do judge topic "$broker" "keyed-$topic" 6; done
    produce keyed-in 0 "$(scaled 100000)" 0
    router "$default_bin" keyed
    judge random "$broker" keyed-in "${SEED:-$(date +%s)}" 10000 || fail "produce failed"
    produce keyed-in "$(scaled 100000)" "$(scaled 200000)" "$(scaled 100000)"
    check keyed once
    for topic in even odd; do judge keyed "$broker" "keyed-$topic" || fail "check failed"; done
    router_stop
}

# Reads the message formats before 0.11, v0 and v1, plain and compressed: the records are routed, or refused with a message that names the
# topic.
old_format() {
    local format name
    for format in 0.9.0 0.10.2; do
        name=old-$format
        judge topic "$broker" "$name-in" 1 "message.format.version=$format"
        judge plain "$broker" "$name-in" none,gzip,snappy,lz4 || fail "produce failed"
        router "$default_bin" "$name"
        done_with() { [ "$(judge count "$broker" "$name-even,$name-odd")" -ge 4000 ] || grep -Eq "$name-in.*format" "$router_log"; }
        until_true 60 done_with || fail "neither routed nor refused"
        if grep -Eq "$name-in.*format" "$router_log"; then
            grep -E "$name-in.*format" "$router_log" | head -1
            kill -9 "$router_pid" 2>/dev/null || true
            forget "$router_pid"
        else
            check "$name" once
            router_stop
        fi
    done
}
