//! Services: the headless one of an app, and those of load balancers.

use serde_json::{Value, json};
use tidegate_schema::app::Workload;
use tidegate_schema::product::Protocol;
use tidegate_schema::scalar::PortReference;

use crate::desired::Layer;
use crate::render::scope::{Draft, Part, Scope};
use crate::site::{PlacedApp, PlacedLoadBalancer, ScalingGroupMember};

/// The headless Service that gives pods their names. A `StatefulSet` needs one even without ports.
pub(super) fn headless<'a>(scope: &'a Scope<'a>, app: &'a PlacedApp) -> Option<Draft<'a>> {
    let own = app.app.name.as_str();
    if app.app.ports.is_empty() && app.app.workload != Workload::StatefulSet {
        return None;
    }
    let part = service(own.to_owned(), (own, app.member.as_ref()), "standard");
    Some(scope.object(part, Layer::Support, &app.place, move || {
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
        json!({"spec": {
            "type": "ClusterIP", "clusterIP": "None",
            "selector": scope.serving(own),
            "ports": (!ports.is_empty()).then_some(ports),
        }})
    }))
}

/// The Service of a load balancer.
pub(super) fn load_balancer<'a>(
    scope: &'a Scope<'a>,
    balancer: &'a PlacedLoadBalancer,
) -> Draft<'a> {
    let spec = &balancer.spec;
    let own = spec.app.as_str();
    let member = balancer.member.as_ref();
    let part = service(spec.name.to_string(), (own, member), "load-balancer");
    scope.object(part, Layer::Network, &balancer.place, move || {
        let target = spec.target_port.clone().unwrap_or(PortReference::Number(spec.port));
        json!({"spec": {
            "type": "LoadBalancer",
            "selector": scope.serving(own),
            "ports": [{
                "name": spec.name, "port": spec.port, "targetPort": target,
                "protocol": protocol(spec.protocol),
            }],
        }})
    })
}

fn service<'a>(
    name: String,
    (app, member): (&'a str, Option<&'a ScalingGroupMember>),
    component: &'a str,
) -> Part<'a> {
    Part { api_version: "v1", kind: "Service", name, app, member, component }
}

/// A protocol as Kubernetes writes it.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
