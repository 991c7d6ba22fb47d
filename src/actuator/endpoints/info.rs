//! Info endpoint: the application and its configuration, as the recipe's script reports them.

use serde_json::{Map, Value, json};

use crate::actuator::content_negotiation::Representation;
use crate::actuator::response::Response;
use crate::config::Info;

pub(super) fn info(representation: Representation, info: &Info) -> Response {
    match representation {
        Representation::Json(_) => Response::json(200, representation, &to_json(info)),
        Representation::Text => Response::text(200, to_text(info)),
    }
}

fn to_json(info: &Info) -> Value {
    json!({
        "app": {
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
        },
        info.role.name(): {
            "stream-name": info.stream_name,
            "app-name": info.app_label,
            "app-guid": info.app_guid,
            "app-group": info.app_group,
            "kafka-brokers": info.brokers,
            "kafka-zk": info.zk_nodes,
            "inputs": bindings(&info.inputs),
            "outputs": bindings(&info.outputs),
            "arguments": info.arguments,
        },
    })
}

/// Destinations by binding name.
fn bindings(bindings: &[(&'static str, String)]) -> Map<String, Value> {
    bindings
        .iter()
        .map(|(name, destination)| ((*name).to_owned(), destination.as_str().into()))
        .collect()
}

/// Equal to the response of the recipe's script in every byte, including its spaces at line ends and its unequal indents.
fn to_text(info: &Info) -> String {
    let Info {
        role: _,
        stream_name,
        app_label,
        app_guid,
        app_group,
        brokers,
        zk_nodes,
        inputs,
        outputs,
        arguments,
    } = info;
    let properties = format!(
        "  stream-name={stream_name}\n  app-name={app_label}\n  app-guid={app_guid}\n  app-group={app_group}\n  \
         kafka-brokers={brokers}\n  kafka-zk={zk_nodes}\n"
    );
    let list = |bindings: &[(&str, String)]| -> String {
        bindings
            .iter()
            .map(|(name, destination)| format!("    {name}={destination}\n"))
            .collect()
    };
    let channels = format!("  Inputs:\n{}  Outputs: \n{}", list(inputs), list(outputs));
    let arguments = arguments.join("\n   ");
    format!(
        "Properties\n{properties}\nChannels\n{channels}\nArguments\n  {arguments}\n\nEnvironment\n  "
    )
}
