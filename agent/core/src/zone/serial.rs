//! The serial of a zone: a pure function of history, with the published serial as floor.

use jiff::Timestamp;

use super::PublishedZone;

/// The serial for content with this digest, committed at this time (committer time of the commit that is served).
///
/// Unchanged content keeps its serial. Changed content takes the commit's time in seconds since 1970 if that
/// is later than the published serial in the sense of RFC 1982, else the published serial plus one: it never goes
/// back, whatever rewritten histories, clocks or imported serials say. 0 is left out, because some secondaries
/// take it for "none".
pub fn next_serial(published: Option<&PublishedZone>, digest: &str, commit_time: Timestamp) -> u32 {
    // Serials are 32 bits that wrap (RFC 1982), so the low bits are all that counts after 2106.
    let low_bits = commit_time.as_second().rem_euclid(1 << 32);
    let candidate = u32::try_from(low_bits).unwrap_or(1).max(1);
    match published {
        None => candidate,
        Some(before) if before.digest == digest => before.serial,
        Some(before) if is_later(candidate, before.serial) => candidate,
        Some(before) => before.serial.wrapping_add(1).max(1),
    }
}

/// Whether a serial is later than another (RFC 1982 section 3.2). False for the distance 2³¹, which the RFC
/// leaves undefined.
pub fn is_later(serial: u32, than: u32) -> bool {
    let distance = serial.wrapping_sub(than);
    distance != 0 && distance < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{ZoneData, ZoneKind};

    fn published(to: &str, serial: u32) -> PublishedZone {
        let kind = ZoneKind::Forward { to: vec![to.to_owned()] };
        let zone = ZoneData { name: "example.test".to_owned(), kind };
        let digest = zone.digest();
        PublishedZone { zone, serial, digest }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_serial_is_the_time_of_the_commit() {
        assert_eq!(next_serial(None, "x", at(1_795_000_000)), 1_795_000_000);
        assert_eq!(next_serial(None, "x", at(0)), 1, "0 is never a serial");
    }

    #[test]
    fn unchanged_content_keeps_its_serial() {
        let before = published("10.0.0.1", 7);
        assert_eq!(next_serial(Some(&before), &before.digest, at(1_795_000_000)), 7);
    }

    #[test]
    fn changed_content_rises_even_when_the_clock_went_back() {
        let before = published("10.0.0.1", 2_026_112_101);
        let serial = next_serial(Some(&before), "other", at(1_795_000_000));
        assert_eq!(serial, 2_026_112_102, "a date serial is later than today's seconds");
        let before = published("10.0.0.1", 1_795_000_000);
        assert_eq!(next_serial(Some(&before), "other", at(1_795_000_009)), 1_795_000_009);
        assert_eq!(next_serial(Some(&before), "other", at(1_795_000_000)), 1_795_000_001);
    }

    #[test]
    fn serials_wrap_and_skip_zero() {
        let before = published("10.0.0.1", u32::MAX);
        assert_eq!(next_serial(Some(&before), "other", at(4_000_000_000)), 1);
        assert!(is_later(next_serial(Some(&before), "other", at(4_000_000_000)), u32::MAX));
    }

    #[test]
    fn half_the_circle_is_not_later() {
        assert!(!is_later(1 << 31, 0));
        assert!(is_later((1 << 31) - 1, 0));
        assert!(is_later(0, u32::MAX));
        assert!(!is_later(5, 5));
    }
}
