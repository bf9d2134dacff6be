#!/usr/bin/env python3
"""Makes types.json from two published inputs of the Kubernetes project (Apache-2.0).

usage: from-published-schema.py DEFINITIONS.json KUBERNETES_SOURCE > types.json

DEFINITIONS.json holds the `definitions` of api/openapi-spec/swagger.json; KUBERNETES_SOURCE is any source tree of 1.20 or later,
read only for what OpenAPI does not tell: whether Go leaves an empty value out (`omitempty` and no pointer).
Descriptions are left out. One line per type, sorted.
"""
import json, re, sys, pathlib

definitions = json.load(open(sys.argv[1]))
definitions = definitions.get("definitions") or definitions.get("$defs") or definitions
source = pathlib.Path(sys.argv[2])

# type name -> field -> (pointer, omitempty)
go = {}
staging = source / "staging/src/k8s.io"
files = list((staging / "api").glob("*/*/types.go"))
files += [staging / "apimachinery/pkg/apis/meta/v1/types.go", staging / "apiextensions-apiserver/pkg/apis/apiextensions/v1/types.go",
          staging / "apiextensions-apiserver/pkg/apis/apiextensions/v1/types_jsonschema.go",
          staging / "kube-aggregator/pkg/apis/apiregistration/v1/types.go"]
for path in files:
    package = ".".join(path.parts[-3:-1])
    if path.parts[-5:-1] == ("pkg", "apis", "meta", "v1"): package = "meta.v1"
    text = path.read_text()
    for match in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
        fields = {}
        for line in match.group(2).splitlines():
            m = re.match(r'\s*(\w+)\s+(\S.*?)\s+`.*?json:"([^"]*)"', line)
            m2 = re.match(r'\s*([\w.]+)\s+`.*?json:"([^"]*)"', line)
            if m:
                name, *flags = m.group(3).split(",")
                if name: fields[name] = (m.group(2).startswith("*"), "omitempty" in flags)
            elif m2 and "inline" in m2.group(2): fields["+" + m2.group(1)] = None
            elif m2 and m2.group(2): fields[m2.group(2).split(",")[0]] = (False, True)
        go[f"{package}.{match.group(1)}"] = fields
def go_field(type_name, field):
    short = ".".join(type_name.split(".")[-3:])
    fields = go.get(short)
    if fields is None: return None
    if field in fields: return fields[field]
    for inline in fields:
        if inline.startswith("+"):
            target = ".".join(short.split(".")[:2]) + "." + inline[1:].split(".")[-1]
            found = go.get(target, {}).get(field)
            if found: return found
    return None

SPECIAL = {
  "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intOrString",
  "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time", "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microTime",
  "io.k8s.apimachinery.pkg.runtime.RawExtension": "any", "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
  "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "any",
  "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "any",
  "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "any",
  "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "any",
  "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any",
}
# Written although they are empty, which neither input tells: `omitempty` of a struct, and lists without it.
WRITTEN = {("Endpoint", "conditions"), ("Event", "eventTime"), ("Event", "reportingComponent"), ("Event", "reportingInstance"),
           ("ResourceFieldSelector", "divisor"), ("Role", "rules"), ("ClusterRole", "rules")}
used = set()
def base(s):
    if "allOf" in s and len(s["allOf"]) == 1: s = {**s["allOf"][0], **{k: v for k, v in s.items() if k != "allOf"}}
    t = s.get("type")
    if isinstance(t, list): t = next(x for x in t if x != "null")
    return s, t
def ref(s):
    name = s["$ref"].split("/")[-1]
    if name in SPECIAL: return SPECIAL[name]
    used.add(name)
    return {"ref": name}
def typ(s):
    s, t = base(s)
    if "$ref" in s: return ref(s)
    if t == "array":
        out = {"list": typ(s["items"])}
        strategy = s.get("x-kubernetes-patch-strategy", "")
        kind, keys = s.get("x-kubernetes-list-type"), s.get("x-kubernetes-list-map-keys")
        merge_key = s.get("x-kubernetes-patch-merge-key")
        if kind == "map": out["keys"] = keys
        elif kind == "set": out["set"] = True
        elif kind is None and "merge" in strategy:
            if merge_key: out["keys"] = [merge_key]
            else: out["set"] = True
        if strategy: out["strategy"] = strategy
        if merge_key: out["mergeKey"] = merge_key
        return out
    if t == "object":
        if "additionalProperties" in s and isinstance(s["additionalProperties"], dict):
            out = {"map": typ(s["additionalProperties"])}
            if s.get("x-kubernetes-map-type") == "atomic": out["atomic"] = True
            return out
        return "any" if not s.get("properties") else "any"
    if t == "string":
        return {"byte": "bytes", "date-time": "time", "int-or-string": "intOrString"}.get(s.get("format"), "string")
    return t or "any"

done = {}
roots = sorted(n for n, d in definitions.items() if d.get("x-kubernetes-group-version-kind") and not re.search(r"(alpha|beta)", n))
queue = [n for n in roots if not n.endswith("List") and not re.search(r"(Status|DeleteOptions|WatchEvent|APIGroup|APIVersions|APIResourceList)$", n)]
used.update(queue)
while used - set(done):
    name = sorted(used - set(done))[0]
    d = definitions[name]
    fields = {}
    for field, s in (d.get("properties") or {}).items():
        f = {"type": typ(s)}
        b, _ = base(s)
        if b.get("x-kubernetes-patch-strategy") and not (isinstance(f["type"], dict) and "list" in f["type"]): f["strategy"] = b["x-kubernetes-patch-strategy"]
        if b.get("x-kubernetes-map-type") == "atomic" and isinstance(f["type"], dict) and "ref" in f["type"]: f["atomic"] = True
        g = go_field(name, field)
        empties = isinstance(f["type"], dict) and ("list" in f["type"] or "map" in f["type"])
        if g is not None: omits = (not g[0]) and g[1]
        else: omits = empties
        if omits and not (isinstance(f["type"], dict) and "ref" in f["type"]): f["omit"] = True
        # Go writes a struct that is not a pointer even when it is empty; a time that is not set is written as null.
        # Kinds and templates that are newer than the source have the shape of all others.
        shaped = name in queue or name.endswith("TemplateSpec") or field == "jobTemplate"
        if g is None and shaped and field in ("metadata", "spec", "status", "jobTemplate") and isinstance(f["type"], dict) and "ref" in f["type"]:
            f["zero"] = True
        if g is None and name.endswith("Status") and field in (d.get("required") or []) and f["type"] in ("integer", "boolean"): f["zero"] = True
        if g is not None and not g[0] and (f["type"] == "time" or isinstance(f["type"], dict) and "ref" in f["type"]):
            f["zero"] = True
            f.pop("omit", None)
        # Counts in a status have no omitempty: a zero is written.
        if name.endswith("Status") and g is not None and not g[0] and not g[1] and f["type"] in ("integer", "boolean"): f["zero"] = True
        if (name.split(".")[-1], field) in WRITTEN:
            f["zero"] = True
            f.pop("omit", None)
        if b.get("enum"): f["enum"] = b["enum"]
        if "default" in b and b["default"] not in ({}, "", 0, False): f["default"] = b["default"]
        fields[field] = f
    out = {"fields": fields}
    if d.get("required"): out["required"] = sorted(d["required"])
    if d.get("x-kubernetes-map-type") == "atomic": out["atomic"] = True
    gvk = [g for g in d.get("x-kubernetes-group-version-kind") or [] if True]
    if name in queue and len(gvk) == 1: out["kind"] = [gvk[0]["group"], gvk[0]["version"], gvk[0]["kind"]]
    done[name] = out
print("{")
lines = [json.dumps(n) + ": " + json.dumps(done[n], separators=(",", ":"), sort_keys=True) for n in sorted(done)]
print(",\n".join(lines))
print("}")
