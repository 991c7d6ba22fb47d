//! The dependency tree of the program contains no async runtime.

use std::process::Command;

use crate::process::finish;

#[test]
fn no_async_runtime() {
    for features in [&[][..], &["--no-default-features"]] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        cargo.args(features).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = finish(&mut cargo);
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && tree.starts_with("parity-router "),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in tree.lines() {
            let name = line.split(' ').next().unwrap();
            let runtime = [
                "tokio",
                "async-std",
                "smol",
                "async-executor",
                "async-io",
                "futures-executor",
                "embassy-executor",
            ]
            .contains(&name);
            assert!(
                !runtime && !name.starts_with("tokio-"),
                "{name} is in the tree: {features:?}"
            );
        }
    }
}
