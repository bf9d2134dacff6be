//! What a fresh sandbox holds: nodes, namespaces, storage classes and the standard roles.

use serde_json::{Value, json};

/// The namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// The objects of a fresh sandbox with `nodes` nodes, in the order in which they are to be created. Uids, versions
/// and creation times are the server's to fill.
pub fn seed(nodes: u32) -> Vec<Value> {
    let mut objects: Vec<Value> = NAMESPACES.iter().map(|name| namespace(name)).collect();
    objects.extend((1..=nodes).map(node));
    objects.extend([
        storage_class("standard", "sandbox.tidegate.dev/volume", "Immediate", true),
        storage_class(
            "open-local-lvm-default",
            "local.csi.aliyun.com",
            "WaitForFirstConsumer",
            false,
        ),
    ]);
    objects.extend([
        priority_class("system-cluster-critical", 2_000_000_000),
        priority_class("system-node-critical", 2_000_001_000),
    ]);
    objects.extend(roles());
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }));
    objects
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

/// One node of 8 processors and 32 GiB; nodes alternate between three zones.
fn node(number: u32) -> Value {
    let name = format!("node-{number}");
    let zone = ["zone-a", "zone-b", "zone-c"].get((number as usize - 1) % 3).copied();
    let (high, low) = (number / 256, number % 256);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": zone,
            },
            "annotations": {"sandbox.tidegate.dev/simulated": "true"},
        },
        "spec": {
            "podCIDR": format!("10.{}.{low}.0/24", 128 + high),
            "podCIDRs": [format!("10.{}.{low}.0/24", 128 + high)],
            "providerID": format!("sandbox://{name}"),
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": format!("192.168.{high}.{low}")},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": room(),
            "capacity": room(),
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID",
                    "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://sandbox",
                "kernelVersion": "sandbox",
                "kubeProxyVersion": "sandbox",
                "kubeletVersion": "sandbox",
                "machineID": name,
                "operatingSystem": "linux",
                "osImage": "sandbox",
                "systemUUID": name,
            },
        },
    })
}

fn room() -> Value {
    json!({"cpu": "8", "ephemeral-storage": "100Gi", "memory": "32Gi", "pods": "110"})
}

fn storage_class(name: &str, provisioner: &str, mode: &str, is_default: bool) -> Value {
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": mode,
        "allowVolumeExpansion": true,
    });
    if is_default {
        let mark = "storageclass.kubernetes.io/is-default-class";
        super::object::set_entry(&mut class, "metadata/annotations", mark, "true");
    }
    class
}

fn priority_class(name: &str, value: i64) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "globalDefault": false,
        "preemptionPolicy": "PreemptLowerPriority",
        "description": "Used for system critical pods.",
    })
}

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// The roles that Kubernetes gives people: everything; a namespace; its objects; a look at them.
fn roles() -> Vec<Value> {
    let work = [
        (
            "",
            vec![
                "configmaps",
                "endpoints",
                "events",
                "persistentvolumeclaims",
                "pods",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "serviceaccounts",
                "services",
            ],
        ),
        (
            "apps",
            vec![
                "daemonsets",
                "deployments",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
        ),
        ("autoscaling", vec!["horizontalpodautoscalers"]),
        ("batch", vec!["cronjobs", "jobs"]),
        ("policy", vec!["poddisruptionbudgets"]),
        ("networking.k8s.io", vec!["ingresses", "networkpolicies"]),
    ];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let mut view: Vec<Value> =
        work.iter().map(|(group, resources)| rule(group, resources, &READ)).collect();
    view.push(rule(
        "",
        &["namespaces", "limitranges", "resourcequotas", "pods/log", "pods/status"],
        &READ,
    ));
    view.push(rule("apps", &["controllerrevisions"], &READ));
    view.push(rule("discovery.k8s.io", &["endpointslices"], &READ));
    let mut edit: Vec<Value> =
        work.iter().map(|(group, resources)| rule(group, resources, &WRITE)).collect();
    edit.push(rule("", &["secrets"], &[&READ[..], &WRITE[..]].concat()));
    edit.push(rule("", &["pods/eviction"], &["create"]));
    edit.push(rule("", &["pods/attach", "pods/exec", "pods/portforward"], &["get", "create"]));
    edit.push(rule("", &["serviceaccounts"], &["impersonate"]));
    edit.push(rule("coordination.k8s.io", &["leases"], &[&READ[..], &WRITE[..]].concat()));
    edit.extend(view.iter().cloned());
    let all = [&READ[..], &WRITE[..]].concat();
    let mut admin = vec![
        rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], &all),
        rule("authorization.k8s.io", &["localsubjectaccessreviews"], &["create"]),
    ];
    admin.extend(edit.iter().cloned());
    let everything = vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ];
    let basic = vec![
        rule(
            "authorization.k8s.io",
            &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            &["create"],
        ),
        rule("authentication.k8s.io", &["selfsubjectreviews"], &["create"]),
    ];
    let public = vec![json!({
        "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"],
        "verbs": ["get"],
    })];
    let paths = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let discovery = vec![json!({"nonResourceURLs": paths, "verbs": ["get"]})];
    vec![
        role("cluster-admin", &everything),
        role("admin", &admin),
        role("edit", &edit),
        role("view", &view),
        role("system:basic-user", &basic),
        role("system:discovery", &discovery),
        role("system:public-info-viewer", &public),
        binding("cluster-admin", "system:masters"),
        binding("system:basic-user", "system:authenticated"),
        binding("system:discovery", "system:authenticated"),
        binding("system:public-info-viewer", "system:unauthenticated"),
    ]
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
        "rules": rules,
    })
}

fn binding(role: &str, group: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    })
}
