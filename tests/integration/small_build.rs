//! What the small build cannot do it says.

use crate::process::run;

#[test]
fn a_client_that_it_has_not() {
    for client in ["librdkafka", "kafka"] {
        let output = run(&[&format!("--parity-router.client={client}")]);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        let problem = format!(
            "parity-router.client (argument --parity-router.client): this build has not the client {client}"
        );
        assert!(err.contains(&problem), "{err}");
    }
}

#[test]
fn a_demo_that_it_has_not() {
    let output = run(&["demo"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("demo: its embedded broker is in the default build"),
        "{err}"
    );
}
