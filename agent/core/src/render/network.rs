//! Services: the headless one of an app, and those of load balancers.

use serde_json::{Value, json};
use tidegate_schema::app::Workload;
use tidegate_schema::product::Protocol;
use tidegate_schema::scalar::PortReference;

use crate::desired::{DesiredObject, Layer};
use crate::render::scope::Scope;
use crate::site::{PlacedApp, PlacedLoadBalancer};

/// The headless Service that gives pods their names. A `StatefulSet` needs one even without ports.
pub(super) fn headless(scope: &Scope<'_>, app: &PlacedApp) -> Option<DesiredObject> {
    let own = app.app.name.as_str();
    if app.app.ports.is_empty() && app.app.workload != Workload::StatefulSet {
        return None;
    }
    let ports: Vec<Value> = app
        .app
        .ports
        .iter()
        .map(|port| {
            json!({
                "name": port.name, "port": port.port, "targetPort": port.name,
                "protocol": protocol(port.protocol),
            })
        })
        .collect();
    let body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": scope.metadata(own, Some(own), Some("standard")),
        "spec": {
            "type": "ClusterIP", "clusterIP": "None",
            "selector": scope.selector(own),
            "ports": (!ports.is_empty()).then_some(ports),
        },
    });
    Some(scope.object(body, Some(own), Layer::Support, &app.place))
}

/// The Service of a load balancer.
pub(super) fn load_balancer(scope: &Scope<'_>, balancer: &PlacedLoadBalancer) -> DesiredObject {
    let spec = &balancer.spec;
    let own = spec.app.as_str();
    let target = spec.target_port.clone().unwrap_or(PortReference::Number(spec.port));
    let body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": scope.metadata(spec.name.as_str(), Some(own), Some("load-balancer")),
        "spec": {
            "type": "LoadBalancer",
            "selector": scope.selector(own),
            "ports": [{
                "name": spec.name, "port": spec.port, "targetPort": target,
                "protocol": protocol(spec.protocol),
            }],
        },
    });
    scope.object(body, Some(own), Layer::Network, &balancer.place)
}

/// A protocol as Kubernetes writes it.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
