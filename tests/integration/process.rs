//! The program as a child process: its lines, its actuator, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest wait for anything that should happen. A group gives up a killed member after its session timeout of 45 s, and a busy machine of
/// two cores runs all tests at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// Waits until `condition` gives something; panics with `what` and `state` when it never does.
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

/// Read while a child begins, written while the port of a broker must not be in use. Between its fork and its exec a child has a copy of
/// every descriptor, listeners of other tests' brokers among them: closed here, such a port is still taken there.
static BEGINNING: RwLock<()> = RwLock::new(());

/// Starts a child; it has begun when this returns. The only way to start one here.
pub(crate) fn begin(command: &mut Command) -> Child {
    let _beginning = BEGINNING.read().unwrap();
    command.spawn().unwrap()
}

/// Runs a child to its end.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = begin(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    child.wait_with_output().unwrap()
}

/// Does something while no child begins.
pub(crate) fn while_none_begins<T>(act: impl FnOnce() -> T) -> T {
    let _beginning = BEGINNING.write().unwrap();
    act()
}

/// The program with a clean environment: nothing of the caller's is a property.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parity-router"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    finish(&mut command(arguments))
}

/// A port that was free a moment ago, for a broker that is not there.
pub(crate) fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A running router; killed when it is dropped.
pub(crate) struct Router {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Read its two streams to their end.
    readers: Vec<JoinHandle<()>>,
    port: u16,
}

impl Router {
    /// Starts it and waits until its actuator listens.
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

    /// The first line that has `part`, once there is one.
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

    /// Status and body; none where nothing answers.
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

    /// Its end, which is to come.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let lines = self.lines.clone();
        let status = eventually(
            "the end",
            || self.child.try_wait().unwrap(),
            || lines.lock().unwrap().join("\n"),
        );
        // Its last lines can still be on their way.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// SIGTERM; it is to end with 0, and of a router what came in is all accounted for.
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
            // What retention took before it was read is not among what came in.
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

/// A connection to the actuator that sends these bytes and then nothing.
pub(crate) fn stuck_client(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}
