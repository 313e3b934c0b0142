//! `listeners`, `advertised.listeners` and `listener.security.protocol.map` as one list.
//!
//! Controller listeners of a combined-roles Kafka file are recognised by
//! `controller.listener.names` and left out: clients have no use for them (`quorum.rs` has). Invariant: every
//! listener has a unique name and speaks PLAINTEXT, the only protocol of this release.

use std::collections::BTreeMap;

use crate::broker_values::BrokerValues;
use crate::error::ConfigError;

/// Where a socket listens or what clients are told. An empty host means every interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Upper case, as Kafka compares them.
    pub name: String,
    pub bind: Endpoint,
    /// `None`: tell clients the bound address, or the host's name where that is every interface.
    pub advertised: Option<Endpoint>,
}

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";

pub(crate) fn resolve(values: &BrokerValues) -> Result<Vec<Listener>, ConfigError> {
    let controllers = upper(values.list("controller.listener.names"));
    let protocols = protocol_map(values, &controllers)?;
    let mut advertised = BTreeMap::new();
    for (name, endpoint, text) in parse_list(values, ADVERTISED)? {
        if controllers.contains(&name) {
            continue;
        }
        if endpoint.host.is_empty() || endpoint.host == "0.0.0.0" || endpoint.host == "::" {
            let reason = "clients cannot connect to the meta-address; name a host".to_owned();
            return Err(ConfigError::BadListener { name: ADVERTISED, value: text, reason });
        }
        advertised.insert(name, (endpoint, text));
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for (name, bind, text) in parse_list(values, LISTENERS)? {
        let bad = |reason: String| ConfigError::BadListener {
            name: LISTENERS,
            value: text.clone(),
            reason,
        };
        if controllers.contains(&name) {
            continue;
        }
        match protocols.get(&name).map(String::as_str) {
            Some("PLAINTEXT") => {}
            Some(protocol) => {
                return Err(bad(format!(
                    "{protocol} is not part of this release, and a node that was asked for it does \
                     not listen in the clear instead; use a PLAINTEXT listener"
                )));
            }
            None => return Err(bad(format!("{PROTOCOLS} does not say what {name} speaks"))),
        }
        if listeners.iter().any(|l| l.name == name) {
            return Err(bad("each listener must have a different name".to_owned()));
        }
        if listeners.iter().any(|l| l.bind == bind && bind.port != 0) {
            return Err(bad("each listener must have a different port".to_owned()));
        }
        let advertised = advertised.remove(&name).map(|(endpoint, _)| endpoint);
        listeners.push(Listener { name, bind, advertised });
    }
    if let Some((name, (_, value))) = advertised.into_iter().next() {
        let reason = format!("listeners has no {name}");
        return Err(ConfigError::BadListener { name: ADVERTISED, value, reason });
    }
    if listeners.is_empty() {
        let reason = "no listener is left for clients".to_owned();
        let value = values.get(LISTENERS).unwrap_or_default().to_owned();
        return Err(ConfigError::BadListener { name: LISTENERS, value, reason });
    }
    Ok(listeners)
}

/// Where a combined-roles Kafka file puts the controller, if it names a listener for it.
pub(crate) fn controller(values: &BrokerValues) -> Result<Option<Endpoint>, ConfigError> {
    let controllers = upper(values.list("controller.listener.names"));
    let listeners = parse_list(values, LISTENERS)?;
    let first = listeners.into_iter().find(|(name, ..)| controllers.contains(name));
    let Some((name, endpoint, value)) = first else { return Ok(None) };
    let protocols = protocol_map(values, &controllers)?;
    match protocols.get(&name).filter(|protocol| *protocol != "PLAINTEXT") {
        None => Ok(Some(endpoint)),
        Some(protocol) => {
            let reason = format!(
                "{protocol} is not part of this release, and nodes that were asked for it do not \
                 meet in the clear instead; map {name} to PLAINTEXT"
            );
            Err(ConfigError::BadListener { name: LISTENERS, value, reason })
        }
    }
}

/// What `advertised.listeners` says of the controller listener.
pub(crate) fn advertised_controller(
    values: &BrokerValues,
) -> Result<Option<Endpoint>, ConfigError> {
    let controllers = upper(values.list("controller.listener.names"));
    let told = parse_list(values, ADVERTISED)?.into_iter();
    let of_controller = told.filter(|(name, ..)| controllers.contains(name));
    let mut endpoints = of_controller.map(|(_, endpoint, _)| endpoint);
    Ok(endpoints.find(|endpoint| !endpoint.host.is_empty() && endpoint.port != 0))
}

fn upper(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.to_ascii_uppercase()).collect()
}

fn protocol_map(
    values: &BrokerValues,
    controllers: &[String],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut map = BTreeMap::new();
    // Kafka maps controller names to PLAINTEXT by itself when nothing else is said
    map.extend(controllers.iter().map(|name| (name.clone(), "PLAINTEXT".to_owned())));
    let text = values.get(PROTOCOLS).unwrap_or_default();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let bad = |reason: &str| ConfigError::BadListener {
            name: PROTOCOLS,
            value: pair.to_owned(),
            reason: reason.to_owned(),
        };
        let (name, protocol) = pair.split_once(':').ok_or_else(|| bad("write NAME:PROTOCOL"))?;
        let protocol = protocol.trim().to_ascii_uppercase();
        if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            return Err(bad("protocols are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL"));
        }
        map.insert(name.trim().to_ascii_uppercase(), protocol);
    }
    Ok(map)
}

type Parsed = (String, Endpoint, String);

fn parse_list(values: &BrokerValues, key: &'static str) -> Result<Vec<Parsed>, ConfigError> {
    let parse = |text: String| match parse_endpoint(&text) {
        Some((name, endpoint)) => Ok((name, endpoint, text)),
        None => {
            let reason = "write NAME://host:port, as in PLAINTEXT://localhost:9092".to_owned();
            Err(ConfigError::BadListener { name: key, value: text, reason })
        }
    };
    values.list(key).into_iter().map(parse).collect()
}

/// `NAME://host:port`, `NAME://:port`, `NAME://[v6]:port`.
fn parse_endpoint(text: &str) -> Option<(String, Endpoint)> {
    let (name, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let valid_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let port = port.parse().ok().filter(|_| digits && valid_name)?;
    Some((name.to_ascii_uppercase(), Endpoint { host: host.to_owned(), port }))
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(text: &str) -> Result<Vec<Listener>, ConfigError> {
        resolve(&BrokerValues::from_properties(text)?.0)
    }

    #[test]
    fn endpoints_have_a_name_a_host_and_a_port() {
        let ok =
            |text: &str| parse_endpoint(text).map(|(n, e)| format!("{n} {} {}", e.host, e.port));
        assert_eq!(ok("plaintext://:9092").unwrap(), "PLAINTEXT  9092");
        assert_eq!(ok("A_b.c-1://h:0").unwrap(), "A_B.C-1 h 0");
        assert_eq!(ok("P://[::1]:9").unwrap(), "P ::1 9");
        for bad in ["", "P", "P://h", "P://h:", "P://h:+1", "P://h:65536", "://h:1", "P://::1:9"] {
            assert_eq!(ok(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_default_is_plaintext_on_every_interface() {
        let found = listeners("node.id=1").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bind, Endpoint { host: String::new(), port: 9092 });
        assert_eq!(found[0].advertised, None);
    }

    #[test]
    fn controller_listeners_are_left_out() {
        let text = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                    controller.listener.names=CONTROLLER\n\
                    advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n";
        let found = listeners(text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].advertised.as_ref().unwrap().to_string(), "localhost:9092");
    }

    #[test]
    fn a_listener_that_asks_for_tls_or_sasl_is_refused() {
        let text = "listeners=OUTSIDE://:9092\nlistener.security.protocol.map=OUTSIDE:SASL_SSL";
        let message = listeners(text).unwrap_err().to_string();
        assert!(message.contains("SASL_SSL is not part of this release"), "{message}");
        assert!(listeners("listeners=SSL://:9092").is_err());
        let unmapped = listeners("listeners=OUTSIDE://:9092").unwrap_err().to_string();
        assert!(unmapped.contains("does not say what OUTSIDE speaks"), "{unmapped}");
    }

    #[test]
    fn an_advertised_listener_must_exist_and_be_reachable() {
        for text in [
            "advertised.listeners=OTHER://localhost:9092",
            "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
            "advertised.listeners=PLAINTEXT://:9092",
            "listeners=PLAINTEXT://:1,PLAINTEXT://:2",
            "listeners=CONTROLLER://:1\ncontroller.listener.names=CONTROLLER",
        ] {
            assert!(listeners(text).is_err(), "{text}");
        }
    }
}
