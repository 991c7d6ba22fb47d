//! The small build reports what it does not include.

use crate::process::run;

#[test]
fn a_client_that_is_not_included() {
    for client in ["librdkafka", "kafka"] {
        let output = run(&[&format!("--parity-router.client={client}")]);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        let problem = format!(
            "parity-router.client (argument --parity-router.client): this build does not include the client \"{client}\""
        );
        assert!(err.contains(&problem), "{err}");
    }
}

#[test]
fn the_demo_is_not_included() {
    let output = run(&["demo"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("demo: its embedded broker is in the default build"),
        "{err}"
    );
}
