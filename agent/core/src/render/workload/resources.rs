//! CPU, memory and GPU memory of a container, with overcommit (YL-060, YL-062).

use serde_json::{Map, Value, json};
use tidegate_schema::scalar::Quantity;

use crate::need::cores;
use crate::site::PlacedApp;

/// The resource by which the GPU sharing scheduler extender counts GPU memory, in GiB.
const GPU_MEMORY: &str = "aliyun.com/gpu-mem";

/// Limits are the size; requests are the size divided by the overcommit ratio.
pub(super) fn resources(app: &PlacedApp) -> Option<Value> {
    let ratio = app.app.overcommit.as_ref();
    let mut limits = Map::new();
    let mut requests = Map::new();
    if let Some(cpu) = &app.cpu {
        limits.insert("cpu".to_owned(), json!(cpu));
        let request = divided(cpu, ratio.and_then(|ratio| ratio.cpu), cores);
        requests.insert("cpu".to_owned(), json!(request));
    }
    if let Some(memory) = &app.memory {
        limits.insert("memory".to_owned(), json!(memory));
        let request = divided(memory, ratio.and_then(|ratio| ratio.memory), memory_text);
        requests.insert("memory".to_owned(), json!(request));
    }
    if let Some(gpu) = &app.app.gpu_memory {
        // Extended resources are whole and cannot be overcommitted: request and limit are equal.
        let gibibytes = gpu.milli().div_ceil(1_000 << 30).to_string();
        limits.insert(GPU_MEMORY.to_owned(), json!(gibibytes));
        requests.insert(GPU_MEMORY.to_owned(), json!(gibibytes));
    }
    (!limits.is_empty()).then(|| json!({"limits": limits, "requests": requests}))
}

/// The quantity as written when nothing divides it; otherwise the quotient, rounded up.
fn divided(quantity: &Quantity, ratio: Option<f64>, text: fn(u128) -> String) -> String {
    match ratio {
        Some(ratio) if ratio > 1.0 => {
            // In thousandths of the ratio, so that the rounding does not depend on the machine's floats.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the schema keeps the ratio between 1 and 100"
            )]
            let thousandths = (ratio * 1_000.0).round() as u128;
            text((quantity.milli() * 1_000).div_ceil(thousandths.max(1)))
        }
        _ => quantity.to_string(),
    }
}

fn memory_text(milli: u128) -> String {
    let bytes = milli.div_ceil(1_000);
    let units = [("Gi", 1_u128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    units
        .iter()
        .find(|(_, unit)| bytes.is_multiple_of(*unit))
        .map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2", Some(4.0), "500m")]
    #[case("4", Some(2.0), "2")]
    #[case("1", Some(3.0), "334m")]
    #[case("500m", None, "500m")]
    #[case("500m", Some(1.0), "500m")]
    fn cpu_requests_are_the_limit_by_the_ratio(
        #[case] limit: &str,
        #[case] ratio: Option<f64>,
        #[case] wanted: &str,
    ) {
        assert_eq!(divided(&Quantity::new(limit).unwrap(), ratio, cores), wanted);
    }

    #[rstest]
    #[case("4Gi", 2.0, "2Gi")]
    #[case("3Gi", 2.0, "1536Mi")]
    #[case("1G", 3.0, "333333334")]
    fn memory_requests_are_whole_bytes(
        #[case] limit: &str,
        #[case] ratio: f64,
        #[case] wanted: &str,
    ) {
        assert_eq!(divided(&Quantity::new(limit).unwrap(), Some(ratio), memory_text), wanted);
    }
}
