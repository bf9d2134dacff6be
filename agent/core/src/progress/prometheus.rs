//! What an answer of Prometheus says of a check.
//!
//! An instant query gives values, or nothing. Only values that can be compared count: what is empty, no number, infinite,
//! not whole or an error is no data.

use serde::Deserialize;
use serde_json::Value;

use super::check::Verdict;
use crate::desired::PrometheusCheck;

/// How many values are told of those that are outside.
const TOLD: usize = 3;

/// An answer of the HTTP API (prometheus.io, "Querying API").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// An element of a vector.
#[derive(Deserialize)]
struct Element {
    metric: serde_json::Map<String, Value>,
    /// Absent where there is a histogram instead.
    value: Option<Sample>,
}

/// Time and value.
type Sample = (f64, String);

/// How a value is within the bounds.
enum Within {
    Yes,
    /// It is outside, and of which bound.
    No(String),
    /// It cannot be compared.
    Neither,
}

impl Verdict {
    /// What is to be said of what Prometheus answered: its status, and its document.
    pub fn of_measurement(check: &PrometheusCheck, status: u16, body: &str) -> Self {
        let told = |what: &str| format!("`{}`: {what}", check.query);
        match values(status, body) {
            Ok(values) => judge(check, &values),
            Err(why) => Self::Unknown(told(&why)),
        }
    }
}

/// The values of an answer with their labels; why there are none.
fn values(status: u16, body: &str) -> Result<Vec<(String, String)>, String> {
    let Ok(answer) = serde_json::from_str::<Answer>(body) else {
        return Err(format!("answered {status}, and not as Prometheus does"));
    };
    let data = match answer.data {
        Some(data) if answer.status == "success" && status < 300 => data,
        Some(_) | None => {
            return Err(format!("answered {status}: {} {}", answer.error_type, answer.error));
        }
    };
    if !answer.warnings.is_empty() {
        return Err(format!("the answer may not be whole: {}", answer.warnings.join("; ")));
    }
    let not_as = |error: serde_json::Error| format!("the answer cannot be read: {error}");
    let mut values = match data.result_type.as_str() {
        "vector" => {
            let elements: Vec<Element> = serde_json::from_value(data.result).map_err(not_as)?;
            let value = |element: Element| {
                let labels = labels(&element.metric);
                let value = element.value.ok_or_else(|| format!("{labels} is a histogram"))?.1;
                Ok((labels, value))
            };
            elements.into_iter().map(value).collect::<Result<Vec<_>, String>>()?
        }
        "scalar" => {
            let sample: Sample = serde_json::from_value(data.result).map_err(not_as)?;
            vec![(labels(&serde_json::Map::new()), sample.1)]
        }
        other => return Err(format!("it gives a {other} and no values of one instant")),
    };
    if values.is_empty() {
        return Err("it gives no data".to_owned());
    }
    // Prometheus says nothing of their order.
    values.sort();
    Ok(values)
}

fn judge(check: &PrometheusCheck, values: &[(String, String)]) -> Verdict {
    let (mut outside, mut neither) = (Vec::new(), Vec::new());
    for (labels, value) in values {
        match within(check, value) {
            Within::Yes => {}
            Within::No(bound) => outside.push(format!("{labels} is {value}, {bound}")),
            Within::Neither => neither.push(format!("{labels} is {value}, which says nothing")),
        }
    }
    let told = |all: &[String]| {
        let some = all.get(..TOLD).unwrap_or(all).join("; ");
        let more = match all.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("`{}`: {some}{more}", check.query)
    };
    if !outside.is_empty() {
        return Verdict::Fails(told(&outside));
    }
    if neither.is_empty() { Verdict::Holds } else { Verdict::Unknown(told(&neither)) }
}

/// An infinite value comes of a division by nothing: it may be outside, and is never well within.
fn within(check: &PrometheusCheck, text: &str) -> Within {
    let Some(value) = text.parse::<f64>().ok().filter(|value| !value.is_nan()) else {
        return Within::Neither;
    };
    match (&check.min, &check.max) {
        (Some(min), _) if value < min.value() => Within::No(format!("less than {min}")),
        (_, Some(max)) if value > max.value() => Within::No(format!("more than {max}")),
        _ if value.is_infinite() => Within::Neither,
        _ => Within::Yes,
    }
}

/// As `PromQL` writes them.
fn labels(metric: &serde_json::Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = metric.get("__name__").map(text).unwrap_or_default();
    let others = metric.iter().filter(|(label, _)| *label != "__name__");
    let mut others: Vec<String> =
        others.map(|(label, value)| format!("{label}={:?}", text(value))).collect();
    others.sort();
    format!("{name}{{{}}}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn check(min: Option<&str>, max: Option<&str>) -> PrometheusCheck {
        let number = |text: &str| serde_json::from_str(text).unwrap();
        PrometheusCheck {
            query: "q".to_owned(),
            min: min.map(number),
            max: max.map(number),
            after_seconds: 60,
            service: None,
        }
    }

    fn told(check: &PrometheusCheck, status: u16, body: &str) -> String {
        match Verdict::of_measurement(check, status, body) {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Fails(why) => format!("fails: {why}"),
            Verdict::Unknown(why) => format!("unknown: {why}"),
        }
    }

    fn vector(values: &[(&str, &str)]) -> String {
        let element = |(pod, value): &(&str, &str)| {
            let metric = json!({"__name__": "errors", "pod": pod, "job": "web"});
            json!({"metric": metric, "value": [1_435_781_451.781, value]})
        };
        let result: Vec<Value> = values.iter().map(element).collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
    }

    #[rstest]
    #[case::below("0.005", "holds")]
    #[case::at_the_upper_bound("0.01", "holds")]
    #[case::at_the_lower_bound("0", "holds")]
    #[case::as_go_writes_it("1e-05", "holds")]
    #[case::above("0.02", "fails: `q`: errors{job=\"web\", pod=\"a\"} is 0.02, more than 0.01")]
    #[case::below_zero("-1", "fails: `q`: errors{job=\"web\", pod=\"a\"} is -1, less than 0")]
    #[case::infinite("+Inf", "fails: `q`: errors{job=\"web\", pod=\"a\"} is +Inf, more than 0.01")]
    #[case::no_number("NaN", "unknown: `q`: errors{job=\"web\", pod=\"a\"} is NaN, which")]
    fn a_value_is_within_its_bounds(#[case] value: &str, #[case] wanted: &str) {
        let told = told(&check(Some("0"), Some("0.01")), 200, &vector(&[("a", value)]));
        assert!(told.starts_with(wanted), "{told}");
    }

    #[test]
    fn an_infinite_value_is_never_well_within() {
        let at_least = check(Some("1"), None);
        let told = |value| told(&at_least, 200, &vector(&[("a", value)]));
        assert!(told("+Inf").starts_with("unknown"), "{}", told("+Inf"));
        assert!(told("-Inf").starts_with("fails"), "{}", told("-Inf"));
        assert_eq!(told("1e+300"), "holds");
    }

    #[test]
    fn all_values_must_be_within_and_those_outside_are_told_in_order() {
        let at_most = check(None, Some("1"));
        let of = |values: &[(&str, &str)]| told(&at_most, 200, &vector(values));
        assert_eq!(of(&[("a", "1"), ("b", "0.5")]), "holds");
        let some = of(&[("e", "9"), ("d", "8"), ("x", "NaN"), ("a", "1"), ("c", "7"), ("b", "6")]);
        let each =
            |pod, value| format!("errors{{job=\"web\", pod=\"{pod}\"}} is {value}, more than 1");
        let wanted = [each("b", 6), each("c", 7), each("d", 8)].join("; ");
        assert_eq!(some, format!("fails: `q`: {wanted}; and 1 more"));
        let unknown = of(&[("a", "1"), ("x", "NaN")]);
        assert!(unknown.starts_with("unknown") && unknown.contains("is NaN"), "{unknown}");
    }

    #[test]
    fn a_scalar_is_a_value_too() {
        let body =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"2"]}}"#;
        assert_eq!(told(&check(None, Some("2")), 200, body), "holds");
        assert_eq!(told(&check(None, Some("1")), 200, body), "fails: `q`: {} is 2, more than 1");
    }

    #[rstest]
    #[case::empty(200, &vector(&[]), "it gives no data")]
    #[case::a_matrix(
        200,
        r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        "it gives a matrix"
    )]
    #[case::a_text(
        200,
        r#"{"status":"success","data":{"resultType":"string","result":[1435781451.781,"1"]}}"#,
        "it gives a string"
    )]
    #[case::a_histogram(
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1.0,{"count":"1","sum":"1","buckets":[]}]}]}}"#,
        "{} is a histogram"
    )]
    #[case::a_part(
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.0,"1"]}]},"warnings":["a store is away"]}"#,
        "the answer may not be whole: a store is away"
    )]
    #[case::a_mistake(
        400,
        r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:1: parse error"}"#,
        "answered 400: bad_data invalid parameter"
    )]
    #[case::too_late(
        503,
        r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#,
        "answered 503: timeout query timed out"
    )]
    #[case::an_error_that_has_data(
        422,
        r#"{"status":"error","errorType":"execution","error":"x","data":{"resultType":"scalar","result":[1.0,"1"]}}"#,
        "answered 422: execution x"
    )]
    #[case::a_page(200, "<html>Sign in</html>", "answered 200, and not as Prometheus does")]
    #[case::a_gateway(502, "Bad Gateway", "answered 502, and not as Prometheus does")]
    fn no_data_is_no_success(#[case] status: u16, #[case] body: &str, #[case] wanted: &str) {
        let told = told(&check(Some("-1000"), Some("1000")), status, body);
        assert!(told.starts_with(&format!("unknown: `q`: {wanted}")), "{told}");
    }

    #[test]
    fn what_is_only_worth_knowing_does_not_make_an_answer_unknown() {
        let mut body: Value = serde_json::from_str(&vector(&[("a", "1")])).unwrap();
        body["infos"] = json!(["PromQL info: metric might not be a counter"]);
        assert_eq!(told(&check(None, Some("1")), 200, &body.to_string()), "holds");
    }
}
