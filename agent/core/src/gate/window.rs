//! Change windows: when changes may start, in the site's own time zone.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;
use tidegate_schema::policy::{ChangeWindow, TimeRange};

/// One change window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Its name.
    pub name: String,
    /// What its document says.
    pub spec: ChangeWindow,
}

/// How far ahead an opening is looked for. A window that denies longer than this has no known opening.
const HORIZON_DAYS: i64 = 400;

impl Window {
    fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(&self.spec.timezone).ok()
    }

    /// Whether changes may start at this instant. An unknown zone never allows: validation has refused it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.zone().is_some_and(|zone| self.denial(&now.to_zoned(zone)).is_none())
    }

    /// Why the window is closed now, with when it opens; `None` when it is open.
    pub fn closed_at(&self, now: Timestamp) -> Option<(Finding, Option<Timestamp>)> {
        let reason = match self.zone() {
            Some(zone) => self.denial(&now.to_zoned(zone))?,
            None => self.spec.timezone.clone(),
        };
        let opens = self.opens_after(now);
        let when = opens.map_or_else(|| "–".to_owned(), |opens| self.local(opens));
        let finding = Finding::note("APPROVAL/WINDOW_CLOSED")
            .with("window", &self.name)
            .with("reason", reason)
            .with("opens", when);
        Some((finding, opens))
    }

    fn local(&self, at: Timestamp) -> String {
        let zone = self.zone().unwrap_or(TimeZone::UTC);
        at.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    fn denial(&self, local: &Zoned) -> Option<String> {
        let date = local.date();
        let denied = self.spec.deny.iter().find(|days| days.from <= date && date <= days.to);
        if let Some(days) = denied {
            let reason = days.reason.as_ref().map(|reason| reason.en.clone());
            return Some(
                reason.flatten().unwrap_or_else(|| format!("{} – {}", days.from, days.to)),
            );
        }
        let allow = &self.spec.allow;
        let ranges: Vec<String> = allow.iter().map(ToString::to_string).collect();
        let is_allowed = allow.is_empty() || allow.iter().any(|range| contains(*range, local));
        (!is_allowed).then(|| ranges.join(", "))
    }

    /// The first instant at which it is open: only starts of ranges and of days can be one.
    fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = self.zone()?;
        let today = now.to_zoned(zone.clone()).date();
        let starts =
            self.spec.allow.iter().map(|range| time_of(range.from)).chain([Time::midnight()]);
        let mut starts: Vec<Time> = starts.collect();
        starts.sort_unstable();
        (0..HORIZON_DAYS)
            .filter_map(|day| today.checked_add(SignedDuration::from_hours(24 * day)).ok())
            .flat_map(|date| starts.iter().map(move |time| date.to_datetime(*time)))
            .filter_map(|start| start.to_zoned(zone.clone()).ok())
            .map(|start| start.timestamp())
            .find(|start| *start > now && self.is_open(*start))
    }
}

/// Whether a range holds an instant: it may have started today, or yesterday and run over midnight.
fn contains(range: TimeRange, local: &Zoned) -> bool {
    let minute =
        u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
    let weekday = u8::try_from(local.weekday().to_monday_one_offset()).unwrap_or(0);
    let yesterday = if weekday == 1 { 7 } else { weekday - 1 };
    if range.from < range.to {
        range.starts_on(weekday) && range.from <= minute && minute < range.to
    } else {
        (range.starts_on(weekday) && minute >= range.from)
            || (range.starts_on(yesterday) && minute < range.to)
    }
}

fn time_of(minute: u16) -> Time {
    let part = |value: u16| i8::try_from(value).unwrap_or(0);
    Time::new(part(minute / 60), part(minute % 60), 0, 0).unwrap_or(Time::midnight())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nights() -> Window {
        let spec = json!({
            "timezone": "Asia/Shanghai", "allow": ["19:00-07:00"],
            "deny": [{"from": "2026-09-30", "to": "2026-10-08", "reason": {"en": "National Day"}}],
        });
        Window { name: "nights".to_owned(), spec: serde_json::from_value(spec).unwrap() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_over_midnight_is_open_in_the_evening_and_early() {
        assert!(nights().is_open(at("2026-11-21T12:00:00Z"))); // 20:00 in Shanghai
        assert!(nights().is_open(at("2026-11-21T22:59:00Z"))); // 06:59
        assert!(!nights().is_open(at("2026-11-21T23:00:00Z"))); // 07:00
    }

    #[test]
    fn a_closed_window_says_when_it_opens() {
        let (finding, opens) = nights().closed_at(at("2026-11-21T02:00:00Z")).unwrap();
        assert_eq!(opens, Some(at("2026-11-21T11:00:00Z")));
        assert_eq!(finding.args.get("reason").map(String::as_str), Some("19:00-07:00"));
    }

    #[test]
    fn a_holiday_is_waited_out() {
        let (finding, opens) = nights().closed_at(at("2026-09-30T12:00:00Z")).unwrap();
        assert_eq!(finding.args.get("reason").map(String::as_str), Some("National Day"));
        // 9 October, 00:00 in Shanghai, inside the night that began on the 8th.
        assert_eq!(opens, Some(at("2026-10-08T16:00:00Z")));
    }

    #[test]
    fn weekdays_are_those_on_which_a_range_starts() {
        let spec = json!({"timezone": "Asia/Shanghai", "allow": ["Fri 22:00-06:00"]});
        let friday = Window { name: "f".to_owned(), spec: serde_json::from_value(spec).unwrap() };
        assert!(friday.is_open(at("2026-11-20T15:00:00Z"))); // Friday, 23:00
        assert!(friday.is_open(at("2026-11-20T21:00:00Z"))); // Saturday, 05:00
        assert!(!friday.is_open(at("2026-11-21T15:00:00Z"))); // Saturday, 23:00
    }
}
