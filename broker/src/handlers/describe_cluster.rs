//! DescribeCluster (key 60): the nodes as the requester's listener shows them (KIP-700, KIP-919, KIP-1073).

use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use protocol::{ErrorCode, StrBytes};

use super::{Call, authorized_operations};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers a request. A node is always asked as a broker: it has no controller of its own to show.
pub async fn handle(call: Call, request: DescribeClusterRequest) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an \
                           endpoint of type CONTROLLER";
            return refuse(ErrorCode::MismatchedEndpointType, message.into());
        }
        other => {
            let message = format!("Unsupported endpoint type {other}");
            return refuse(ErrorCode::UnsupportedEndpointType, message);
        }
    }
    let image = call.shard.image();
    let brokers =
        image.nodes.iter().filter(|(_, node)| !node.fenced || request.include_fenced_brokers);
    let brokers = brokers.filter_map(|(id, node)| {
        let (host, port) = node.endpoint(&call.connection.listener)?;
        let rack = node.rack.as_deref();
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(id.0))
            .with_host(StrBytes::from_string(host.to_owned()))
            .with_port(port.into())
            .with_is_fenced(node.fenced)
            .with_rack(rack.map(|rack| StrBytes::from_string(rack.to_owned())));
        Some(broker)
    });
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(image.cluster_id.to_string()))
        .with_controller_id(BrokerId(image.controller_node().0))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = authorized_operations::CLUSTER;
    }
    response
}

fn refuse(error: ErrorCode, message: String) -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
