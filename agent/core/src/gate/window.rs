//! Change windows: when changes may start, in the site's own time zone.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;

/// One change window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Its name.
    pub name: String,
    /// IANA name of the time zone.
    pub timezone: String,
    /// Times of day in which changes may start, from (inclusive) and to (exclusive); `to` before `from` runs over midnight.
    /// Always when empty.
    pub allow: Vec<(Time, Time)>,
    /// Days on which nothing starts, both inclusive, with why.
    pub deny: Vec<(Date, Date, String)>,
}

/// What can be wrong with a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not an IANA time zone.
    #[error("unknown time zone {0}")]
    Zone(String),
    /// Not `HH:MM-HH:MM`.
    #[error("not a time of day range: {0}")]
    Range(String),
}

/// How far ahead an opening is looked for. A window that denies longer than this has no known opening.
const HORIZON_DAYS: i64 = 400;

impl Window {
    /// Reads one `19:00-07:00`. `24:00` is not a time; write `00:00`.
    ///
    /// # Errors
    ///
    /// When it is not two times of day.
    pub fn range(text: &str) -> Result<(Time, Time), WindowError> {
        let unreadable = || WindowError::Range(text.to_owned());
        let (from, to) = text.split_once('-').ok_or_else(unreadable)?;
        let time = |part: &str| Time::strptime("%H:%M", part.trim()).map_err(|_| unreadable());
        Ok((time(from)?, time(to)?))
    }

    /// Checks the time zone's name.
    ///
    /// # Errors
    ///
    /// When the zone is unknown.
    pub fn check(&self) -> Result<(), WindowError> {
        self.zone().map(|_| ())
    }

    fn zone(&self) -> Result<TimeZone, WindowError> {
        TimeZone::get(&self.timezone).map_err(|_| WindowError::Zone(self.timezone.clone()))
    }

    /// Whether changes may start at this instant. An unknown zone never allows: validation has refused it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.zone().is_ok_and(|zone| self.denial(&now.to_zoned(zone)).is_none())
    }

    /// Why the window is closed now, with when it opens; `None` when it is open.
    pub fn closed_at(&self, now: Timestamp) -> Option<(Finding, Option<Timestamp>)> {
        let reason = match self.zone() {
            Ok(zone) => self.denial(&now.to_zoned(zone))?,
            Err(error) => error.to_string(),
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
        if let Some((.., why)) = self.deny.iter().find(|(from, to, _)| *from <= date && date <= *to)
        {
            return Some(why.clone());
        }
        let time = local.time();
        let is_allowed = |(from, to): &(Time, Time)| {
            if from <= to { *from <= time && time < *to } else { time >= *from || time < *to }
        };
        let ranges: Vec<String> = self
            .allow
            .iter()
            .map(|(from, to)| format!("{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M")))
            .collect();
        (!self.allow.is_empty() && !self.allow.iter().any(is_allowed)).then(|| ranges.join(", "))
    }

    /// The first instant at which it is open: only starts of ranges and of days can be one.
    fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = self.zone().ok()?;
        let today = now.to_zoned(zone.clone()).date();
        let starts = self.allow.iter().map(|(from, _)| *from).chain([Time::midnight()]);
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

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn nights() -> Window {
        Window {
            name: "nights".to_owned(),
            timezone: "Asia/Shanghai".to_owned(),
            allow: vec![Window::range("19:00-07:00").unwrap()],
            deny: vec![(date(2026, 9, 30), date(2026, 10, 8), "National Day".to_owned())],
        }
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
    fn a_range_must_be_two_times() {
        assert!(Window::range("19-7").is_err());
        assert!(Window::range("24:00-07:00").is_err());
    }
}
