//! Resource quantities in canonical form, as <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/> says.

/// How a quantity was written, which the canonical form keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// Nano units: the finest that a quantity can tell apart.
const NANO: i128 = 1_000_000_000;
/// A thousandth in nano units.
const MILLI: i128 = 1_000_000;

/// The canonical form of a quantity: no fraction, and the largest suffix that allows that. None when it is no quantity.
pub fn canonical(source: &str) -> Option<String> {
    let (nano, format) = parse(source.trim())?;
    Some(write(nano, format))
}

/// The canonical form after rounding up to thousandths, as the amounts of resources in an object are kept.
pub fn of_resource(source: &str) -> Option<String> {
    let (nano, format) = parse(source.trim())?;
    Some(write(divide_up(nano, MILLI) * MILLI, format))
}

/// The value in thousandths, rounded up. None when it is no quantity.
pub fn milli(source: &str) -> Option<i128> {
    parse(source.trim()).map(|(nano, _)| divide_up(nano, MILLI))
}

fn parse(source: &str) -> Option<(i128, Format)> {
    let end = source
        .char_indices()
        .find(|(index, character)| {
            !(character.is_ascii_digit()
                || *character == '.'
                || (*index == 0 && "+-".contains(*character)))
        })
        .map_or(source.len(), |(index, _)| index);
    let (number, suffix) = source.split_at(end);
    let (is_negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let (numerator, denominator, format) = factor(suffix)?;
    let denominator = denominator.checked_mul(10_i128.checked_pow(places)?)?;
    let nano = mantissa.checked_mul(numerator)?.checked_mul(NANO)?;
    let nano = divide_up(nano, denominator);
    Some((if is_negative { -nano } else { nano }, format))
}

fn factor(suffix: &str) -> Option<(i128, i128, Format)> {
    let decimal = |power: u32| Some((10_i128.pow(power), 1, Format::Decimal));
    let binary = |power: u32| Some((1024_i128.pow(power), 1, Format::Binary));
    match suffix {
        "n" => Some((1, NANO, Format::Decimal)),
        "u" => Some((1, 1_000_000, Format::Decimal)),
        "m" => Some((1, 1_000, Format::Decimal)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            let (numerator, denominator) = if exponent < 0 { (1, power) } else { (power, 1) };
            Some((numerator, denominator, Format::Exponent))
        }
    }
}

fn divide_up(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

fn write(nano: i128, format: Format) -> String {
    if nano == 0 {
        return "0".to_owned();
    }
    // Below 1024 a binary quantity is written in decimal, so that nothing is rounded.
    if format == Format::Binary && nano.abs() >= 1024 * NANO {
        let mut value = divide_up(nano, NANO);
        let mut power = 0;
        while power < 6 && value % 1024 == 0 {
            value /= 1024;
            power += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(power).unwrap_or(&"");
        return format!("{value}{suffix}");
    }
    let mut value = nano;
    let mut power: i32 = -9;
    while power < 18 && value % 1000 == 0 {
        value /= 1000;
        power += 3;
    }
    if format == Format::Exponent {
        return if power == 0 { value.to_string() } else { format!("{value}e{power}") };
    }
    let suffix = match power {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    };
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_that_of_the_real_server() {
        for (source, wanted) in [
            ("1000m", "1"),
            ("0.1", "100m"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Mi", "1000Mi"),
            ("0.5Gi", "512Mi"),
            ("128974848", "128974848"),
            ("1000", "1k"),
            ("100M", "100M"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("0", "0"),
            ("0Mi", "0"),
            ("-1", "-1"),
        ] {
            assert_eq!(canonical(source).as_deref(), Some(wanted), "{source}");
        }
    }

    #[test]
    fn amounts_of_resources_are_rounded_up_to_thousandths() {
        for (source, wanted) in [("0.0001", "1m"), ("100u", "1m"), ("1.0005", "1001m"), ("2", "2")]
        {
            assert_eq!(of_resource(source).as_deref(), Some(wanted), "{source}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for source in ["", "Mi", "1.2.3", "1 Gi", "1gi", "abc", "1e"] {
            assert_eq!(canonical(source), None, "{source}");
        }
    }
}
