//! The program as a child process: its log, its actuator, its exit.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest wait for a condition. A group removes a killed member after its session timeout of 45 s, and a busy machine with two cores runs
/// all tests at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// Waits until `condition` returns `Some`. Panics with `what` and `state` after the longest wait.
pub(crate) fn eventually<T>(
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
    state: impl Fn() -> String,
) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < until,
            "waited {DEADLINE:?} for {what}\n{}",
            state()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Read lock while a child starts, write lock while the port of a broker must be free. Between fork and exec a child has a copy of every
/// descriptor, including the listeners of other tests' brokers, and such a port stays in use although it is closed here.
static BEGINNING: RwLock<()> = RwLock::new(());

/// Starts a child, which runs when this returns. All tests start children with this function.
pub(crate) fn begin(command: &mut Command) -> Child {
    let _beginning = BEGINNING.read().unwrap();
    command.spawn().unwrap()
}

/// Runs a child until it exits.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = begin(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    child.wait_with_output().unwrap()
}

/// Calls a function while no child starts.
pub(crate) fn while_none_begins<T>(act: impl FnOnce() -> T) -> T {
    let _beginning = BEGINNING.write().unwrap();
    act()
}

/// Returns the program with an empty environment, so that no variable of the caller becomes a property.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parity-router"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program until it exits.
pub(crate) fn run(arguments: &[&str]) -> Output {
    finish(&mut command(arguments))
}

/// Returns an address on which nothing listens.
pub(crate) fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A running program. It is killed when dropped.
pub(crate) struct Router {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Threads that collect the two output streams.
    readers: Vec<JoinHandle<()>>,
    port: u16,
}

impl Router {
    /// Starts the program and waits until its actuator listens.
    pub(crate) fn start(arguments: &[String]) -> Self {
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(["--server.port=0"])
            .collect();
        Self::spawn(&mut command(&arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = begin(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), &lines),
            collect(child.stderr.take().unwrap(), &lines),
        ];
        let mut router = Self {
            child,
            lines,
            readers,
            port: 0,
        };
        let line = router.wait_for("actuator on port ");
        router.port = line.rsplit(' ').next().unwrap().parse().unwrap();
        router
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a log line that contains `part`, and returns it.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let find = || {
            self.lines
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains(part))
                .cloned()
        };
        eventually(&format!("a line with {part:?}"), find, || self.log())
    }

    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Returns status and body of a response, or `None` without one.
    pub(crate) fn get(&self, path: &str) -> Option<(i32, String)> {
        let answer = minreq::get(format!("http://127.0.0.1:{}{path}", self.port))
            .with_timeout(5)
            .send()
            .ok()?;
        Some((answer.status_code, answer.as_str().unwrap().to_owned()))
    }

    pub(crate) fn post(&self, path: &str) -> Option<(i32, String)> {
        let answer = minreq::post(format!("http://127.0.0.1:{}{path}", self.port))
            .with_timeout(5)
            .send()
            .ok()?;
        Some((answer.status_code, answer.as_str().unwrap().to_owned()))
    }

    pub(crate) fn wait_for_status(&self, path: &str, status: i32) {
        let ask = || self.get(path).filter(|(found, _)| *found == status);
        eventually(&format!("status {status} of {path}"), ask, || self.log());
    }

    pub(crate) fn wait_until_ready(&self) {
        self.wait_for_status("/actuator/health/readiness", 200);
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = finish(Command::new("kill").args([&format!("-{signal}"), &pid]));
        assert!(sent.status.success());
    }

    /// Waits until the program exits.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let lines = self.lines.clone();
        let status = eventually(
            "the end",
            || self.child.try_wait().unwrap(),
            || lines.lock().unwrap().join("\n"),
        );
        // The collecting threads may not have read the last lines yet.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Sends SIGTERM and checks that the program exits with 0 and, for a router, that all records read are accounted for. Returns the log.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        let stopped = log.lines().find_map(|line| line.split_once("stopped: "));
        if let Some((_, books)) = stopped.filter(|(_, books)| books.contains(" even, ")) {
            let counts: Vec<u64> = books
                .split(", ")
                .filter_map(|count| count.split(' ').next()?.parse().ok())
                .collect();
            // Records lost to retention were not read.
            let [input, even, odd, dead, skipped, ..] = counts[..] else {
                panic!("{log}");
            };
            assert_eq!(input, even + odd + dead + skipped, "{log}");
        }
        log
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}

/// Opens a connection to the actuator and sends these bytes, then nothing.
pub(crate) fn stuck_client(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}
