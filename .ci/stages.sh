# Runs the stages of .ci/run and .ci/nightly, which source this file.
#
# A stage is a command with a name. It passes if the command succeeds. `stage` runs one at once; the script ends if it fails, because later
# stages depend on it. `lane` runs several stages one after the other, beside the other lanes, so that suites that mostly wait leave the
# processor to builds. What a stage of a lane prints is shown when it ends, so that the outputs of two lanes do not mix.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Skips that are not listed are failures here (`skip` in tests/lib.sh), whoever runs this.
export CI=true
# All builds share this folder. The suites add folders of their own for other targets.
export CARGO_TARGET_DIR=$PWD/target CARGO_TERM_COLOR=never
# Incremental compilation and debug information only help the next build and a debugger.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG=line-tables-only
results=$(mktemp -d)
lanes=()

# Ends the lanes' process groups, with everything that they started, if the script is interrupted, and prints what their stages said so far.
end() {
    local lane output
    for lane in "${lanes[@]}"; do kill -TERM -- "-$lane" 2>/dev/null || true; done
    for output in "$results"/output.*; do
        [ ! -e "$output" ] || { echo "=== unfinished stage"; tail -n 200 "$output"; }
    done
    rm -rf "$results"
}
trap end EXIT
trap 'exit 130' INT TERM

# Runs a stage, `NAME COMMAND...`, sets $result and adds a line to the table. It is not called in a condition, where bash ignores `set -e`.
run_stage() {
    local name=$1 before=$SECONDS
    shift
    set +e
    (
        set -euo pipefail
        "$@"
    )
    [ $? = 0 ] && result=passed || result=failed
    set -e
    echo "=== $name: $result, $((SECONDS - before)) s"
    # One line and one write, which concurrent lanes do not mix.
    printf '%s|%s|%s\n' "$name" "$result" "$((SECONDS - before))" >>"$results/table"
}

stage() {
    echo "=== $1"
    run_stage "$@"
    [ "$result" = passed ] || finish_stages
}

# Starts a lane: one argument for each stage, its name, a colon and its command.
lane() {
    # Job control gives the lane its own process group.
    set -m
    (
        set +m
        trap - EXIT
        for entry in "$@"; do
            echo "=== ${entry%%:*}: started"
            output=$(mktemp "$results/output.XXXXXX")
            # The command is split at its spaces.
            run_stage "${entry%%:*}" ${entry#*:} >"$output" 2>&1
            flock "$results" cat "$output"
            rm "$output"
        done
    ) </dev/null &
    set +m
    lanes+=($!)
}

# Waits for all lanes.
join_lanes() {
    local lane
    for lane in "${lanes[@]}"; do wait "$lane" || echo "lane $lane, which ended early|failed|0" >>"$results/table"; done
    lanes=()
}

# Prints the table of all stages and ends the script: with status 1 if one failed.
finish_stages() {
    join_lanes
    local name result seconds passed=0 failed=0
    echo
    echo "| stage | result | seconds |"
    echo "|---|---|---|"
    while IFS='|' read -r name result seconds; do
        echo "| $name | $result | $seconds |"
        if [ "$result" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    done <"$results/table"
    echo "| all | | $SECONDS |"
    echo
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

# --- stages that both lists have ------------------------------------------------------------------------------------------------------

install_tools() {
    local packages=()
    command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || packages+=(gcc g++ make)
    command -v python3 >/dev/null || packages+=(python3)
    command -v javac >/dev/null && command -v mvn >/dev/null || packages+=(openjdk-17-jdk-headless maven)
    if [ ${#packages[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
    fi
    # Before the lanes, because one of them copies the toolchain and another one would install the target into it.
    rustup target add "$(uname -m)-unknown-linux-musl"
    rustc --version
    nproc
}

formatting() {
    cargo fmt --check
    scdf/package --check
    tests/structure/run
}

lints() { cargo clippy --locked --all-targets "$@" -- -D warnings; }

documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items; }

# Runs the README's test command as the README shows it.
readme_test_command() {
    local command
    command=$(sed -n '/<!-- test command -->/,/```$/p' README.md | sed -n '/^```sh$/,/^```$/p' | sed '1d;$d')
    [ -n "$command" ]
    echo "$command"
    bash -euo pipefail -c "$command"
}

# The small build's unit tests and the integration tests that are about it. Everything else in the integration tests runs the same code in
# the default build.
small_build_tests() {
    cargo test --locked --no-default-features --lib
    cargo test --locked --no-default-features --test integration small_build | tee "$results/small"
    # A filter that selects no test passes.
    grep -q '^test result: ok. [1-9]' "$results/small"
}

# Builds both programs once for all suites.
programs() {
    (
        root=$PWD suite=programs
        fail() { echo "$*" >&2; exit 1; }
        . tests/lib.sh
        build
        build_small
    )
}
export_programs() {
    local folder=$CARGO_TARGET_DIR/${PARITY_ROUTER_PROFILE:-ci}/bin
    export PARITY_ROUTER_BIN=$folder/parity-router PARITY_ROUTER_SMALL_BIN=$folder/parity-router-small
}
