//! The rules of workloads: what keeps pods running, and what runs them to an end.

use super::place::Place;
use super::pod;
use crate::selector;
use crate::status::Cause;

/// What is wrong with a Deployment, `ReplicaSet`, `StatefulSet` or `DaemonSet`.
pub(super) fn check(kind: &str, spec: &Place<'_>, causes: &mut Vec<Cause>) {
    for name in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        spec.at(name).not_negative(causes);
    }
    let template = spec.at("template");
    if kind == "StatefulSet" {
        // The real server leaves the rest to the moment when a pod is made.
        pod::metadata(&template, causes);
        stateful_set(spec, causes);
    } else {
        pod::template(&template, causes);
        let deadline = template.at("spec").at("activeDeadlineSeconds");
        if deadline.is_there() {
            causes.push(deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
        }
    }
    selects(kind, spec, causes);
    restarts_always(&template, causes);
    match kind {
        "Deployment" => deployment(spec, causes),
        "DaemonSet" => daemon_set(spec, causes),
        _ => {}
    }
}

/// What is wrong with a `ReplicationController`.
pub(super) fn controller(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    for name in ["replicas", "minReadySeconds"] {
        spec.at(name).not_negative(causes);
    }
    let template = spec.at("template");
    pod::template(&template, causes);
    restarts_always(&template, causes);
    let selector = spec.at("selector");
    selector.required(causes);
    let labels = template.at("metadata").at("labels");
    if !selector.entries().all(|(key, value)| labels.at(key).value == value.value) {
        causes.push(labels.invalid("`selector` does not match template `labels`"));
    }
}

fn restarts_always(template: &Place<'_>, causes: &mut Vec<Cause>) {
    let policy = template.at("spec").at("restartPolicy");
    if matches!(policy.text(), "OnFailure" | "Never") {
        causes.push(policy.unsupported(&["Always"]));
    }
}

fn selects(kind: &str, spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let wanted = spec.at("selector");
    let labels = spec.at("template").at("metadata").at("labels");
    let mismatch = || labels.invalid("`selector` does not match template `labels`");
    if !wanted.is_there() {
        causes.push(wanted.missing(""));
        causes.push(mismatch());
        return;
    }
    let before = causes.len();
    wanted.selector(causes);
    if causes.len() > before {
        causes.push(wanted.invalid("invalid label selector"));
        return;
    }
    if wanted.at("matchLabels").is_empty() && wanted.at("matchExpressions").is_empty() {
        // The real server takes a ReplicaSet for a Deployment here.
        let noun = if kind == "ReplicaSet" { "deployment".to_owned() } else { kind.to_lowercase() };
        causes.push(wanted.invalid(&format!("empty selector is invalid for {noun}")));
    } else if !selector::matches(wanted.value, labels.value) {
        causes.push(mismatch());
    }
}

fn deployment(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let deadline = spec.at("progressDeadlineSeconds");
    deadline.not_negative(causes);
    let ready = spec.at("minReadySeconds").integer().unwrap_or_default();
    if deadline.integer().is_some_and(|seconds| seconds <= ready) {
        causes.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    let strategy = spec.at("strategy");
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "Recreate" if rolling.is_there() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(rolling.forbidden(why));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (out, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            out.amount_or_share(causes);
            surge.amount_or_any_share(causes);
            if out.is_zero() && surge.is_zero() {
                causes.push(out.invalid("may not be 0 when `maxSurge` is 0"));
            }
        }
        _ => causes.push(strategy.unsupported(&["Recreate", "RollingUpdate"])),
    }
}

fn stateful_set(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let order = spec.at("podManagementPolicy");
    if !matches!(order.text(), "" | "OrderedReady" | "Parallel") {
        causes.push(order.invalid("must be 'OrderedReady' or 'Parallel'"));
    }
    let strategy = spec.at("updateStrategy");
    let rolling = strategy.at("rollingUpdate");
    match strategy.at("type").text() {
        "RollingUpdate" => rolling.at("partition").not_negative(causes),
        "OnDelete" if rolling.is_there() => {
            causes.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" | "" => {}
        _ => causes.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

fn daemon_set(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let strategy = spec.at("updateStrategy");
    match strategy.at("type").text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.at("rollingUpdate");
            let (out, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            out.amount_or_share(causes);
            surge.amount_or_share(causes);
            if out.is_zero() && (surge.is_zero() || !surge.is_there()) {
                causes.push(out.invalid("cannot be 0 when maxSurge is 0"));
            }
        }
        _ => causes.push(strategy.unsupported(&["RollingUpdate", "OnDelete"])),
    }
}

/// What is wrong with a Job, or with the template of one.
pub(super) fn job(spec: &Place<'_>, is_template: bool, causes: &mut Vec<Cause>) {
    for name in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        spec.at(name).not_negative(causes);
    }
    let template = spec.at("template");
    pod::template(&template, causes);
    let policy = template.at("spec").at("restartPolicy");
    if policy.text() == "Always" {
        causes.push(policy.missing("valid values: \"OnFailure\", \"Never\""));
    }
    if !is_template {
        job_selector(spec, causes);
    }
}

/// The selector is made by the server, unless the Job says that it is not.
fn job_selector(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let wanted = spec.at("selector");
    wanted.selector(causes);
    let labels = spec.at("template").at("metadata").at("labels");
    if !spec.at("manualSelector").is_true() && wanted.is_there() {
        let made = wanted.at("matchLabels");
        let is_made = ["controller-uid", "batch.kubernetes.io/controller-uid"]
            .into_iter()
            .any(|label| made.has(label) && made.entries().count() == 1);
        if !is_made {
            causes.push(wanted.invalid("`selector` not auto-generated"));
        }
    }
    if wanted.is_there() && !selector::matches(wanted.value, labels.value) {
        causes.push(labels.invalid("`selector` does not match template `labels`"));
    }
}

/// What is wrong with a `CronJob`.
pub(super) fn cron_job(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let spec = whole.at("spec");
    let name = whole.at("metadata").at("name");
    if name.text().len() > 52 {
        causes.push(name.invalid("must be no more than 52 characters"));
    }
    let schedule = spec.at("schedule");
    if schedule.is_empty() {
        causes.push(schedule.missing(""));
    } else if let Err(why) = when(schedule.text()) {
        causes.push(schedule.invalid(&why));
    }
    spec.at("concurrencyPolicy").choice(&["Allow", "Forbid", "Replace"], causes);
    for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"]
    {
        spec.at(name).not_negative(causes);
    }
    job(&spec.at("jobTemplate").at("spec"), true, causes);
}

/// Reads a schedule as far as it can be wrong: five fields of numbers, names, ranges and steps, or a word that begins with `@`.
fn when(schedule: &str) -> Result<(), String> {
    const MONTHS: &[&str] =
        &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    const WORDS: [&str; 7] =
        ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if schedule.starts_with('@') {
        return match schedule.strip_prefix("@every ") {
            Some(_) => Ok(()),
            None if WORDS.contains(&schedule) => Ok(()),
            None => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let schedule = match schedule.split_once(' ') {
        Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest,
        _ => schedule,
    };
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        let found = fields.len();
        return Err(format!("expected exactly 5 fields, found {found}: [{}]", fields.join(" ")));
    }
    let bounds: [(u32, u32, &[&str]); 5] =
        [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, DAYS)];
    for (field, (least, most, names)) in fields.iter().zip(bounds) {
        for part in field.split(',') {
            range(part, least, most, names)?;
        }
    }
    Ok(())
}

fn range(part: &str, least: u32, most: u32, names: &[&str]) -> Result<(), String> {
    let number = |text: &str| {
        let named = names.iter().position(|name| *name == text.to_lowercase());
        match named.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => Ok(at + least),
            None => text.parse::<u32>().map_err(|_| {
                format!(
                    "failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"
                )
            }),
        }
    };
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    if let Some(step) = step
        && number(step)? == 0
    {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if matches!(span, "*" | "?") {
        return Ok(());
    }
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(span)?, number(span)?),
    };
    if first < least {
        return Err(format!("beginning of range ({first}) below minimum ({least}): {part}"));
    }
    if last > most {
        return Err(format!("end of range ({last}) above maximum ({most}): {part}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::when;

    #[test]
    fn a_schedule_is_five_fields_or_a_word() {
        for good in
            ["0 3 * * *", "*/5 0-6,12 1 jan-mar mon", "@daily", "@every 1h", "TZ=UTC 0 0 * * 0"]
        {
            assert_eq!(when(good), Ok(()), "{good}");
        }
        for wrong in [
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "@often",
            "x * * * *",
        ] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }
}
