//! The node's settings as they are now: the start-up file under what was altered while the node runs.
//!
//! Lives on: every shard; changed when an image brings other broker configs. What topics inherit (retention, sizes) is
//! resolved by the image itself; here is what no topic has: connection limits, the cleaner's pause, the expiry of
//! producers. Source: Kafka's `DynamicBrokerConfig`.

use std::rc::Rc;
use std::sync::Arc;

use config::NodeConfig;

use super::{METADATA_SHARD, Shard};
use crate::metadata::Image;

impl Shard {
    /// The settings in force. What is not dynamic stands in `node.config` too.
    pub(crate) fn settings(&self) -> Rc<NodeConfig> {
        self.settings.borrow().clone()
    }

    /// Takes over broker configs that `image` has and `before` had not.
    pub(super) fn follow_settings(&self, before: &Image, image: &Image) {
        if Arc::ptr_eq(before.defaults(), image.defaults()) {
            return;
        }
        let settings = match NodeConfig::with_values((**image.defaults()).clone()) {
            Ok(settings) => settings,
            Err(error) => {
                return tracing::warn!(%error, "altered broker configs contradict each other and wait");
            }
        };
        if self.id == METADATA_SHARD {
            let limits = &settings.limits;
            let overrides = limits.address_overrides();
            self.node.connections.set(
                limits.connections_max,
                limits.connections_per_ip_max,
                overrides,
            );
        }
        if let Some(server) = &*self.running_server.borrow() {
            server.set_accepts_per_second(settings.limits.connection_rate_max);
        }
        self.settings.replace(Rc::new(settings));
    }
}
